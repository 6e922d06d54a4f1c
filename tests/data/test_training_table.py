import re

import pandas as pd
import pytest

from pipeline.config.competition import load_competition
from pipeline.data.training_table import load_training_table
from pipeline.errors import DataError
from pipeline.stages import folds
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    SUSPECT_COLUMNS,
    TRAIN_COLUMNS,
    load_folds,
    load_train,
    write_table,
)

NUM = 20


@pytest.fixture
def paths(tmp_path):
    """A training table that is split into two folds."""
    paths = Paths(tmp_path, "demo")
    rows = [
        [f"{i}.jpg", f"train/{i}.jpg", ["cat", "dog"][i % 2], f"{i}.jpg", 64, 48, "JPEG", "0"]
        for i in range(NUM)
    ]
    write_table(pd.DataFrame(rows, columns=TRAIN_COLUMNS), paths.train_csv)
    folds.run(paths, load_competition("demo"), 2, 0)
    return paths


def correct(paths: Paths, *rows: list[str]) -> None:
    path = paths.root / "mine.csv"
    write_table(pd.DataFrame(list(rows), columns=SUSPECT_COLUMNS), path)
    folds.run(paths, load_competition("demo"), None, None, str(path))


def test_without_corrections_it_is_the_table_itself(paths):
    train, table = load_training_table(paths)
    pd.testing.assert_frame_equal(train, load_train(paths))
    pd.testing.assert_frame_equal(table, load_folds(paths))


def test_dropped_images_are_gone_and_labels_are_those_of_the_folds(paths):
    correct(
        paths,
        ["3.jpg", "dog", "cat", "0.1", "0.9", "drop"],
        ["4.jpg", "cat", "dog", "0.1", "0.9", "relabel"],
    )
    train, table = load_training_table(paths)
    expected = load_train(paths).query("image_id != '3.jpg'").reset_index(drop=True)
    expected.loc[expected["image_id"] == "4.jpg", "label"] = "dog"
    pd.testing.assert_frame_equal(train, expected)
    for column in ("image_id", "label", "group"):
        assert table[column].tolist() == train[column].tolist()


@pytest.mark.parametrize("change", ["added", "removed", "reordered"])
def test_a_fold_table_of_other_images_is_refused(paths, change):
    correct(paths, ["3.jpg", "dog", "cat", "0.1", "0.9", "drop"])
    train = load_train(paths)
    changed = {
        "added": pd.concat([train, train.iloc[[0]].assign(image_id="new.jpg")]),
        "removed": train.iloc[1:],
        "reordered": train.iloc[::-1],
    }[change]
    write_table(changed, paths.train_csv)
    line = (
        rf"{re.escape(str(paths.folds_csv))}: must hold the {len(changed) - 1} images of train.csv "
        rf"in its order, holds 19 others; run 'pipeline folds demo'"
    )
    with pytest.raises(DataError, match=line):
        load_training_table(paths)


def test_a_fold_table_of_labels_that_were_mended_since_is_refused_until_it_is_split_anew(paths):
    correct(paths, ["4.jpg", "cat", "dog", "0.1", "0.9", "relabel"])
    train = load_train(paths)
    train.loc[train["image_id"] == "7.jpg", "label"] = "cat"
    write_table(train, paths.train_csv)
    line = "must have the labels of train.csv, 1 images have others, the first is '7.jpg'; run"
    with pytest.raises(DataError, match=line):
        load_training_table(paths)
    folds.run(paths, load_competition("demo"), None, None)
    assert load_training_table(paths)[0].set_index("image_id")["label"]["7.jpg"] == "cat"


def test_a_fold_table_of_groups_that_were_found_since_is_refused_until_it_is_split_anew(paths):
    table = load_folds(paths)
    one_of_each = table.groupby(["fold", "label"])["image_id"].first().loc[:, "cat"].tolist()
    train = load_train(paths)
    train.loc[train["image_id"].isin(one_of_each), "group"] = "one patient"
    write_table(train, paths.train_csv)
    with pytest.raises(
        DataError, match=r"1 groups of train\.csv lie in several; run 'pipeline fol"
    ):
        load_training_table(paths)
    folds.run(paths, load_competition("demo"), None, None)
    load_training_table(paths)


def test_an_image_that_is_missing_without_having_been_dropped_is_no_drop(paths):
    write_table(load_folds(paths).iloc[1:], paths.folds_csv)
    with pytest.raises(DataError, match=r"must hold the 20 images of .* holds 19 others"):
        load_training_table(paths)
