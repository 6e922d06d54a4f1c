"""Text of unknown encoding is read as what it is, and told where it may be something else."""

import pytest

from pipeline.errors import DataError
from pipeline.store.foreign import (
    detect_encoding,
    doubt_of_encoding,
    read_foreign_csv,
    read_foreign_text,
)

CERTAIN = {
    "plain": ("a,b\n", "ascii"),
    "Chinese": ("a,小狗\nb,猫\n", "gb18030"),
    "traditional": ("a,小貓\nb,狗\n", "gb18030"),
    "Chinese in UTF-8": ("a,狗\n", "utf-8"),
    "French in UTF-8": ("a,crème\nb,brûlée\n", "utf-8"),
    "Russian in UTF-8": ("a,кот\nb,пёс\n", "utf-8"),
    "a mark": ("\ufeffa,狗\n", "utf-8"),
}


@pytest.mark.parametrize("form", CERTAIN)
def test_text_is_read_in_its_encoding(tmp_path, form):
    text, encoding = CERTAIN[form]
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    assert read_foreign_text(path) == text.removeprefix("\ufeff")
    assert doubt_of_encoding(path) == ""


DOUBTFUL = {
    "letters beside each other": ("Größe;Füße\nMaße;Späße\n", "cp1252", "might be GB18030"),
    "Western Windows": ("a,Größe\nb,Bär\n", "cp1252", "read as Windows-1252, might be GB18030"),
    "one Chinese character": ("a,猫\nb,dog\n", "gb18030", "read as GB18030, might be UTF-8"),
}


@pytest.mark.parametrize("form", DOUBTFUL)
def test_text_that_may_be_in_another_encoding_is_told(tmp_path, form):
    text, encoding, told = DOUBTFUL[form]
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    assert read_foreign_text(path) == text
    assert told in doubt_of_encoding(path)


def test_text_that_is_not_what_its_mark_says_is_refused(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfid,label\n1,\xff\xfe\n")
    with pytest.raises(DataError, match=r"must be text in UTF-8 or GB18030, byte 15 \(0xff\)"):
        read_foreign_text(path)


def test_names_of_files_decide_between_encodings():
    content = "é.jpg,a\n".encode()
    assert detect_encoding(content).name == "gb18030"
    assert detect_encoding(content, "é.jpg") == type(detect_encoding(content))("utf-8")
    assert detect_encoding(content, "茅.jpg").name == "gb18030"


@pytest.mark.parametrize("first", ["sep=;\r\n", "\ufeffSEP=;\n"])
def test_excel_s_line_of_the_separator_is_no_row(tmp_path, first):
    path = tmp_path / "list.csv"
    path.write_bytes(f"{first}a;b\r\n1;2\r\n;\r\n".encode())
    assert read_foreign_csv(path, ";").rows == [(2, ["a", "b"]), (3, ["1", "2"])]


@pytest.mark.parametrize("blank", ["\u00a0", "\u200b", "\u3000", "\ufeff "])
def test_spaces_that_are_not_seen_are_no_part_of_a_field(tmp_path, blank):
    path = tmp_path / "list.csv"
    path.write_text(f"a,b\n1,elm{blank}\n2,{blank}elm\n", "utf-8")
    assert doubt_of_encoding(path) == ""
    assert [row for _, row in read_foreign_csv(path).rows[1:]] == [["1", "elm"], ["2", "elm"]]
