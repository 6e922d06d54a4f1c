import codecs
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.competition import Competition, load_competition
from pipeline.submission.faults import FaultKind, shown, summary
from pipeline.submission.validation import find_faults

NUM = 20
IDS = [str(number) for number in range(NUM)]
FILE_NAMES = sorted(f"{number}.jpg" for number in range(NUM))
LINES = [f"{number},{number % 2}\n" for number in range(NUM)]
VALID = "".join(LINES)
FULL_WIDTH_1, FULL_WIDTH_COMMA = "\uff11", "\uff0c"


def integers(**changes: Any) -> Competition:
    """The demo competition: integer ids in order, no header, LF; some of it changed."""
    demo = load_competition("demo")
    return demo.model_copy(update={"submission": demo.submission.model_copy(update=changes)})


def with_line(number: int, text: str) -> str:
    """The valid file with another line in place of one of its lines, counted from 1."""
    return "".join([*LINES[: number - 1], text, *LINES[number:]])


def changed(number: int, old: str, new: str) -> str:
    return with_line(number, LINES[number - 1].replace(old, new))


def each_line(template: str) -> str:
    return "".join(template.format(id=number, label=number % 2) for number in range(NUM))


# name: (content, kind, count, first line)
DAMAGES: dict[str, tuple[str | bytes, FaultKind, int, int]] = {
    "nothing at all": ("", FaultKind.EMPTY, 1, 0),
    "only line ends": ("\n\n", FaultKind.EMPTY, 1, 0),
    "UTF-16 with a mark": (VALID.encode("utf-16"), FaultKind.ENCODING, 1, 0),
    "UTF-16 without a mark": (VALID.encode("utf-16-be"), FaultKind.ENCODING, 1, 0),
    "GBK text": (changed(4, "3,", "狗,").encode("gbk"), FaultKind.ENCODING, 1, 4),
    "BOM": (codecs.BOM_UTF8 + VALID.encode(), FaultKind.BOM, 1, 1),
    "NUL in lines": (VALID.replace("7,", "7\0,"), FaultKind.NUL, 2, 8),
    "NUL at the end": (VALID + "\0" * 9, FaultKind.NUL, 9, 21),
    "CRLF": (VALID.replace("\n", "\r\n"), FaultKind.LINE_ENDS, 20, 1),
    "one CRLF": (changed(3, "\n", "\r\n"), FaultKind.LINE_ENDS, 1, 3),
    "old Mac line ends": (VALID.replace("\n", "\r"), FaultKind.LINE_ENDS, 20, 1),
    "doubled CR": (VALID.replace("\n", "\r\r\n"), FaultKind.LINE_ENDS, 20, 1),
    "blank line in the middle": (changed(5, "\n", "\n\n"), FaultKind.BLANK, 1, 6),
    "blank lines at the end": (VALID + "\n \n", FaultKind.BLANK, 2, 21),
    "semicolons": (VALID.replace(",", ";"), FaultKind.SEPARATOR, 20, 0),
    "tabs": (VALID.replace(",", "\t"), FaultKind.SEPARATOR, 20, 0),
    "full-width commas": (VALID.replace(",", FULL_WIDTH_COMMA), FaultKind.SEPARATOR, 20, 0),
    "header": ("id,label\n" + VALID, FaultKind.HEADER, 1, 1),
    "another header": ("image_id,class\n" + VALID, FaultKind.HEADER, 1, 1),
    "a third column": (each_line("{id},{label},0.9\n"), FaultKind.COLUMNS, 20, 1),
    "row numbers first": (each_line("{id},{id},{label}\n"), FaultKind.COLUMNS, 20, 1),
    "separator at the end": (changed(9, "\n", ",\n"), FaultKind.COLUMNS, 1, 9),
    "id alone": (with_line(9, "8\n"), FaultKind.COLUMNS, 1, 9),
    "space after the commas": (each_line("{id}, {label}\n"), FaultKind.MALFORMED_LABEL, 20, 1),
    "label first": (each_line("{label},{id}\n"), FaultKind.SWAPPED, 20, 1),
    "quoted ids": (each_line('"{id}",{label}\n'), FaultKind.NEEDLESS_QUOTES, 20, 1),
    "quote without its pair": (changed(2, "1,", '"1,'), FaultKind.QUOTING, 1, 2),
    "last lines cut off": ("".join(LINES[:17]), FaultKind.MISSING_ID, 3, 0),
    "first line lost": ("".join(LINES[1:]), FaultKind.MISSING_ID, 1, 0),
    "image of another competition": (VALID + "20,1\n21,1\n", FaultKind.UNKNOWN_ID, 2, 21),
    "negative id": (VALID + "-1,1\n", FaultKind.UNKNOWN_ID, 1, 21),
    "id that is a word": (VALID + "cat,1\n", FaultKind.MALFORMED_ID, 1, 21),
    "empty id": (VALID + ",1\n", FaultKind.MALFORMED_ID, 1, 21),
    "ids as floats": (each_line("{id}.0,{label}\n"), FaultKind.MALFORMED_ID, 20, 1),
    "id with a space": (changed(2, "1,", " 1,"), FaultKind.MALFORMED_ID, 1, 2),
    "id with zeros": (changed(2, "1,", "001,"), FaultKind.MALFORMED_ID, 1, 2),
    "id with a sign": (changed(2, "1,", "+1,"), FaultKind.MALFORMED_ID, 1, 2),
    "full-width id": (changed(2, "1,", f"{FULL_WIDTH_1},"), FaultKind.MALFORMED_ID, 1, 2),
    "ids with extension": (each_line("{id}.jpg,{label}\n"), FaultKind.MALFORMED_ID, 20, 1),
    "ids with folder": (each_line("test/{id}.jpg,{label}\n"), FaultKind.MALFORMED_ID, 20, 1),
    "repeated line": (VALID + LINES[4] + LINES[4], FaultKind.REPEATED_ID, 2, 21),
    "file twice": (VALID + VALID, FaultKind.REPEATED_ID, 20, 21),
    "sorted as text": ("".join(sorted(LINES)), FaultKind.ORDER, 1, 13),
    "two lines exchanged": ("".join([*LINES[:2], LINES[3], LINES[2], *LINES[4:]]),
        FaultKind.ORDER, 1, 4),
    "label too large": (changed(3, ",0", ",2"), FaultKind.LABEL_OUT_OF_RANGE, 1, 3),
    "label far too large": (changed(3, ",0", "," + "9" * 9999), FaultKind.LABEL_OUT_OF_RANGE, 1, 3),
    "negative label": (changed(3, ",0", ",-1"), FaultKind.LABEL_OUT_OF_RANGE, 1, 3),
    "labels as floats": (each_line("{id},{label}.0\n"), FaultKind.MALFORMED_LABEL, 20, 1),
    "class names": (VALID.replace(",0", ",cat"), FaultKind.MALFORMED_LABEL, 10, 1),
    "label as a power": (changed(2, ",1", ",1e0"), FaultKind.MALFORMED_LABEL, 1, 2),
    "label as truth value": (VALID.replace(",1\n", ",True\n"), FaultKind.MALFORMED_LABEL, 10, 2),
    "full-width label": (changed(2, ",1", f",{FULL_WIDTH_1}"), FaultKind.MALFORMED_LABEL, 1, 2),
    "empty label": (changed(2, ",1", ","), FaultKind.EMPTY_LABEL, 1, 2),
    "label of spaces": (changed(2, ",1", ",  "), FaultKind.EMPTY_LABEL, 1, 2),
    "NaN label": (changed(2, ",1", ",nan"), FaultKind.NAN_LABEL, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_one_fault_with_its_count_and_line(name):
    content, kind, count, line = DAMAGES[name]
    content = content if isinstance(content, bytes) else content.encode()
    faults = find_faults(integers(), content, IDS)
    assert [(fault.kind, fault.count, fault.first_line) for fault in faults] == [
        (kind, count, line)
    ], "\n".join(map(str, faults))


def test_valid_file_has_no_faults():
    assert find_faults(integers(), VALID.encode(), IDS) == []


def test_newline_at_the_end_is_not_demanded():
    assert find_faults(integers(), VALID.rstrip("\n").encode(), IDS) == []


def names_competition() -> Competition:
    """Ids are file names in any order, labels class names, with a header."""
    columns = ("id", "label")
    return integers(id="file_name", label="name", columns=columns, has_header=True, order="any")


NAMED_LINES = ["id,label\n", *(f"{name},cat\n" for name in FILE_NAMES)]

# name: (old, new, kind, first line); the first occurrence is replaced
NAMED_DAMAGES = {
    "no header": ("id,label\n", "", FaultKind.HEADER, 1),
    "other header": ("id,label\n", "Id,Label\n", FaultKind.HEADER, 1),
    "swapped header": ("id,label\n", "label,id\n", FaultKind.HEADER, 1),
    "folder before the name": ("\n0.jpg", "\ntest/0.jpg", FaultKind.MALFORMED_ID, 2),
    "wrong extension": ("\n0.jpg", "\n0.png", FaultKind.MALFORMED_ID, 2),
    "no extension": ("\n0.jpg", "\n0", FaultKind.MALFORMED_ID, 2),
    "capital extension": ("\n0.jpg", "\n0.JPG", FaultKind.MALFORMED_ID, 2),
    "class index": (",cat", ",0", FaultKind.MALFORMED_LABEL, 2),
    "capital class": (",cat", ",Cat", FaultKind.MALFORMED_LABEL, 2),
    "empty class": (",cat", ",", FaultKind.EMPTY_LABEL, 2),
    "null class": (",cat", ",None", FaultKind.NAN_LABEL, 2),
}


@pytest.mark.parametrize("name", NAMED_DAMAGES)
def test_each_damage_of_names_is_one_fault(name):
    old, new, kind, line = NAMED_DAMAGES[name]
    content = "".join(NAMED_LINES).replace(old, new, 1).encode()
    faults = find_faults(names_competition(), content, FILE_NAMES)
    assert [(fault.kind, fault.count, fault.first_line) for fault in faults] == [(kind, 1, line)]


def test_any_order_is_taken_where_the_judge_takes_it():
    content = "".join([NAMED_LINES[0], *NAMED_LINES[:0:-1]]).encode()
    assert find_faults(names_competition(), content, FILE_NAMES) == []


def test_leading_zeros_belong_to_ids_that_are_stems():
    competition = integers(id="stem")
    assert find_faults(competition, b"007,1\nNA,0\n", ["007", "NA"]) == []
    (fault,) = find_faults(competition, b"7,1\nNA,0\n", ["007", "NA"])
    assert str(fault) == "line 1: malformed ids: must be written '007', found '7'"


@pytest.mark.parametrize(
    ("content", "is_valid"),
    [
        (b"0,1\n1,0\n2,0\n", True),
        (b"0,1\r\n1,0\r\n2,0\r\n", True),
        (b"0,1\r\n1,0\r\n2,0", True),
        (b"0,1\r\n1,0\n2,0\r\n", False),
        (b"0,1\n1,0\n2,0\r\n", False),
        (b"0,1\r1,0\r2,0\r", False),
    ],
)
def test_judge_that_takes_any_line_end_takes_lf_or_crlf_throughout(content, is_valid):
    kinds = [f.kind for f in find_faults(integers(line_ending="any"), content, ["0", "1", "2"])]
    assert kinds == ([] if is_valid else [FaultKind.LINE_ENDS])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,label\n" + VALID, "line 1: header: the judge wants none, found 'id,label'"),
        ("".join(LINES[:17]), "missing ids: 3 of 20, the first is '17'"),
        (each_line("{id}.0,{label}\n"), "found '0.0' (and 19 more)"),
        ("".join(sorted(LINES)), "line 13: order: ids must ascend, '2' comes after '19'"),
        (VALID.replace("\n", "\r\n"), "line ends: must be LF, found CRLF (and 19 more)"),
        (VALID.encode() + b"\xb1", "line 21: encoding: must be UTF-8, byte 90 is 0xb1"),
        (VALID.encode("utf-16"), "encoding: must be UTF-8, is UTF-16"),
    ],
)
def test_fault_says_what_must_hold_and_what_was_found(content, message):
    content = content if isinstance(content, bytes) else content.encode()
    (fault,) = find_faults(integers(), content, IDS)
    assert message in str(fault)


def test_file_of_another_competition_is_told_by_both_sides():
    content = "".join(f"{number},0\n" for number in range(100, 120)).encode()
    kinds = {fault.kind: fault.count for fault in find_faults(integers(), content, IDS)}
    assert kinds == {FaultKind.MISSING_ID: 20, FaultKind.UNKNOWN_ID: 20}


def test_several_mistakes_are_all_reported_in_one_go():
    content = codecs.BOM_UTF8 + ("id,label\n" + changed(3, ",0", ",5")).encode()
    faults = find_faults(integers(), content, IDS)
    kinds = [fault.kind for fault in faults]
    assert kinds == [FaultKind.BOM, FaultKind.HEADER, FaultKind.LABEL_OUT_OF_RANGE]
    assert summary(faults) == "3 kinds of fault, 3 in all"


def test_quotes_are_right_where_the_separator_or_a_quote_stands_inside():
    competition = integers(id="stem")
    expected = ["a,b", 'c"d']
    assert find_faults(competition, b'"a,b",1\n"c""d",0\n', expected) == []
    (fault,) = find_faults(competition, b'"a,b",1\nc"d,0\n', expected)
    assert (fault.kind, fault.first_line) == (FaultKind.QUOTING, 2)


def test_what_is_shown_fits_a_line():
    assert shown("a\nb\u3000") == r"'a\nb\u3000'"
    assert len(shown("x" * 1000)) == 42


@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_judged_and_told_in_one_line_each(content):
    faults = find_faults(integers(), content, IDS)
    assert faults
    assert len({fault.kind for fault in faults}) == len(faults)
    assert all(fault.count > 0 and str(fault).isprintable() for fault in faults)


@given(position=st.integers(0, len(VALID) - 2), new=st.sampled_from('09,;\n\r\0 "-+.x\ufeff猫'))
def test_any_changed_character_but_a_label_is_noticed(position, new):
    content = VALID[:position] + new + VALID[position + 1 :]
    is_another_label = VALID[position - 1] == "," and new in "01"
    is_same = content == VALID
    faults = find_faults(integers(), content.encode(), IDS)
    assert bool(faults) != (is_another_label or is_same)
