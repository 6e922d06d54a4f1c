import json
import re

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.scoring.oof import describe_oof
from pipeline.stages import ensemble, folds, status, submit
from pipeline.store.atomic import write_text
from pipeline.store.freshness import digest
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, load_folds, load_train, write_table
from tests.stages import test_ensemble as made_up


@pytest.fixture
def states(capsys):
    """Run `status` and return its rows: stage → state, and all that was printed."""

    def run(paths, competition):
        status.run(paths, competition)
        out = capsys.readouterr().out
        rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()]
        return {row[1]: row[2] for row in rows if len(row) == 5}, out

    return run


def train(paths: Paths, name: str, num_folds: int = 2, *, is_complete: bool = True) -> None:
    """Leave what `train` leaves, as far as `status` looks."""
    table = load_folds(paths)
    files = paths.experiment(name)
    write_text(files.config, "{}")
    for fold in range(num_folds):
        record = {"inputs": {"folds": digest(paths.folds_csv)}, "outputs": {}}
        write_text(files.fold(fold).stamp, json.dumps(record))
    if is_complete:
        probs = np.full((len(table), 2), 0.5, dtype=np.float32)
        metrics = describe_oof(load_competition("demo"), table, probs) | {"seconds": 61.4}
        for path, content in ((files.metrics, metrics), (files.stamp, {})):
            write_text(path, json.dumps(content))


def test_at_the_start_everything_is_to_do(tmp_path, states):
    found, _ = states(Paths(tmp_path, "demo"), load_competition("demo"))
    assert [found[stage] for stage in ("download", "prepare", "folds", "submit")] == ["to do"] * 4
    assert list(tmp_path.iterdir()) == []


def test_finished_stages_are_done_and_the_audit_is_told(workspace, states):
    found, out = states(*workspace)
    assert [found[stage] for stage in ("download", "prepare", "folds")] == ["done"] * 3
    assert f"{len(load_train(workspace[0]))} train, 8 test images" in out


def test_corrections_in_effect_are_told(workspace, states):
    paths, competition = workspace
    row = load_train(paths).iloc[0]
    other = {"cat": "dog", "dog": "cat"}[row["label"]]
    rows = [[row["image_id"], row["label"], other, "0.1", "0.9", "drop"]]
    write_table(pd.DataFrame(rows, columns=SUSPECT_COLUMNS), paths.root / "mine.csv")
    folds.run(paths, competition, None, None, str(paths.root / "mine.csv"))
    assert "1 dropped" in states(*workspace)[1]


def test_folds_of_an_older_table_are_stale(workspace, states):
    paths, _ = workspace
    write_table(load_train(paths).iloc[1:], paths.train_csv)
    assert states(*workspace)[0]["folds"] == "stale"


def test_experiments_are_told_how_far_they_are(workspace, states):
    paths, _ = workspace
    train(paths, "whole")
    train(paths, "half", num_folds=1, is_complete=False)
    train(paths, "whole-tuned")
    write_text(paths.experiment("whole-tuned").tuning_stamp, "{}")
    write_text(paths.ablation("whole").record, "{}")
    found, out = states(*workspace)
    assert not [name for name in found if "ablations" in name]
    assert found["train whole"] == found["tune whole-tuned"] == "done"
    assert "61" in out.partition("out of fold")[2]
    assert found["train half"] == "1 folds done"
    assert "half" not in out.partition("out of fold")[2]
    write_table(load_folds(paths).assign(fold=0), paths.folds_csv)
    found, _ = states(*workspace)
    assert found["train whole"] == found["train half"] == "stale"


def test_a_blend_of_what_is_stale_is_stale(workspace, states):
    paths, _ = workspace
    train(paths, "one")
    files = paths.experiment("blend")
    train(paths, "blend", num_folds=0)
    member = [digest(path) for path in (paths.experiment("one").oof, paths.experiment("one").test)]
    write_text(files.stamp, json.dumps({"inputs": {"members": {"one": member}}, "outputs": {}}))
    assert states(*workspace)[0]["train blend"] == "done"
    write_table(load_folds(paths).assign(fold=0), paths.folds_csv)
    assert states(*workspace)[0]["train blend"] == "stale"


def test_scores_are_ranked_and_submissions_marked(tmp_path, states):
    paths = made_up.make_root(tmp_path)
    demo = load_competition("demo")
    made_up.save(paths, "bad", made_up.noisy(0.1, 0))
    made_up.save(paths, "good", made_up.noisy(2, 1))
    ensemble.run(paths, demo, [], "both")
    submit.run(paths, demo, "good")
    _, out = states(paths, demo)
    table = out.partition("accuracy, out of fold, with 95 % interval")[2]
    assert table.index("good *") < table.index("bad")
    assert "both *" not in table
    assert "* is written as a submission" in table
    _, out = states(paths, demo.model_copy(update={"metric": "log_loss"}))
    assert "log_loss, out of fold" in out
    scores = out.partition("log_loss, out of fold")[2]
    assert re.search(r"both\s+│ accuracy 0\.", scores)  # which it was scored by
