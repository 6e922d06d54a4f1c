"""The split is made once, frozen, and never replaced behind anyone's back."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.errors import DataError
from pipeline.stages import folds
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    SUSPECT_COLUMNS,
    TRAIN_COLUMNS,
    held_out,
    load_folds,
    load_train,
    write_table,
)

NUM = 40


@pytest.fixture
def demo() -> Competition:
    return load_competition("demo")


@pytest.fixture
def paths(tmp_path: Path, demo: Competition) -> Paths:
    paths = Paths(tmp_path, demo.name)
    write_train(paths, ["cat", "dog"] * (NUM // 2))
    return paths


def write_train(paths: Paths, labels: list[str], copies: int = 0) -> None:
    """Write a training table; the first `copies` images of each class are one picture."""
    rows = []
    for index, label in enumerate(labels):
        is_copy = labels[:index].count(label) < copies
        group = f"{label}.jpg" if is_copy else f"{index}.jpg"
        rows.append([f"{index:03}", f"train/{index:03}", label, group, 64, 48, "JPEG", "0"])
    write_table(pd.DataFrame(rows, columns=TRAIN_COLUMNS), paths.train_csv)


def state(paths: Paths) -> list[tuple[bytes, int]]:
    files = (paths.folds_csv, paths.folds_stamp)
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]


def test_every_training_image_gets_a_fold(paths, demo, capsys):
    folds.run(paths, demo, 5, 0)
    table, train = load_folds(paths), load_train(paths)
    pd.testing.assert_frame_equal(table.drop(columns="fold"), train[["image_id", "label", "group"]])
    assert table.groupby("fold").size().to_dict() == dict.fromkeys(range(5), NUM // 5)
    expected = "folds demo: 40 images in 5 folds of 8 to 8, stratified, duplicates grouped -> "
    assert capsys.readouterr().err == f"{expected}{paths.folds_csv}\n"


def test_drawn_duplicates_stay_together(drawn):
    root, competition = drawn
    table = load_folds(Paths(root, competition.name))
    sizes = table.groupby("group")["fold"].agg(["size", "nunique"])
    assert (sizes["size"] > 1).any()
    assert (sizes["nunique"] == 1).all()


def test_second_run_is_up_to_date_and_touches_nothing(paths, demo, capsys):
    folds.run(paths, demo, 5, 0)
    before = state(paths)
    capsys.readouterr()
    folds.run(paths, demo, 5, 0)
    assert capsys.readouterr().err == "folds demo: up to date\n"
    assert state(paths) == before


@pytest.mark.parametrize(("num_folds", "seed"), [(4, 0), (5, 1)])
def test_other_number_of_folds_or_seed_writes_another_split(paths, demo, num_folds, seed):
    folds.run(paths, demo, 5, 0)
    before = paths.folds_csv.read_bytes()
    folds.run(paths, demo, num_folds, seed)
    assert paths.folds_csv.read_bytes() != before
    assert set(load_folds(paths)["fold"]) == set(range(num_folds))


def test_other_training_table_writes_another_split(paths, demo):
    folds.run(paths, demo, 5, 0)
    write_train(paths, ["cat", "dog"] * 10)
    folds.run(paths, demo, 5, 0)
    assert len(load_folds(paths)) == 20


def test_deleted_table_comes_back_the_same(paths, demo):
    folds.run(paths, demo, 5, 0)
    before = paths.folds_csv.read_bytes()
    paths.folds_csv.unlink()
    folds.run(paths, demo, 5, 0)
    assert paths.folds_csv.read_bytes() == before


@pytest.mark.parametrize("num_folds", [5, 4])
def test_table_edited_by_hand_is_refused_and_kept(paths, demo, num_folds):
    folds.run(paths, demo, 5, 0)
    edited = paths.folds_csv.read_bytes().replace(b",0\n", b",1\n", 1)
    paths.folds_csv.write_bytes(edited)
    expected = (
        r"demo\.csv: must be as 'pipeline folds' wrote it, was changed since or came from "
        r"elsewhere; move it away and run "
        r"'pipeline folds demo'"
    )
    with pytest.raises(DataError, match=expected):
        folds.run(paths, demo, num_folds, 0)
    assert paths.folds_csv.read_bytes() == edited


def test_table_from_elsewhere_is_refused_and_kept(paths, demo):
    folds.run(paths, demo, 5, 0)
    paths.folds_stamp.unlink()
    brought = paths.folds_csv.read_bytes()
    with pytest.raises(DataError, match="came from elsewhere"):
        folds.run(paths, demo, 5, 1)
    assert paths.folds_csv.read_bytes() == brought


def test_table_without_its_stamp_is_kept_if_it_would_be_written_the_same(paths, demo):
    folds.run(paths, demo, 5, 0)
    paths.folds_stamp.unlink()
    folds.run(paths, demo, 5, 0)
    assert paths.folds_stamp.is_file()


def test_class_with_fewer_different_images_than_folds_is_told(paths, demo, capsys):
    write_train(paths, ["cat"] * 30 + ["dog"] * 6, copies=3)
    folds.run(paths, demo, 5, 0)
    said = capsys.readouterr().err
    assert (
        "folds demo: 1 of 2 classes have fewer different images than 5 folds, as 'dog' 4: not "
        "every fold's score knows of them\n"
    ) in said
    assert load_folds(paths).query("label == 'dog'")["fold"].nunique() == 4


def test_class_of_copies_alone_leaves_nothing_to_tell_apart(paths, demo):
    write_train(paths, ["cat"] * 30 + ["dog"] * 6, copies=6)
    with pytest.raises(
        DataError, match=r"'dog' has 1; add others and run 'pipeline download demo'"
    ):
        folds.run(paths, demo, 2, 0)
    assert not paths.folds_csv.exists()


def test_class_of_one_image_is_learned_from_and_held_out_of_no_fold(paths, demo, capsys):
    three = demo.model_copy(update={"classes": ("cat", "dog", "owl")})
    write_train(paths, ["cat", "dog"] * 10 + ["owl"])
    folds.run(paths, three, 5, 0)
    table = load_folds(paths)
    assert table.query("label == 'owl'")["fold"].tolist() == [-1]
    assert held_out(table)["label"].value_counts().to_dict() == {"cat": 10, "dog": 10}
    said = capsys.readouterr().err
    assert "as 'owl' 1: " in said
    assert "1 images are learned from in every fold and held out of none" in said
    assert "20 images in 5 folds of 4 to 4" in said


def test_fewer_groups_than_folds_are_refused(paths, demo):
    write_train(paths, ["cat", "dog"] * 20)
    train = load_train(paths)
    write_table(train.assign(group=[f"{n % 3}" for n in range(NUM)]), paths.train_csv)
    with pytest.raises(DataError, match=r"fold \d of 5 holds none, as 3 groups .* --num-folds 3'"):
        folds.run(paths, demo, 5, 0)
    folds.run(paths, demo, 3, 0)
    assert load_folds(paths)["fold"].nunique() == 3


def test_missing_training_table_leads_to_prepare(paths, demo):
    paths.train_csv.unlink()
    with pytest.raises(DataError, match="run 'pipeline prepare demo'"):
        folds.run(paths, demo, 5, 0)


def test_split_once_made_stays_where_nothing_else_is_asked_for(paths, demo, capsys):
    folds.run(paths, demo, 4, 3)
    before = paths.folds_csv.read_bytes()
    folds.run(paths, demo, None, None)
    assert capsys.readouterr().err.endswith("folds demo: up to date\n")
    assert paths.folds_csv.read_bytes() == before


def test_first_split_has_five_folds(paths, demo):
    folds.run(paths, demo, None, None)
    assert set(load_folds(paths)["fold"]) == set(range(5))


def correct(paths: Paths, demo: Competition, *rows: list[str]) -> str:
    """Write corrections and split with them; returns the path as an argument."""
    path = paths.root / "mine.csv"
    write_table(pd.DataFrame(list(rows), columns=SUSPECT_COLUMNS), path)
    folds.run(paths, demo, None, None, str(path))
    return str(path)


DROPPED = ["004", "cat", "dog", "0.1", "0.9", "drop"]
RELABELLED = ["007", "dog", "cat", "0.1", "0.9", "relabel"]


def test_corrections_change_the_table_as_asked_and_nothing_else(paths, demo, capsys):
    folds.run(paths, demo, 4, 3)
    before = load_folds(paths)
    capsys.readouterr()
    correct(paths, demo, DROPPED, RELABELLED)
    said = capsys.readouterr().err
    assert said.startswith("folds demo: 1 dropped (004), 1 relabelled (007) by mine.csv\n")
    assert "39 images in 4 folds" in said
    expected = before[before["image_id"] != "004"].reset_index(drop=True)
    expected.loc[expected["image_id"] == "007", "label"] = "cat"
    pd.testing.assert_frame_equal(load_folds(paths), expected)


def test_corrections_stay_in_effect_and_are_told_each_time(paths, demo, capsys):
    path = correct(paths, demo, DROPPED)
    before = state(paths)
    Path(path).unlink()
    capsys.readouterr()
    folds.run(paths, demo, None, None)
    said = capsys.readouterr().err
    assert said == "folds demo: 1 dropped (004) by mine.csv\nfolds demo: up to date\n"
    assert state(paths) == before
    folds.run(paths, demo, 4, None)
    assert len(load_folds(paths)) == NUM - 1


def test_corrections_are_recorded_with_their_tables_digest(paths, demo):
    path = Path(correct(paths, demo, DROPPED))
    recorded = json.loads(paths.folds_stamp.read_text(encoding="utf-8"))["inputs"]["corrections"]
    assert recorded == {
        "file": "mine.csv", "sha256": file_sha256(path), "drop": ["004"], "relabel": {},
    }  # fmt: skip


def test_none_takes_corrections_back(paths, demo):
    folds.run(paths, demo, None, None)
    before = paths.folds_csv.read_bytes()
    correct(paths, demo, DROPPED, RELABELLED)
    folds.run(paths, demo, None, None, "none")
    assert paths.folds_csv.read_bytes() == before
    assert "corrections" not in paths.folds_stamp.read_text(encoding="utf-8")


def test_other_corrections_replace_the_earlier_ones(paths, demo):
    correct(paths, demo, DROPPED)
    correct(paths, demo, RELABELLED)
    table = load_folds(paths).set_index("image_id")
    assert len(table) == NUM
    assert table.loc["007", "label"] == "cat"


def test_faulty_corrections_change_nothing(paths, demo):
    folds.run(paths, demo, None, None)
    before = state(paths)
    with pytest.raises(DataError, match="label must be the one of"):
        correct(paths, demo, ["004", "dog", "cat", "0.1", "0.9", "drop"])
    assert state(paths) == before


def test_corrections_of_images_that_left_the_training_table_are_refused(paths, demo):
    correct(paths, demo, ["039", "dog", "cat", "0.1", "0.9", "drop"])
    write_train(paths, ["cat", "dog"] * 10)
    line = (
        r"demo\.json: corrected images must stand in train.csv, 1 don't, the first is '039'; "
        r"run 'pipeline folds demo --corrections none'"
    )
    with pytest.raises(DataError, match=line):
        folds.run(paths, demo, None, None)
    folds.run(paths, demo, None, None, "none")
    assert len(load_folds(paths)) == 20


def test_a_class_that_corrections_leave_too_small_is_refused(paths, demo):
    write_train(paths, ["cat"] * 30 + ["dog"] * 5)
    drops = [[f"{i:03}", "dog", "cat", "0.1", "0.9", "drop"] for i in range(30, 35)]
    with pytest.raises(DataError, match="for two folds, 'dog' has 1; add others"):
        correct(paths, demo, *drops[:4])
    with pytest.raises(DataError, match="for two folds, 'dog' has 0; add others"):
        correct(paths, demo, *drops)


def test_classes_of_an_image_each_are_refused_as_they_may_be_amounts(paths, demo):
    write_train(paths, ["cat", "dog"])
    with pytest.raises(DataError, match=r'none of 2 has; .* amounts are target = "number"'):
        folds.run(paths, demo, 5, 0)
