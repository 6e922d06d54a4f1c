"""Other forms of submission: encodings, line ends, orders, headers and probabilities."""

import codecs
from typing import Any

import numpy as np
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.submission.answers import Answers, decode, remarks
from pipeline.submission.faults import Fault, FaultKind, summary
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, submission_table
from tests.editions import shipped

CLASSES = ("猫", "dog", "cow")
IDS = ["b", "c", "a"]
ROWS = "b,0.5,0.25,0.25\nc,0.2,0.3,0.5\na,1,0,0.0\n"


def competition_with(classes: tuple[str, ...] = CLASSES, **changes: Any) -> Competition:
    """The demo competition with another submission format: probabilities of three classes."""
    demo = load_competition("demo")
    form = {"id": "stem", "label": "probabilities", "order": "any"}
    submission = demo.submission.model_copy(update=form | changes)
    return demo.model_copy(update={"classes": classes, "submission": submission})


def faults_of(content: str | bytes, **changes: Any) -> list[Fault]:
    data = content if isinstance(content, bytes) else content.encode()
    return find_faults(competition_with(**changes), data, IDS)


def told(content: str | bytes, **changes: Any) -> list[str]:
    return list(map(str, faults_of(content, **changes)))


# Encodings


def test_encodings_that_are_wanted_are_taken():
    text = "b,猫\nc,dog\na,cow\n"
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        assert told(text.encode(encoding), label="name", encoding=encoding) == []


@pytest.mark.parametrize("newline", ["", "\n"])
def test_missing_or_unwanted_mark_is_told(newline):
    text = f"b,0\nc,1\na,2{newline}".encode()
    missing = "line 1: byte order mark: the file must begin with EF BB BF, begins with 62 2C 30"
    assert told(text, label="index", encoding="utf-8-sig") == [missing]
    (unwanted,) = told(codecs.BOM_UTF8 + text, label="index", encoding="gb18030")
    assert unwanted.endswith("must begin with its first id or header, not EF BB BF")


def test_line_in_another_encoding_does_not_hide_the_faults_of_others():
    content = "b,0.5,0.25,0.25\n狗,0.2,0.3,0.5\na,1,0,7\n".encode("gbk")
    first, second = faults_of(content)
    assert str(first) == "line 2: encoding: must be UTF-8, byte 16 is 0xb9"
    assert str(second) == "line 3: labels out of range: must be a number from 0 to 1, found '7'"


def test_as_many_ids_may_be_missing_as_lines_are_illegible():
    content = b"\xff,0.2,0.3,0.5\na,1,0,0\n"
    assert [fault.kind for fault in faults_of(content)] == [
        FaultKind.ENCODING,
        FaultKind.MISSING_ID,
    ]
    assert [fault.kind for fault in faults_of(content + b"\xfe\n")] == [FaultKind.ENCODING]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_faults_of_a_file_in_utf_16_are_told_too(codec):
    content = ROWS.replace("0.5\n", "0.6\n").encode(codec)
    first, second = told(content)
    assert first == "encoding: must be UTF-8, is UTF-16"
    assert "sums of probabilities" in second


# Lines


@pytest.mark.parametrize(
    ("line_ending", "content", "is_valid"),
    [
        ("crlf", "b,0\r\nc,1\r\na,2\r\n", True),
        ("crlf", "b,0\r\nc,1\r\na,2", True),
        ("crlf", "b,0\nc,1\na,2\n", False),
        ("crlf", "b,0\r\nc,1\na,2\r\n", False),
        ("lf", "b,0\r\nc,1\r\na,2\r\n", False),
    ],
)
def test_line_ends_are_held_to_what_is_wanted(line_ending, content, is_valid):
    kinds = [fault.kind for fault in faults_of(content, label="index", line_ending=line_ending)]
    assert kinds == ([] if is_valid else [FaultKind.LINE_ENDS])


# Order


def test_order_of_the_sample_is_demanded_where_it_is_wanted():
    assert told(ROWS, order="sample") == told(ROWS, order=None, sample="sample.csv") == []
    backwards = "".join(f"{line}\n" for line in ROWS.splitlines()[::-1])
    assert told(backwards, order="any") == []
    (fault,) = told(backwards, order="sample")
    assert fault == (
        "line 2: order: ids must be in the sample's order, 'c' comes after 'a' (and 1 more)"
    )


# Headers and columns


def with_header(*names: str) -> str:
    return ",".join(names) + "\n" + ROWS


def test_header_names_the_classes_or_is_as_it_is_told_to_be():
    assert told(with_header("id", *CLASSES), has_header=True) == []
    columns = ("id", "p1", "p2", "p3")
    assert told(with_header(*columns), has_header=True, columns=columns) == []


def test_columns_in_another_order_are_told_with_the_first_that_differs():
    (fault,) = told(with_header("id", "猫", "cow", "dog"), has_header=True)
    assert fault == (
        "line 1: order of columns: must be 'id,猫,dog,cow', differs at column 3 ('cow' for 'dog'), "
        "found 'id,猫,cow,dog'"
    )


def test_header_with_digits_is_known_by_the_names_that_are_wanted():
    columns = ("id", "p1", "p2", "p3")
    (fault,) = told(with_header("id", "p2", "p1", "p3"), has_header=True, columns=columns)
    assert "differs at column 2" in fault
    (fault,) = told(with_header(*columns), columns=columns)
    assert fault == "line 1: header: the judge wants none, found 'id,p1,p2,p3'"


def test_missing_header_of_probabilities_is_told():
    (fault,) = told(ROWS, has_header=True)
    assert fault.startswith("line 1: header: must be 'id,猫,dog,cow', is missing, found 'b,0.5")


def test_id_in_the_last_column_is_put_first():
    content = "".join(
        ",".join([*line.split(",")[1:], line.split(",")[0]]) + "\n" for line in ROWS.splitlines()
    )
    (fault,) = told(content)
    assert fault == (
        "line 1: swapped columns: the id must come first, then the label, found "
        "'0.5 | 0.25 | 0.25 | b' (and 2 more)"
    )


def test_number_of_columns_is_that_of_the_classes():
    (fault,) = told(ROWS.replace("0.25,0.25", "0.5"))
    assert fault == "line 1: columns: must be 4, found 3 in 'b | 0.5 | 0.5'"


# Probabilities


@pytest.mark.parametrize(
    "number", ["0", "1", "0.0", "1.", ".5", "0.1e-3", "1E-3", "-0.0", "0" * 50]
)
def test_number_is_taken_however_it_is_written(number):
    assert told(f"b,{number}\nc,0\na,1\n", classes=("cat", "dog"), label="probability") == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("1.0000001", FaultKind.LABEL_OUT_OF_RANGE),
        ("-0.1", FaultKind.LABEL_OUT_OF_RANGE),
        ("1e999", FaultKind.LABEL_OUT_OF_RANGE),
        ("inf", FaultKind.INFINITE_LABEL),
        ("+Infinity", FaultKind.INFINITE_LABEL),
        ("NaN", FaultKind.NAN_LABEL),
        ("", FaultKind.EMPTY_LABEL),
        ("0,5", FaultKind.COLUMNS),
        ("0.5.1", FaultKind.MALFORMED_LABEL),
        ("1_0", FaultKind.MALFORMED_LABEL),
        ("0x1", FaultKind.MALFORMED_LABEL),
        ("\u0661", FaultKind.MALFORMED_LABEL),
        ("e5", FaultKind.MALFORMED_LABEL),
        (".", FaultKind.MALFORMED_LABEL),
    ],
)
def test_what_is_no_probability_is_told_as_what_it_is(number, kind):
    content = f"b,{number}\nc,0\na,1\n"
    faults = faults_of(content, classes=("cat", "dog"), label="probability")
    assert [(fault.kind, fault.first_line) for fault in faults] == [(kind, 1)]


def test_sum_is_checked_to_five_decimals_where_it_must_be_1():
    assert told("b,0.333333,0.333333,0.333334\nc,0,0,1\na,0.1,0.2,0.7\n") == []
    content = "b,0.3333,0.3333,0.3333\nc,0,0,0\na,0.5,0.5,0.5\n"
    sums, zeros = faults_of(content)
    assert (sums.kind, sums.count, zeros.kind) == (FaultKind.SUM, 2, FaultKind.ALL_ZERO)
    assert str(sums) == (
        "line 1: sums of probabilities: the probabilities of a line must sum to 1, found 0.9999 "
        "(and 1 more)"
    )
    assert told(content, rows_sum_to_1=False) == []


def test_numbers_that_are_each_rounded_to_five_decimals_sum_to_1():
    classes = tuple(f"class {number}" for number in range(300))
    probs = np.random.default_rng(1).dirichlet(np.ones(300), 3)
    lines = [",".join([name, *(f"{prob:.5f}" for prob in row)])
             for name, row in zip(IDS, probs, strict=True)]  # fmt: skip
    assert max(abs(sum(map(float, line.split(",")[1:])) - 1) for line in lines) > 3e-5
    content = "".join(f"{line}\n" for line in lines)
    assert told(content, classes=classes) == []
    (fault,) = faults_of(content.replace("b,0.0", "b,0.9", 1), classes=classes)
    assert fault.kind == FaultKind.SUM


def test_sum_of_a_line_with_a_faulty_number_is_not_told_as_well():
    faults = faults_of(ROWS.replace("b,0.5,", "b,nan,"))
    assert [fault.kind for fault in faults] == [FaultKind.NAN_LABEL]
    assert summary(faults) == "1 kind of fault, 1 in all"


def test_lists_of_classes_are_written_likeliest_first_and_read_back_in_order():
    ranked = competition_with(("a", "b", "c"), label="names", top_k=2, id="stem")
    probs = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], dtype=np.float32)
    content = encode(ranked, submission_table(ranked, ["x.jpg", "y.jpg"], probs))
    assert content == b"x,b c\ny,a c\n"
    assert decode(ranked, content).probs.tolist() == [[0, 1, 0.5], [1, 0, 0.5]]


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("a b", None),
        ("c", None),
        ("a b c", FaultKind.MALFORMED_LABEL),
        ("a a", FaultKind.MALFORMED_LABEL),
        ("a  b", FaultKind.MALFORMED_LABEL),
        ("a d", FaultKind.MALFORMED_LABEL),
        ("a nan", FaultKind.NAN_LABEL),
        ("", FaultKind.EMPTY_LABEL),
    ],
)
def test_list_of_classes_must_name_each_once_and_not_too_many(label, kind):
    ranked = competition_with(("a", "b", "c"), label="names", top_k=2, id="stem")
    faults = find_faults(ranked, f"x,{label}\n".encode(), ["x"])
    assert [fault.kind for fault in faults] == ([kind] if kind else [])


def test_numbers_outside_of_the_range_are_remarked_on():
    pets = shipped("petfinder-pawpularity-score").model_copy(update={"range": (1.0, 100.0)})
    inside = Answers(["a", "b"], np.array([[1.0], [100.0]]))
    assert remarks(pets, inside) == []
    outside = Answers(["a", "b", "c"], np.array([[1.0], [0.38], [-4.0]]))
    [remark] = remarks(pets, outside)
    assert remark.startswith("2 of 3 numbers lie outside of 1 to 100")
    assert remark.endswith("the first is 0.38")
    assert remarks(pets.model_copy(update={"range": ()}), outside) == []
