"""What trainings are expected to take."""

import os
import time
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.ladder.commands import Commands
from pipeline.ladder.costs import FASTEST, SLOWEST, Answer, Cost, Rates, Rehearsal, pace_of
from pipeline.ladder.plan import Job, Rung
from pipeline.ladder.rehearsal import measure
from pipeline.store.paths import Paths
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


@pytest.mark.parametrize("wrong", ["x", None, float("nan"), -1e9, float("inf")])
def test_a_remembered_rate_that_cannot_be_is_no_rate(tmp_path, wrong):
    paths, probe = Paths(tmp_path, "demo"), tiny.experiment()
    rates = Rates(paths, "here")
    rates.put(probe, COST)
    assert rates.get(probe) == COST
    rates.put(probe, replace(COST, fold_seconds=wrong))
    assert rates.get(probe) is None
    rates.put(probe, replace(COST, num_images=0))
    assert rates.get(probe) is None


def test_jobs_at_once_may_be_as_much_faster_as_there_are_devices():
    assert pace_of(1, 8, several_jobs=True) == 1 / 8


def test_heads_that_ask_about_mirrored_views_are_counted(workspace, monkeypatch):
    paths, competition = workspace
    monkeypatch.setattr("pipeline.ladder.rehearsal._Rehearsal._head_seconds", lambda *_: 30.0)
    known, unknown = (
        competition.model_copy(update={"horizontal_flip": flip}) for flip in (True, None)
    )
    probe = tiny.experiment()  # both plain views and one that is drawn
    seconds = [measure(paths, one, probe).fold_seconds for one in (known, unknown)]
    assert seconds[1] - seconds[0] == pytest.approx(30.0)


def test_maps_that_the_cache_has_no_room_for_are_made_in_every_epoch(workspace, monkeypatch):
    paths, competition = workspace
    frozen = {"freeze": "layer2", "batch_size": 4, "epochs": 2}
    above = tiny.experiment(method="finetune", train=frozen, views={"recipe": "none"})
    assert measure(paths, competition, above).shared_seconds > 0
    monkeypatch.setenv("PIPELINE_CACHE_GB", "0")
    assert measure(paths, competition, above).shared_seconds == 0


def test_maps_that_never_come_again_are_made_in_every_epoch(workspace):
    paths, competition = workspace
    frozen = {"freeze": "layer2", "batch_size": 4, "epochs": 2}
    views = {"recipe": "light", "cycle": "off"}
    above = tiny.experiment(method="finetune", train=frozen, views=views)
    assert measure(paths, competition, above).shared_seconds == 0


SAYS = """
import json, sys
print("a line that some library prints")
print(json.dumps({"device": "cuda", "machine": "here"}), flush=True)
for line in sys.stdin:
    print("another one")
    print(json.dumps({"fault": "no memory"}), flush=True)
"""


@pytest.fixture
def starts(tmp_path, monkeypatch):
    """Return a function that starts a rehearsal of which this is the code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("pipeline.ladder.costs.MODULE", "said")

    def start(code: str) -> Rehearsal:
        (tmp_path / "said.py").write_text(code, encoding="utf-8")
        return Rehearsal(Commands("demo", tmp_path))

    return start


def test_lines_that_are_no_answers_are_passed_over(starts):
    rehearsal, until = starts(SAYS), time.monotonic() + 60
    assert rehearsal.machine(until) == {"device": "cuda", "machine": "here"}
    job = Job(Rung(name="a", experiments=("x",), adds="x"), tiny.experiment(), ())
    assert rehearsal.rehearse(job, until) == Answer(fault="no memory")
    rehearsal.close()


def test_a_machine_that_does_not_answer_is_taken_for_a_cpu_and_that_is_said(starts, capsys):
    rehearsal = starts("raise SystemExit")
    assert rehearsal.machine(time.monotonic() + 60)["device"] == "cpu"
    assert "warning: run: the device can't be asked for" in capsys.readouterr().err


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
