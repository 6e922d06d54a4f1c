"""Pictures in the documents of a BSON file become files, whatever the file looks like."""

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.data.drawing.layout import bson_of
from pipeline.errors import DataError
from pipeline.images import documents
from pipeline.images.documents import read_documents, unpack_documents

JPEG, PNG = b"\xff\xd8\xff\xe0 a photo", b"\x89PNG a picture"
SHOP = [
    {"_id": 12, "category_id": 1000010653, "imgs": [{"picture": JPEG}, {"picture": PNG}]},
    {"_id": 7, "category_id": 5, "imgs": [{"picture": b"no picture"}]},
]


def saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "train.bson"
    path.write_bytes(content)
    return path


def whole(*documents: Mapping[str, object]) -> bytes:
    return b"".join(map(bson_of, documents))


def test_documents_become_folders_of_pictures_and_a_table(tmp_path):
    out = tmp_path / "out"
    assert unpack_documents(saved(tmp_path, whole(*SHOP)), out, "_id", "imgs") == 3
    files = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.suffix != ".csv"
    }
    assert files == {
        "train/12/0.jpg": JPEG, "train/12/1.png": PNG, "train/7/0": b"no picture",
    }  # fmt: skip
    table = (out / "train.csv").read_text("utf-8").splitlines()
    assert table == ["_id,category_id", "12,1000010653", "7,5"]


def test_every_kind_of_value_that_a_table_may_hold_is_read(tmp_path):
    elements = b"".join(
        kind + name + b"\0" + raw
        for kind, name, raw in (
            (b"\x01", b"double", struct.pack("<d", 0.5)),
            (b"\x02", b"text", struct.pack("<i", 6) + "Kätz".encode() + b"\0"),
            (b"\x07", b"oid", bytes(range(12))),
            (b"\x08", b"yes", b"\x01"),
            (b"\x09", b"date", struct.pack("<q", -1)),
            (b"\x0a", b"null", b""),
            (b"\x10", b"small", struct.pack("<i", -2)),
            (b"\x12", b"large", struct.pack("<q", 1 << 40)),
        )
    )
    content = struct.pack("<i", len(elements) + 5) + elements + b"\0"
    [found] = read_documents(saved(tmp_path, content))
    assert found == {
        "double": 0.5, "text": "Kätz", "oid": bytes(range(12)).hex(), "yes": True, "date": -1,
        "null": None, "small": -2, "large": 1 << 40,
    }  # fmt: skip


def claims(size: int, rest: bytes = b"\0") -> bytes:
    return struct.pack("<i", size) + rest


def nested(depth: int) -> dict[str, object]:
    return {"a": nested(depth - 1)} if depth else {}


BROKEN = {
    "cut off": whole(*SHOP)[:-9],
    "cut off in a size": whole(*SHOP) + b"\x07\0",
    "a size below 0": claims(-1),
    "a size that holds nothing": claims(4),
    "an enormous size": claims(2**31 - 1, b"\0" * 9),
    "no zero at the end": claims(6, b"\x0aa"),
    "a name without an end": claims(8, b"\x0aab\0"),
    "a text that ends behind": claims(13, b"\x02a\0" + struct.pack("<i", 99) + b"\0\0"),
    "a text of no bytes": claims(13, b"\x02a\0" + struct.pack("<i", 0) + b"\0\0"),
    "bytes of less than none": claims(13, b"\x05a\0" + struct.pack("<i", -5) + b"\0\0"),
    "a document in it that ends behind": claims(13, b"\x03a\0" + struct.pack("<i", 80) + b"\0\0"),
    "a document in it of less than none": claims(13, b"\x03a\0" + struct.pack("<i", -8) + b"\0\0"),
    "a number that is cut off": claims(10, b"\x01a\0" + b"abc"),
    "a text that is no UTF-8": claims(14, b"\x02a\0" + struct.pack("<i", 2) + b"\xff\0\0"),
    "an unknown kind": claims(8, b"\x7fa\0\0"),
    "too deep": bson_of(nested(60)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_whole_bson_is_refused_in_one_line(tmp_path, kind):
    with pytest.raises(DataError, match=r"train\.bson: document \d must be whole BSON") as error:
        list(read_documents(saved(tmp_path, BROKEN[kind])))
    assert "\n" not in str(error.value)


def test_any_byte_that_is_another_one_raises_no_other_error(tmp_path):
    content = whole(SHOP[1])
    for place in range(len(content)):
        for value in (0, 0x7F, 0xFF):
            changed = content[:place] + bytes([value]) + content[place + 1 :]
            try:
                list(read_documents(saved(tmp_path, changed)))
            except DataError:
                continue


def test_a_folder_of_that_name_that_is_there_is_refused(tmp_path):
    path = saved(tmp_path, whole(*SHOP))
    unpack_documents(path, tmp_path / "out", "_id", "imgs")
    with pytest.raises(DataError, match="must become the folder 'train', which is there"):
        unpack_documents(path, tmp_path / "out", "_id", "imgs")


ODD: dict[str, dict[str, object]] = {
    "no pictures": SHOP[0] | {"imgs": []},
    "pictures that are none": SHOP[0] | {"imgs": [{"picture": "a text"}]},
    "pictures that are several": SHOP[0] | {"imgs": [{"a": JPEG, "b": JPEG}]},
    "no list of pictures": SHOP[0] | {"imgs": 3},
    "no name": {"imgs": [JPEG]},
    "a name that is a path": SHOP[0] | {"_id": "../12"},
    "a name that is there": SHOP[1] | {"_id": 12},
}


@pytest.mark.parametrize("kind", ODD)
def test_a_document_without_a_name_of_its_own_or_pictures_is_refused(tmp_path, kind):
    path = saved(tmp_path, whole(SHOP[0] if "there" in kind else SHOP[1], ODD[kind]))
    with pytest.raises(DataError, match="document 1 must h"):
        unpack_documents(path, tmp_path / "out", "_id", "imgs")


def test_no_more_than_a_document_is_held(tmp_path, monkeypatch):
    path = saved(tmp_path, whole(*SHOP))
    monkeypatch.setattr(documents, "MOST_BYTES", len(bson_of(SHOP[1])))
    with pytest.raises(DataError, match="document 0 must be whole BSON of 5 to"):
        list(read_documents(path))
