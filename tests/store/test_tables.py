"""The tables between stages: what is written is what is read, or a line says why not."""

import codecs
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    AUDIT_COLUMNS,
    FOLD_COLUMNS,
    SUSPECT_COLUMNS,
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    _as_it_was,
    add_mark,
    harmless,
    load_folds,
    load_test,
    load_train,
    read_table,
    write_for_people,
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


FORMULAS = [
    "=HYPERLINK(A1).jpg",
    "+1+1.jpg",
    "-2+3.jpg",
    "@SUM(A1).png",
    "'=quoted.jpg",
    "''+twice.jpg",
    "a;=1+1.jpg",
    "a\t-1+1.jpg",
    "\uff1d1+1.jpg",
]


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


def test_formulas_in_names_are_text_for_a_spreadsheet_and_come_back_as_they_were(tmp_path):
    path = tmp_path / "audit.csv"
    rows = pd.DataFrame(
        [["odd", "train", name, name] for name in [*FORMULAS, *ODD_IDS]], columns=AUDIT_COLUMNS
    )
    write_for_people(rows, path)
    text = path.read_text("utf-8")
    cells = [cell.strip('"') for cell in re.split("[,;\t\n]", text)]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\uff1d") and cell[:1]]
    pd.testing.assert_frame_equal(read_table(path, AUDIT_COLUMNS, "x"), rows)


@given(st.text("'=+-@;\t\n0.a", max_size=8))
def test_what_is_made_harmless_is_made_what_it_was(text):
    assert re.search(r"(^|[;\t\n])[=+@-]", str(harmless(text))) is None or is_number(text)
    assert _as_it_was(harmless(text)) == text


def is_number(text: str) -> bool:
    return re.fullmatch("[+-]?[0-9.,]+", text) is not None


@pytest.mark.parametrize("label", ["-1", "+1", "-0.5", "1,5"])
def test_numbers_are_no_formulas(label):
    assert harmless(label) == label


def test_mark_is_written_where_it_is_asked_for_and_put_before_no_other_code_page(tmp_path):
    path = tmp_path / "suspects.csv"
    rows = pd.DataFrame([["猫.jpg", "猫", "狗", "0.1", "0.9", ""]], columns=SUSPECT_COLUMNS)
    write_for_people(rows, path)
    plain = path.read_bytes()
    write_for_people(rows, path, excel=True)
    assert path.read_bytes() == codecs.BOM_UTF8 + plain
    path.write_bytes(plain)
    for _ in range(2):
        add_mark(path)
        assert path.read_bytes() == codecs.BOM_UTF8 + plain
    pd.testing.assert_frame_equal(read_table(path, SUSPECT_COLUMNS, "x"), rows)
    path.write_bytes(plain.decode().encode("gb18030"))
    add_mark(path)
    assert path.read_bytes() == plain.decode().encode("gb18030")


def test_only_tables_for_people_are_read_as_others_saved_them(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["a"]), path)
    path.write_bytes(path.read_bytes().replace(b",", b";"))
    with pytest.raises(DataError, match="damaged: columns must be"):
        load()


def test_rows_longer_than_the_header_are_not_taken_for_names_of_rows(table):
    path, load, columns, _ = table
    write_table(rows_of(columns, ["a", "b"]), path)
    header, *rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([header, *(f"x,{row}" for row in rows)]) + "\n", "utf-8")
    with pytest.raises(DataError, match="damaged: rows must have"):
        load()
