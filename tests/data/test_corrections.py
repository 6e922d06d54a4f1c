"""Corrections say what a person decided, and nothing else happens."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.competition import Competition, load_competition
from pipeline.data.corrections import Corrections, load_corrections
from pipeline.errors import DataError
from pipeline.store.freshness import file_sha256
from pipeline.store.tables import SUSPECT_COLUMNS, TRAIN_COLUMNS, write_table

IDS = [f"{number:03}.jpg" for number in range(6)]
LABELS = ["cat", "dog"] * 3
TRAIN = pd.DataFrame(
    [
        [image_id, f"train/{image_id}", label, image_id, 64, 48, "JPEG", "0"]
        for image_id, label in zip(IDS, LABELS, strict=True)
    ],
    columns=TRAIN_COLUMNS,
)


@pytest.fixture
def demo():
    return load_competition("demo")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.csv"


def suspects(**actions: str) -> pd.DataFrame:
    """A row for every image, the other class suggested; actions by `_<number>`."""
    rows = [
        [image_id, label, {"cat": "dog", "dog": "cat"}[label], "0.1000", "0.9000", ""]
        for image_id, label in zip(IDS, LABELS, strict=True)
    ]
    table = pd.DataFrame(rows, columns=SUSPECT_COLUMNS)
    for number, action in actions.items():
        table.loc[int(number[1:]), "action"] = action
    return table


def test_only_rows_with_an_action_count(path, demo):
    write_table(suspects(_1="drop", _4="relabel"), path)
    found = load_corrections(path, demo, TRAIN)
    assert found == Corrections("mine.csv", file_sha256(path), ["001.jpg"], {"004.jpg": "dog"})


def test_a_table_out_of_a_spreadsheet_is_understood(path, demo):
    text = suspects(_1="DROP", _4=" Relabel").to_csv(index=False, lineterminator="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = load_corrections(path, demo, TRAIN)
    assert (found.drop, found.relabel) == (["001.jpg"], {"004.jpg": "dog"})


CHINESE = ("黑猫", "白狗", "灰兔")
GERMAN = ("Kätzchen", "Hündin", "Größe 2")


def of(classes: tuple[str, ...], demo: Competition) -> tuple[Competition, pd.DataFrame]:
    """A competition of these classes, two images of each, and its training table."""
    labels = [classes[number // 2 % len(classes)] for number in range(2 * len(classes))]
    ids = [f"{label}/{number:03}.jpg" for number, label in enumerate(labels)]
    rows = [[i, i, label, i, 64, 48, "JPEG", "0"] for i, label in zip(ids, labels, strict=True)]
    return demo.model_copy(update={"classes": classes}), pd.DataFrame(rows, columns=TRAIN_COLUMNS)


def decided(train: pd.DataFrame, classes: tuple[str, ...]) -> list[list[str]]:
    """Header and a row per image: the second is dropped, the fourth becomes the first class."""
    rows = [
        [image_id, label, classes[0] if label != classes[0] else classes[1], "0.1000", "0.9000", ""]
        for image_id, label in zip(train["image_id"], train["label"], strict=True)
    ]
    rows[1][-1], rows[3][-1] = "drop", "relabel"
    return [SUSPECT_COLUMNS, *rows]


SAVED = {
    "Chinese Excel": (CHINESE, ",", "gb18030", ""),
    "Excel of Taiwan": (("黑貓", "白狗", "灰兔"), ",", "big5", ""),
    "German Excel, UTF-8": (GERMAN, ";", "utf-8-sig", ""),
    "German Excel, its own code page": (GERMAN, ";", "cp1252", ""),
    "Unicode text": (CHINESE, "\t", "utf-16", ""),
    "with its separator said": (GERMAN, ";", "utf-8-sig", "sep=;\r\n"),
}


@pytest.mark.parametrize("program", SAVED)
def test_corrections_are_read_as_a_spreadsheet_has_saved_them(path, demo, program):
    classes, separator, encoding, first_line = SAVED[program]
    competition, train = of(classes, demo)
    rows = decided(train, classes)
    if separator == ";":
        rows = [[field.replace("0.", "0,") for field in row] for row in rows]
    text = first_line + "".join(separator.join(row) + "\r\n" for row in [*rows, [""] * 6])
    path.write_bytes(text.encode(encoding))
    found = load_corrections(path, competition, train)
    assert found.drop == [train["image_id"][1]]
    assert found.relabel == {train["image_id"][3]: classes[0]}


def test_a_code_page_is_known_by_labels_where_ids_are_of_english_letters(path, demo):
    competition, train = of(GERMAN, demo)
    train["image_id"] = [f"{number:03}.jpg" for number in range(len(train))]
    rows = decided(train, GERMAN)
    path.write_bytes("".join(";".join(row) + "\r\n" for row in rows).encode("cp1252"))
    found = load_corrections(path, competition, train)
    assert (found.drop, found.relabel) == (["001.jpg"], {"003.jpg": GERMAN[0]})


def test_a_row_about_an_image_that_is_gone_is_not_its_namesakes(path, demo):
    rows = [["a/001.jpg", "dog", "cat", "0.1", "0.9", "drop"]]
    write_table(pd.DataFrame(rows, columns=SUSPECT_COLUMNS), path)
    train = TRAIN.assign(image_id="b/" + TRAIN["image_id"])
    with pytest.raises(DataError, match=r"must stand in train\.csv, 1 images .* 'a/001\.jpg'"):
        load_corrections(path, demo, train)


def test_columns_may_be_added_and_moved_and_rows_sorted(path, demo):
    competition, train = of(CHINESE, demo)
    header, *rows = [["note", *row[::-1]] for row in decided(train, CHINESE)]
    text = "".join(",".join(row) + "\n" for row in [header, *rows[::-1]])
    path.write_bytes(text.encode())
    found = load_corrections(path, competition, train)
    assert (found.drop, found.relabel) == ([train["image_id"][1]], {train["image_id"][3]: "黑猫"})


def test_decimal_commas_without_quotes_are_refused_and_not_shifted(path, demo):
    text = suspects(_1="drop").to_csv(index=False).replace("0.1000", "0,1000")
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match="line 2 must have 6 fields as the header has, has 7"):
        load_corrections(path, demo, TRAIN)
    path.write_text(text.replace("0.9000", "0,9000").replace(",drop", ""), "utf-8")
    with pytest.raises(DataError, match="line 2 must have 6 fields"):
        load_corrections(path, demo, TRAIN)


@pytest.mark.parametrize(
    ("classes", "saved_as"),
    [
        (("true", "false"), ("TRUE", "FALSE")),
        (("true", "false"), ("WAHR", "FALSCH")),
        (("007", "010", "100"), ("7", "10", "100")),
        (("1.0", "2.0"), ("1", "2")),
        (("1.5", "2.50"), ("1,5", "2,5")),
        (("-1", "+1"), ("-1", "1")),
    ],
)
def test_labels_that_a_spreadsheet_respells_are_known(path, demo, classes, saved_as):
    competition, train = of(classes, demo)
    spelled = dict(zip(classes, saved_as, strict=True))
    header, *rows = decided(train, classes)
    rows = [[row[0], spelled[row[1]], spelled[row[2]], *row[3:]] for row in rows]
    path.write_text("".join(";".join(row) + "\r\n" for row in [header, *rows]), "utf-8")
    assert load_corrections(path, competition, train).relabel == {train["image_id"][3]: classes[0]}


def test_labels_that_could_be_two_are_refused(path, demo):
    competition, train = of(("07", "007", "x"), demo)
    header, *rows = decided(train, ("07", "007", "x"))
    rows[3][1] = "7"
    path.write_text("".join(",".join(row) + "\n" for row in [header, *rows]), "utf-8")
    with pytest.raises(
        DataError, match=r"label must be the one of train\.csv.* is '7' of '007/003"
    ):
        load_corrections(path, competition, train)


def test_ids_that_a_spreadsheet_respells_are_found_and_none_twice(path, demo):
    rows = suspects(_1="drop", _4="relabel").replace({"001.jpg": "1.jpg", "004.jpg": "4.JPG"})
    write_table(rows, path)
    found = load_corrections(path, demo, TRAIN)
    assert (found.drop, found.relabel) == (["001.jpg"], {"004.jpg": "dog"})
    twice = pd.concat([rows, suspects(_1="drop").iloc[[1]]])
    write_table(twice, path)
    with pytest.raises(DataError, match=r"must stand once, '001\.jpg' stands twice"):
        load_corrections(path, demo, TRAIN)


@given(
    st.sets(st.integers(0, 5)).flatmap(
        lambda drop: st.tuples(
            st.just(drop), st.dictionaries(st.integers(0, 5), st.sampled_from(["cat", "dog"]))
        )
    )
)
def test_nothing_but_what_was_asked_for_is_changed(asked):
    drop, relabel = asked
    relabel = {number: label for number, label in relabel.items() if number not in drop}
    corrections = Corrections(
        "x.csv", "0", [IDS[n] for n in drop], {IDS[n]: label for n, label in relabel.items()}
    )
    corrected = corrections.apply(TRAIN)
    expected = [number for number in range(6) if number not in drop]
    assert corrected["image_id"].tolist() == [IDS[number] for number in expected]
    assert corrected["label"].tolist() == [relabel.get(n, LABELS[n]) for n in expected]
    pd.testing.assert_frame_equal(
        corrected.drop(columns="label"),
        TRAIN.drop(columns="label").iloc[expected].reset_index(drop=True),
    )


def test_corrections_survive_their_record():
    corrections = Corrections("x.csv", "0", ["a"], {"b": "cat"})
    assert Corrections(**corrections.record()) == corrections


def test_they_read_as_counts_and_first_names():
    names = [f"{number}.jpg" for number in range(7)]
    corrections = Corrections("x.csv", "0", names, {"b.jpg": "cat"})
    assert str(corrections) == (
        "7 dropped (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more), 1 relabelled (b.jpg) by x.csv"
    )


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        (
            "action",
            "delete",
            "action must be empty or one of keep, drop, relabel, 1 images have another",
        ),
        ("image_id", "x.jpg", "image_id must stand in train.csv, .* the first is 'x.jpg'"),
        ("label", "dog", "label must be the one of train.csv, .* the first is 'dog' of '002.jpg'"),
        ("suggested", "horse", "suggested must be another class of the competition, .* 'horse'"),
        ("suggested", "cat", "suggested must be another class .* is 'cat' of '002.jpg'"),
    ],
)
def test_a_row_that_says_something_impossible_is_refused(path, demo, column, value, line):
    table = suspects(_2="relabel")
    table.loc[2, column] = value
    write_table(table, path)
    with pytest.raises(DataError, match=line):
        load_corrections(path, demo, TRAIN)


def test_a_drop_needs_no_suggestion(path, demo):
    table = suspects(_2="drop").assign(suggested="", prob_label="", prob_suggested="")
    write_table(table, path)
    assert load_corrections(path, demo, TRAIN).drop == ["002.jpg"]


def test_a_list_that_nobody_filled_in_is_refused(path, demo):
    write_table(suspects(), path)
    with pytest.raises(DataError, match="is empty everywhere; fill it in where you agree"):
        load_corrections(path, demo, TRAIN)


def test_an_image_that_stands_twice_is_refused(path, demo):
    table = suspects(_1="drop", _2="relabel")
    write_table(pd.concat([table, table.iloc[[1]]]), path)
    with pytest.raises(
        DataError, match=r"image_id must be unique and not empty, 1 rows repeat one"
    ):
        load_corrections(path, demo, TRAIN)


def test_a_file_that_is_not_there_is_refused(path, demo):
    with pytest.raises(DataError, match=r"mine\.csv: must exist, is missing; run 'pipeline susp"):
        load_corrections(path, demo, TRAIN)


def test_labels_that_were_looked_at_are_kept_as_they_are(path, demo):
    write_table(suspects(_1="drop", _2="keep", _3="Keep"), path)
    found = load_corrections(path, demo, TRAIN)
    assert (found.drop, found.keep) == (["001.jpg"], ["002.jpg", "003.jpg"])
    assert str(found) == "1 dropped (001.jpg), 2 looked at and kept by mine.csv"
    assert Corrections(**found.record()) == found
    assert found.apply(TRAIN)["label"].tolist() == [*LABELS[:1], *LABELS[2:]]


def test_a_record_without_kept_labels_is_as_it_was_before_there_were_any():
    assert "keep" not in Corrections("x.csv", "0", ["a"], {}).record()
