"""The split is made once, frozen, and never replaced behind anyone's back."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.competition import Competition, load_competition
from pipeline.errors import DataError
from pipeline.paths import Paths
from pipeline.stages import folds
from pipeline.tables import TRAIN_COLUMNS, load_folds, load_train, write_table

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
    expected = "folds demo: 40 images in 5 folds of 8 to 8, duplicates together -> "
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


def test_too_many_folds_are_refused_with_the_most_there_can_be(paths, demo):
    write_train(paths, ["cat"] * 30 + ["dog"] * 6, copies=3)
    with pytest.raises(DataError, match=r"^demo: every class") as caught:
        folds.run(paths, demo, 5, 0)
    assert str(caught.value) == (
        "demo: every class must have a different image for each of 5 folds, 'dog' has 4; "
        "run 'pipeline folds demo --num-folds 4'"
    )
    assert not paths.folds_csv.exists()
    folds.run(paths, demo, 4, 0)
    assert set(load_folds(paths).query("label == 'dog'")["fold"]) == set(range(4))


def test_class_of_copies_alone_is_not_sent_to_a_number_of_folds(paths, demo):
    write_train(paths, ["cat"] * 30 + ["dog"] * 6, copies=6)
    with pytest.raises(
        DataError, match=r"'dog' has 1; add others and run 'pipeline download demo'"
    ):
        folds.run(paths, demo, 2, 0)


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
