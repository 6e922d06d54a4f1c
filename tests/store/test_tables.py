"""The tables between stages: what is written is what is read, or a line says why not."""

import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    AUDIT_COLUMNS,
    FOLD_COLUMNS,
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    load_folds,
    load_test,
    load_train,
    read_table,
    write_table,
)

ODD_IDS = [
    "007",
    "1e5",
    "NA",
    "null",
    "None",
    "nan",
    "True",
    "猫 一.jpg",
    "a,b.jpg",
    'the "cat".jpg',
    "it's.jpg",
    " space .jpg",
    "#1.jpg",
    "line\nbreak.jpg",
]
LOADERS = {
    "train.csv": (load_train, TRAIN_COLUMNS, "pipeline prepare pets"),
    "test.csv": (load_test, TEST_COLUMNS, "pipeline prepare pets"),
    "pets.csv": (load_folds, FOLD_COLUMNS, "pipeline folds pets"),
}


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, "pets")


@pytest.fixture(params=LOADERS)
def table(request, paths):
    """Each table with one row per image: its path, how to load it, columns, next command."""
    load, columns, command = LOADERS[request.param]
    place = {path.name: path for path in (paths.train_csv, paths.test_csv, paths.folds_csv)}
    return place[request.param], lambda: load(paths), columns, command


def rows_of(columns: list[str], image_ids: list[str]) -> pd.DataFrame:
    integers = {"width": 640, "height": 480, "fold": 3}
    return pd.DataFrame(
        [
            [image_id if name == "image_id" else integers.get(name, image_id) for name in columns]
            for image_id in image_ids
        ],
        columns=columns,
    )


def test_odd_ids_come_back_as_they_were(table):
    path, load, columns, _ = table
    written = rows_of(columns, ODD_IDS)
    write_table(written, path)
    pd.testing.assert_frame_equal(load(), written)


def test_sizes_and_folds_are_integers_and_the_rest_is_text(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["007"]), path)
    types = {name: str(kind) for name, kind in load().dtypes.items()}
    for name in columns:
        assert types[name] == ("int64" if name in {"width", "height", "fold"} else "str")


def test_table_is_utf8_with_lf_and_without_bom(table):
    path, _, columns, _ = table
    write_table(rows_of(columns, ["猫.jpg"]), path)
    content = path.read_bytes()
    assert content.startswith(b"image_id,")
    assert b"\r" not in content
    assert "猫.jpg" in content.decode("utf-8")
    assert content.count(b"\n") == 2
    assert content.endswith(b"\n")


def test_writing_leaves_no_other_file(table):
    path, _, columns, _ = table
    write_table(rows_of(columns, ["a"]), path)
    assert list(path.parent.iterdir()) == [path]


def test_missing_table_leads_to_the_command_that_makes_it(table):
    path, load, _, command = table
    with pytest.raises(DataError, match=rf"{path.name}: must exist, is missing; run '{command}'"):
        load()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\xff\xfe\x00nonsense",
        b"image_id\n",
        b"image_id,label\na.jpg,cat\n",
        b'image_id,"\n',
    ],
    ids=["empty", "blank", "binary", "one column", "other columns", "open quote"],
)
def test_damaged_table_leads_to_the_command_that_makes_it(table, content):
    path, load, _, command = table
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.name}: damaged: .*; run '{command}'") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_columns_in_another_order_are_refused_with_both(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["a"])[columns[::-1]], path)
    with pytest.raises(DataError, match=r"columns must be \['image_id', .*, are \['"):
        load()


@pytest.mark.parametrize("value", ["", "wide", "1.5", "NA"])
def test_number_that_is_none_is_refused(table, value):
    path, load, columns, command = table
    rows = rows_of(columns, ["a", "b"]).astype(str)
    rows.loc[1, [name for name in columns if name in {"width", "fold"}]] = value
    write_table(rows, path)
    with pytest.raises(DataError, match=rf"damaged: .*; run '{command}'"):
        load()


def test_row_with_too_many_fields_is_refused(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["a", "b"]), path)
    path.write_bytes(path.read_bytes().replace(b"\nb,", b"\nb,extra,more,"))
    with pytest.raises(DataError, match=r"damaged: .*Expected"):
        load()


def test_repeated_ids_are_refused_with_the_first(table):
    path, load, columns, command = table
    write_table(rows_of(columns, ["a", "b", "c", "c", "b", "c"]), path)
    expected = (
        rf"unique and not empty, 3 rows repeat one or have none, the first 'c'; run '{command}'"
    )
    with pytest.raises(DataError, match=expected):
        load()


def test_empty_id_is_refused(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["a", ""]), path)
    with pytest.raises(DataError, match="1 rows repeat one or have none, the first ''"):
        load()


def test_audit_may_name_an_image_twice(tmp_path):
    path = tmp_path / "audit.csv"
    rows = pd.DataFrame([["odd", "train", "a", ""]] * 2, columns=AUDIT_COLUMNS)
    write_table(rows, path)
    pd.testing.assert_frame_equal(read_table(path, AUDIT_COLUMNS, "pipeline prepare pets"), rows)
