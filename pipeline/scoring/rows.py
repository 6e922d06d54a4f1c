"""A submission's bytes taken apart into rows, with what is wrong about bytes, lines and commas.

Each step mends what it reports, so that one mistake isn't reported again by the next.
"""

import codecs
import csv
import re
from dataclasses import dataclass

from pipeline.competition import SubmissionFormat
from pipeline.scoring.faults import FaultKind, FaultLog, shown

LINE_END = re.compile(r"(\r*\n|\r)")  # \r\r\n comes from text mode on Windows, written twice
LINE_END_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
SEPARATORS = (",", ";", "\t", "|", " ", "\uff0c")  # the last is the full-width comma
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """A line that isn't blank: its number, counted from 1, and its fields without quotes."""

    line: int
    fields: list[str]


def read_rows(submission: SubmissionFormat, content: bytes, faults: FaultLog) -> list[Row]:
    """Take a file apart, header included; nothing is left of one that isn't text."""
    text = _decode(content, faults)
    if text is None:
        return []
    lines = _without_blank(_split_lines(text, submission, faults), faults)
    separator = _find_separator(list(lines.values()), submission.separator, faults)
    return [Row(line, _split(line, text, separator, faults)) for line, text in lines.items()]


def _decode(content: bytes, faults: FaultLog) -> str | None:
    if _is_utf16(content):
        faults.add(FaultKind.ENCODING, 0, "must be UTF-8, is UTF-16")
        return None
    if content.startswith(codecs.BOM_UTF8):
        faults.add(
            FaultKind.BOM, 1, "the file must begin with its first id or header, not EF BB BF"
        )
        content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        faults.add(FaultKind.EMPTY, 0, f"must hold one line per image, holds {len(content)} bytes")
        return None
    content = _without_nul(content, faults)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        detail = f"must be UTF-8, byte {error.start:,} is 0x{content[error.start]:02x}"
        faults.add(FaultKind.ENCODING, line, detail, sum(map(_is_broken, content.split(b"\n"))))
        return None


def _is_utf16(content: bytes) -> bool:
    if content.startswith(UTF16_MARKS):
        return True
    # Without a mark: every other byte of ASCII text is zero, and none of those between.
    zeros = sorted((content[0::2].count(0), content[1::2].count(0)))
    return zeros[0] == 0 and zeros[1] > 0.6 * len(content) / 2


def _is_broken(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _without_nul(content: bytes, faults: FaultLog) -> bytes:
    if 0 in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        count = content.count(0)
        faults.add(FaultKind.NUL, line, f"there must be none, found {count:,}", count)
    return content.replace(b"\0", b"")


def _split_lines(text: str, submission: SubmissionFormat, faults: FaultLog) -> list[str]:
    pieces = LINE_END.split(text)
    lines, ends = pieces[0::2], pieces[1::2]
    is_lf_only = submission.line_ending == "lf"
    allowed = "\r\n" if not is_lf_only and ends[:1] == ["\r\n"] else "\n"
    others = [line for line, end in enumerate(ends, start=1) if end != allowed]
    if others:
        found = ends[others[0] - 1]
        wanted = "LF" if is_lf_only else f"LF or CRLF, here {LINE_END_NAMES[allowed]} throughout"
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
    if separator.join(_quoted(field, separator) for field in fields) != text:
        detail = f"must be only where the separator or a quote stands inside, found {shown(text)}"
        faults.add(FaultKind.QUOTING, line, detail)
    return fields


def _quoted(field: str, separator: str) -> str:
    needs_quotes = separator in field or '"' in field
    return '"' + field.replace('"', '""') + '"' if needs_quotes else field
