"""Make image files of the documents in a BSON file, as MongoDB dumps a collection."""

import csv
import itertools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import DataError

MOST_BYTES = 64 << 20  # of a document; MongoDB's own limit is 16 MiB
MOST_DEPTH = 20  # of documents in documents
DOCUMENT, ARRAY, BINARY = 0x03, 0x04, 0x05
TEXTS = (0x02, 0x0D, 0x0E)  # a string, code and a symbol
NUMBERS = {0x01: "<d", 0x08: "<?", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}
RAW = {0x06: 0, 0x0A: 0, 0x07: 12, 0x13: 16}  # nothing; an object's id, a decimal: as hexadecimal
SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp"}


def unpack_documents(path: Path, folder: Path, id_key: str, pictures_key: str) -> int:
    """Make of a BSON file, a document per answer, a folder of pictures and a CSV.

    Both are called as the file. A document's pictures lie in a folder of its id, `12/0.jpg`; the
    CSV holds what else is said of it. One document is in memory at a time.

    Args:
        path: The file.
        folder: Where both go; made where missing.
        id_key: The key that names a document.
        pictures_key: The key of its list of pictures, each bytes or a document that holds them.

    Returns:
        The number of pictures.

    Raises:
        DataError: The file isn't whole BSON, or a document has no name of its own or no pictures.
    """
    target, names, count = folder / path.stem, set[str](), 0
    if target.exists():
        raise DataError(f"{path}: must become the folder '{target.name}', which is there")
    target.mkdir(parents=True)
    with (folder / f"{path.stem}.csv").open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for number, document in enumerate(read_documents(path)):
            where = f"{path}: document {number}"
            others = {key: value for key, value in document.items() if key != pictures_key}
            name = str(others.get(id_key, ""))
            _check_name(where, id_key, name, names)
            (target / name).mkdir()
            for place, picture in enumerate(_pictures(where, document.get(pictures_key))):
                suffix = next(
                    (one for begin, one in SUFFIXES.items() if picture.startswith(begin)), ""
                )
                (target / name / f"{place}{suffix}").write_bytes(picture)
                count += 1
            writer = writer or csv.DictWriter(file, list(others), extrasaction="ignore")
            if len(names) == 1:
                writer.writeheader()
            writer.writerow(others)
    return count


def _check_name(where: str, id_key: str, name: str, names: set[str]) -> None:
    """Refuse a name that names no file or was there before; note it."""
    if not name or name in names or set(name) & set("/\\\0") or name.startswith("."):
        raise DataError(f"{where} must have a name of its own in '{id_key}', has {name!r}")
    names.add(name)


def _pictures(where: str, found: Any) -> list[bytes]:
    """Take the bytes of a list of pictures, each by itself or the only bytes of a document."""
    items = found if isinstance(found, list) else []
    held = [
        [one for one in item.values() if isinstance(one, bytes)]
        if isinstance(item, dict)
        else [item]
        for item in items
    ]
    pictures = [one[0] for one in held if len(one) == 1 and isinstance(one[0], bytes)]
    if not pictures or len(pictures) < len(held):
        raise DataError(
            f"{where} must hold a list of pictures, holds {len(pictures)} of {len(held)}"
        )
    return pictures


def read_documents(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the documents of a BSON file, one after the other.

    Raises:
        DataError: One of them isn't whole, is too large or too deep, or holds what no table does.
    """
    with path.open("rb") as file:
        for number in itertools.count():
            head = file.read(4)
            if not head:
                return
            where = f"{path}: document {number} must be whole BSON"
            size = int.from_bytes(head, "little", signed=True)
            if len(head) < 4 or not 5 <= size <= MOST_BYTES:
                raise DataError(f"{where} of 5 to {MOST_BYTES:,} bytes, claims {size:,}")
            content = head + file.read(size - 4)
            if len(content) < size:
                raise DataError(f"{where} of {size:,} bytes, ends after {len(content):,}")
            try:
                found, _ = _value(content, DOCUMENT, 0, size, 0)
            except (ValueError, struct.error) as error:
                raise DataError(f"{where}, isn't ({error})") from error
            yield found


def _value(content: bytes, kind: int, at: int, end: int, depth: int) -> tuple[Any, int]:
    """Read an element's value of a kind at a place; return it and the place behind it."""
    if kind in NUMBERS or kind in RAW:
        form = NUMBERS.get(kind, "")
        behind = _within(at + RAW.get(kind, struct.calcsize(form)), end)
        raw = content[at:behind]
        return (struct.unpack(form, raw)[0] if form else raw.hex() or None), behind
    if kind not in (DOCUMENT, ARRAY, BINARY, *TEXTS):
        raise ValueError(f"it has an element of the kind 0x{kind:02x}")
    (size,) = struct.unpack_from("<i", content, at)
    if kind in (DOCUMENT, ARRAY):
        return _inner(content, kind, (at, _within(at + size, end), size), depth)
    begin = at + (5 if kind == BINARY else 4)
    behind = _within(begin + size, end)
    if size < (kind != BINARY):
        raise ValueError(f"an element has {size} bytes")
    raw = content[begin:behind]
    return (raw if kind == BINARY else raw[:-1].decode("utf-8")), behind


def _inner(content: bytes, kind: int, place: tuple[int, int, int], depth: int) -> tuple[Any, int]:
    """Read a document or a list within `(begin, end, size)`."""
    at, end, size = place
    if size < 5 or content[end - 1]:
        raise ValueError(f"a document of {size} bytes doesn't end in a zero")
    if depth == MOST_DEPTH:
        raise ValueError(f"it has documents in documents deeper than {MOST_DEPTH}")
    found: dict[str, Any] = {}
    at += 4
    while at < end - 1:
        behind = content.index(b"\0", at + 1, end - 1)
        name = content[at + 1 : behind].decode("utf-8")
        found[name], at = _value(content, content[at], behind + 1, end - 1, depth + 1)
    return (found if kind == DOCUMENT else list(found.values())), end


def _within(behind: int, end: int) -> int:
    if behind > end:
        raise ValueError("an element ends behind its document")
    return behind
