"""The stage `suspects` on made-up predictions."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ArtifactError
from pipeline.stages import folds, suspects
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    SUSPECT_COLUMNS,
    TRAIN_COLUMNS,
    load_folds,
    read_table,
    write_table,
)
from tests.stages import test_ensemble as made_up

PLANTED = ["011.jpg", "012.jpg", "030.jpg"]  # their labels are wrong


@pytest.fixture
def demo():
    return load_competition("demo")


@pytest.fixture
def paths(tmp_path):
    """A competition with three wrong labels, and an experiment that was taken in by none."""
    paths = made_up.make_root(tmp_path)
    save(paths, sharpness=4)
    return paths


def save(paths: Paths, sharpness: float) -> None:
    member = made_up.noisy(sharpness, 0)
    rows = [made_up.OOF_IDS.index(name) for name in PLANTED]
    member[0][rows] = member[0][rows, ::-1]
    made_up.save(paths, "one", member)


def listed(paths: Paths) -> pd.DataFrame:
    return read_table(paths.experiment("one").suspects, SUSPECT_COLUMNS, "x")


def test_wrong_labels_are_listed_for_a_person_to_decide(paths, demo, capsys):
    before = paths.folds_csv.read_bytes()
    suspects.run(paths, demo, "one")
    table = listed(paths)
    assert set(table["image_id"]) == set(PLANTED)
    label_by_id = load_folds(paths).set_index("image_id")["label"]
    assert table["label"].tolist() == label_by_id[table["image_id"]].tolist()
    assert (table["suggested"] != table["label"]).all()
    margins = table["prob_suggested"].astype(float) - table["prob_label"].astype(float)
    assert margins.is_monotonic_decreasing
    assert (table["action"] == "").all()
    assert paths.folds_csv.read_bytes() == before
    printed = capsys.readouterr()
    assert "suspects.csv: 3 of 60 training images" in printed.out
    assert "then run 'pipeline folds demo --corrections " in printed.err


def test_a_second_run_changes_nothing_and_keeps_actions(paths, demo, capsys):
    suspects.run(paths, demo, "one")
    target = paths.experiment("one").suspects
    decided = listed(paths).assign(action=["drop", "", "relabel"])
    write_table(decided, target)
    suspects.run(paths, demo, "one")
    assert "suspects demo one: up to date" in capsys.readouterr().err
    pd.testing.assert_frame_equal(listed(paths), decided)


def test_a_list_that_a_spreadsheet_has_saved_is_the_same_list(paths, demo, capsys):
    suspects.run(paths, demo, "one", excel=True)
    target = paths.experiment("one").suspects
    assert target.read_bytes().startswith(b"\xef\xbb\xbfimage_id,")
    decided = listed(paths).assign(action=["drop", "", "relabel"], note="x")[::-1]
    text = decided.to_csv(index=False, sep=";", lineterminator="\r\n")
    target.write_bytes(re.sub(r"0\.(\d+?)0*;", r"0,\1;", text).encode("utf-8-sig"))
    saved = target.read_bytes()
    suspects.run(paths, demo, "one")
    assert "suspects demo one: up to date" in capsys.readouterr().err
    assert target.read_bytes() == saved


def test_a_list_with_actions_is_never_overwritten(paths, demo):
    suspects.run(paths, demo, "one")
    decided = listed(paths).assign(action=["drop", "", "relabel"])
    write_table(decided, paths.experiment("one").suspects)
    save(paths, sharpness=6)
    line = r"suspects\.csv: must have no actions to be overwritten, has 2; move it away and run"
    with pytest.raises(ArtifactError, match=line):
        suspects.run(paths, demo, "one")
    pd.testing.assert_frame_equal(listed(paths), decided)
    write_table(decided.assign(action=""), paths.experiment("one").suspects)
    suspects.run(paths, demo, "one")
    assert not listed(paths).equals(decided.assign(action=""))


def test_stale_predictions_are_refused(paths, demo):
    write_table(load_folds(paths).assign(fold=0), paths.folds_csv)
    with pytest.raises(ArtifactError, match="which changed since; run 'pipeline train demo"):
        suspects.run(paths, demo, "one")


def test_what_was_decided_goes_into_the_folds(paths, demo):
    table = load_folds(paths)
    rows = [
        [name, name, label, name, 32, 32, "JPEG", "0"]
        for name, label in zip(table["image_id"], table["label"], strict=True)
    ]
    write_table(pd.DataFrame(rows, columns=TRAIN_COLUMNS), paths.train_csv)
    suspects.run(paths, demo, "one")
    target = paths.experiment("one").suspects
    write_table(listed(paths).assign(action=["drop", "", "relabel"]), target)
    paths.folds_csv.unlink()
    folds.run(paths, demo, None, None, str(target))
    corrected = load_folds(paths).set_index("image_id")
    assert len(corrected) == made_up.NUM - 1
    label_by_id = corrected["label"].to_dict()
    dropped, untouched, relabelled = listed(paths).to_dict("records")
    assert dropped["image_id"] not in label_by_id
    assert label_by_id[untouched["image_id"]] == untouched["label"]
    assert label_by_id[relabelled["image_id"]] == relabelled["suggested"]
    assert np.array_equal(np.sort(corrected["fold"].unique()), np.arange(5))
