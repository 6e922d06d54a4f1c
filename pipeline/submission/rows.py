"""Split a submission's bytes into rows, and find what is wrong about bytes, lines and commas.

Each step mends what it reports, so that one mistake isn't reported again by the next.
"""

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.submission_table import SubmissionFormat
from pipeline.submission.faults import FaultKind, FaultLog, shown

LINE_END = re.compile(r"(\r*\n|\r)")  # \r\r\n comes from text mode on Windows, written twice
LINE_END_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
SEPARATORS = (",", ";", "\t", "|", " ", "\uff0c")  # the last is the full-width comma
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error)
LITTER = re.compile(r"/$|(^|/)(__MACOSX/|\.)")  # folders, and what macOS adds
MOST_BYTES = 1 << 29  # no submission has more
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# What stands for a byte that is no text; no text holds it.
BROKEN_BYTE = re.compile(r"[\udc80-\udcff]")


@dataclass(frozen=True)
class Row:
    """A line that isn't blank.

    Attributes:
        line: Its number, counted from 1.
        fields: What stands between the separators, without quotes.
        is_readable: Whether all of it is text in the encoding that it must be in.
        is_whole: Whether it has as many fields as a line must have.
    """

    line: int
    fields: list[str]
    is_readable: bool = True
    is_whole: bool = True


def read_rows(submission: SubmissionFormat, content: bytes, faults: FaultLog) -> list[Row]:
    """Split a file into rows, header included."""
    text = _decode(submission, _unpacked(content, faults), faults)
    if not text.strip():
        detail = f"must hold one line per image, holds {len(content)} bytes"
        faults.add(FaultKind.EMPTY, 0, detail)
        return []
    lines = _without_blank(_split_lines(text, submission, faults), faults)
    separator = _find_separator(list(lines.values()), submission.separator, faults)
    return [
        Row(line, _split(line, text, separator, faults), BROKEN_BYTE.search(text) is None)
        for line, text in lines.items()
    ]


def _unpacked(content: bytes, faults: FaultLog) -> bytes:
    """Take the one file out of an archive; what is none, or can't be read, stays as it is."""
    file = io.BytesIO(content)
    try:
        if content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(file) as packed:
                names = [name for name in packed.namelist() if not LITTER.search(name)]
                if len(names) != 1:
                    detail = f"must hold one file, holds {len(names)}"
                    faults.add(FaultKind.PACKED, 0, detail)
                    return content
                with packed.open(names[0]) as member:
                    inside = member.read(MOST_BYTES)
        elif content.startswith(b"\x1f\x8b"):
            with gzip.open(file) as member:
                inside = member.read(MOST_BYTES)
        else:
            return content
    except (OSError, EOFError, RuntimeError, NotImplementedError, *ARCHIVE_ERRORS) as error:
        faults.add(FaultKind.PACKED, 0, f"must be readable, isn't ({error})")
        return content
    faults.add(FaultKind.PACKED, 0, "must be the CSV itself, is an archive that holds it")
    return inside


def _decode(submission: SubmissionFormat, content: bytes, faults: FaultLog) -> str:
    wanted = submission.encoding.removesuffix("-sig").upper()
    if utf16 := _utf16_codec(content):
        faults.add(FaultKind.ENCODING, 0, f"must be {wanted}, is UTF-16")
        return content.decode(utf16, "replace").removeprefix("\ufeff")
    has_mark = content.startswith(codecs.BOM_UTF8)
    content = content.removeprefix(codecs.BOM_UTF8)
    wants_mark = submission.encoding == "utf-8-sig"
    if has_mark and not wants_mark:
        detail = "the file must begin with its first id or header, not EF BB BF"
        faults.add(FaultKind.BOM, 1, detail)
    if wants_mark and not has_mark and content:
        found = content[:3].hex(" ").upper()
        faults.add(FaultKind.BOM, 1, f"the file must begin with EF BB BF, begins with {found}")
    content = _without_nul(content, faults)
    codec = wanted.lower()
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        detail = f"must be {wanted}, byte {error.start:,} is 0x{content[error.start]:02x}"
        text = content.decode(codec, "surrogateescape")
        count = sum(BROKEN_BYTE.search(piece) is not None for piece in text.split("\n"))
        faults.add(FaultKind.ENCODING, line, detail, count)
        return text


def _utf16_codec(content: bytes) -> str | None:
    if content.startswith(UTF16_MARKS):
        return "utf-16"
    # Without a mark: every other byte of ASCII text is zero, and none of those between.
    zeros_even, zeros_odd = content[0::2].count(0), content[1::2].count(0)
    if min(zeros_even, zeros_odd) or max(zeros_even, zeros_odd) <= 0.6 * len(content) / 2:
        return None
    return "utf-16-be" if zeros_even else "utf-16-le"


def _without_nul(content: bytes, faults: FaultLog) -> bytes:
    if 0 in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        count = content.count(0)
        faults.add(FaultKind.NUL, line, f"there must be none, found {count:,}", count)
    return content.replace(b"\0", b"")


def _split_lines(text: str, submission: SubmissionFormat, faults: FaultLog) -> list[str]:
    pieces = LINE_END.split(text)
    lines, ends = pieces[0::2], pieces[1::2]
    allowed = "\n" if submission.line_ending == "lf" else "\r\n"
    wanted = LINE_END_NAMES[allowed]
    if submission.line_ending == "any":
        allowed = "\r\n" if ends[:1] == ["\r\n"] else "\n"
        wanted = f"LF or CRLF, here {LINE_END_NAMES[allowed]} throughout"
    others = [line for line, end in enumerate(ends, start=1) if end != allowed]
    if others:
        found = ends[others[0] - 1]
        detail = f"must be {wanted}, found {LINE_END_NAMES.get(found, repr(found))}"
        faults.add(FaultKind.LINE_ENDS, others[0], detail, len(others))
    # What follows the last line end is a line only if there is something: the newline at the end
    # is written by us and not demanded of others.
    return lines if lines[-1] else lines[:-1]


def _without_blank(lines: list[str], faults: FaultLog) -> dict[int, str]:
    kept = {}
    for line, text in enumerate(lines, start=1):
        if text.strip():
            kept[line] = text
        else:
            faults.add(FaultKind.BLANK, line, f"there must be none, found {shown(text)}")
    return kept


def _find_separator(lines: list[str], wanted: str, faults: FaultLog) -> str:
    """Find out what separates the columns of most lines."""
    counts = {mark: sum(mark in line for line in lines) for mark in (wanted, *SEPARATORS)}
    found = max(counts, key=lambda mark: counts[mark])
    if counts[wanted] > len(lines) / 2 or counts[found] <= len(lines) / 2:
        return wanted
    detail = f"must be {wanted!r}, is {found!r} in {counts[found]:,} of {len(lines):,} lines"
    faults.add(FaultKind.SEPARATOR, 0, detail, counts[found])
    return found


def _split(line: int, text: str, separator: str, faults: FaultLog) -> list[str]:
    if '"' not in text:
        return text.split(separator)
    try:
        fields = next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as error:
        faults.add(FaultKind.QUOTING, line, f"quotes must be in pairs, {error} in {shown(text)}")
        return text.replace('"', "").split(separator)
    if separator.join(_quoted(field, separator) for field in fields) == text:
        return fields
    is_needless = _is_quoted_at_will(text, fields, separator)
    detail = f"must be only where the separator or a quote stands inside, found {shown(text)}"
    kind = FaultKind.NEEDLESS_QUOTES if is_needless else FaultKind.QUOTING
    faults.add(kind, line, detail)
    return fields


def _is_quoted_at_will(text: str, fields: list[str], separator: str) -> bool:
    """Whether each field stands there as it is or well quoted."""
    position = 0
    for field in fields:
        quoted = _in_quotes(field)
        form = quoted if text.startswith(quoted, position) else _quoted(field, separator)
        position += len(form) + 1
        if text[position - len(form) - 1 : position] not in (form, form + separator):
            return False
    return position == len(text) + 1


def _quoted(field: str, separator: str) -> str:
    return _in_quotes(field) if separator in field or '"' in field else field


def _in_quotes(field: str) -> str:
    return '"' + field.replace('"', '""') + '"'


# The fields of a line: the id first inside, as the judge wants them outside.

FIRST_ROW = {"row_from_0": 0, "row_from_1": 1}


def to_line(submission: SubmissionFormat, fields: Sequence[str], row: int | None) -> list[str]:
    """Order fields as the judge wants them.

    Args:
        submission: Says how.
        fields: The id, then the labels.
        row: Number of the line, from 0; None for the header.
    """
    line: list[str] = []
    for part in submission.layout:
        if part == "id":
            line.append(fields[0])
        elif part == "label":
            line += fields[1:]
        else:
            line.append(submission.row_column if row is None else str(row + FIRST_ROW[part]))
    return line


def from_line(submission: SubmissionFormat, line: Sequence[str]) -> list[str]:
    """Put the id first, then the labels; the number of a line says nothing and goes."""
    num_before = submission.layout.index("label")
    num_after = len(submission.layout) - num_before - 1
    labels = line[num_before : len(line) - num_after]
    others = [*line[:num_before], *line[len(line) - num_after :]]
    names = [part for part in submission.layout if part != "label"]
    return [others[names.index("id")], *labels]


def num_fields(submission: SubmissionFormat, num_columns: int) -> int:
    """Count the fields of a line, of which `num_columns` are the id's and the labels'."""
    return num_columns + len(submission.layout) - 2
