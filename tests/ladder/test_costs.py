"""What trainings are expected to take."""

import pandas as pd
import pytest

from pipeline.ladder.costs import FASTEST, SLOWEST, Cost, pace_of
from pipeline.ladder.plan import Job, Rung
from pipeline.ladder.rehearsal import measure
from tests import tiny

COST = Cost(start_seconds=3.0, shared_seconds=40.0, fold_seconds=8.0, num_images=100, num_folds=5)
SHORT = {"epochs": 2, "batch_size": 4}


def test_a_training_takes_its_start_what_folds_share_and_each_fold():
    assert COST.predict(100, 5, 5) == 3 + 40 + 5 * 8


def test_what_was_begun_takes_the_folds_that_are_left():
    assert COST.predict(100, 2, 5) == 3 + 2 * 8
    assert COST.predict(100, 0, 5) == 3


def test_more_images_take_more_time_but_for_the_start():
    assert COST.predict(200, 5, 5) == 3 + 2 * (40 + 5 * 8)


def test_a_pace_that_is_some_accidents_is_bounded_or_tells_nothing():
    pairs = ((20, 10), (1e6, 1), (10 * FASTEST, 10), (4, 10))
    assert [pace_of(*pair) for pair in pairs] == [2.0, SLOWEST, FASTEST, None]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": {"kind": "lda"}},
        {"method": "finetune", "train": {"epochs": 2, "batch_size": 4}},
        {
            "method": "finetune",
            "train": {"freeze": "layer2", "batch_size": 4, "init_head": "probe"},
        },
    ],
    ids=["probe", "lda", "finetune", "finetune above frozen layers"],
)
def test_a_rehearsal_measures_every_kind_of_training_and_writes_nothing(changes, workspace):
    paths, competition = workspace
    before = sorted(path for path in paths.root.rglob("*"))
    cost = measure(paths, competition, tiny.experiment(**changes))
    assert cost.num_folds == 2
    assert cost.shared_seconds >= 0
    assert cost.fold_seconds > 0
    assert sorted(path for path in paths.root.rglob("*")) == before


def test_a_rehearsal_measures_the_head_of_a_number(workspace):
    paths, competition = workspace
    number = competition.model_copy(
        update={"target": "number", "classes": ("number",), "metric": "rmse", "range": (0.0, 1.0)}
    )
    for table in (paths.train_csv, paths.folds_csv):
        rows = pd.read_csv(table)
        rows.assign(label=[f"{row % 7 / 7:.3f}" for row in range(len(rows))]).to_csv(
            table, index=False
        )
    assert measure(paths, number, tiny.experiment()).fold_seconds > 0
    assert measure(paths, number, tiny.experiment(method="finetune", train=SHORT)).fold_seconds > 0


def test_a_job_is_named_after_its_experiment():
    rung = Rung(name="a", experiments=("x",), adds="x")
    assert Job(rung, tiny.experiment(name="mine"), ()).name == "mine"
