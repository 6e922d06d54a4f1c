"""Read text and CSV files of unknown origin, however they were saved, or refuse them."""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError
from pipeline.store.folders import same_form

NOT_ASCII = re.compile(rb"[\0\x80-\xff]")
HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
WIDE = re.compile(rb"[\xe0-\xf4][\x80-\xbf]{2}")  # three bytes of UTF-8 and more
IN_WORD = re.compile(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]")
INSIDE_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff]+(?=[A-Za-z])")
# Spaces of UTF-8 that aren't seen: no-break, zero-width, ideographic, a mark of byte order.
BLANKS = re.compile(rb"\xc2\xa0|\xe2\x80[\x8b-\x8f]|\xe2\x81\xa0|\xe3\x80\x80|\xef\xbb\xbf")
UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
ALONE = re.compile(rb"(?<![0-9\x80-\xff])[\x80-\xff]+(?![0-9\x80-\xff])")
UNUSUAL = re.compile(r"[^\x00-\x7f]+")
LONGEST_LETTER = 2  # bytes
SAID_SEPARATOR = re.compile(r"\A\ufeff?sep=(.)\r?\n", re.IGNORECASE)
WESTERN_MARKS = "‘’“”„–—…€£§°´·²³½¼¾«»º¹ª®©™•¿¡ß"  # noqa: RUF001


@dataclass(frozen=True)
class ForeignCsv:
    """The rows of a CSV.

    Attributes:
        path: The file.
        rows: Number of the line and fields, without spaces around them; blank lines and lines of
            spaces are left out.
    """

    path: Path
    rows: list[tuple[int, list[str]]]

    @property
    def header(self) -> list[str]:
        """The fields of the first row."""
        return self.rows[0][1] if self.rows else []

    def columns(self, names: Sequence[str]) -> list[tuple[int, list[str]]]:
        """Pick columns of a CSV with a header: number of the line and fields, per row.

        Raises:
            DataError: A column isn't there, or a row ends before it.
        """
        if not set(names) <= set(self.header):
            raise DataError(f"{self.path}: must have the columns {list(names)}, has {self.header}")
        places = [self.header.index(name) for name in names]
        width = max(places, default=-1) + 1
        for line, fields in self.rows[1:]:
            if len(fields) < width:
                raise DataError(
                    f"{self.path}: line {line} must reach to column {width}, has {len(fields)}"
                )
        return [(line, [fields[place] for place in places]) for line, fields in self.rows[1:]]


@dataclass(frozen=True)
class Encoding:
    """How text of unknown origin is to be decoded.

    Attributes:
        name: As Python calls it; empty where no encoding makes text of it.
        doubt: The encodings that fit as well, if there are some.
    """

    name: str
    doubt: str = ""


def unusual_names(names: Iterable[str]) -> str:
    """Join the names of files that aren't ASCII: they tell in which encoding a list names them."""
    return "\n".join(same_form(name) for name in names if not name.isascii())


def detect_encoding(content: bytes, known: str = "") -> Encoding:
    """Tell the encoding of text: UTF-8, the GB18030 of Chinese Windows, Windows-1252, UTF-16.

    Args:
        content: The text's bytes.
        known: Names that are likely to occur in it, as `unusual_names` joins them.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # "Unicode text" of Excel
        return Encoding("utf-16" if _can_decode(content, "utf-16") else "")
    encoding = _likely_encoding(content)
    fitting = [
        name
        for name in (encoding.name, encoding.doubt)
        if name and known and _mentions(content.decode(name), known)
    ]
    return Encoding(fitting[0]) if len(fitting) == 1 else encoding


def _mentions(text: str, known: str) -> bool:
    words = {word for word in UNUSUAL.findall(same_form(text)) if any(map(str.isalpha, word))}
    return any(word in known for word in words)


def _likely_encoding(content: bytes) -> Encoding:
    """Tell the encoding by how the bytes lie that aren't ASCII.

    They stand in runs. In GB18030 they are pairs; in Windows-1252 single letters, most of them
    within words. Runs that are letters of UTF-8, too, are believed to be these within words, and
    Chinese alone.
    """
    if content.startswith(codecs.BOM_UTF8):
        return Encoding("utf-8-sig" if _can_decode(content, "utf-8-sig") else "")
    runs = [] if 0 in content else HIGH_BYTES.findall(BLANKS.sub(b"", content))
    num_pairs = sum(len(run) > 1 for run in runs)
    is_chinese = _can_decode(content, "gb18030") and num_pairs * 2 > len(runs)
    if _can_decode(content, "utf-8"):
        return _utf_8_or_chinese(content, runs, is_chinese=is_chinese)
    are_western = bool(runs) and all(map(_is_western, runs))
    # A pair may be one sign of Chinese, but hardly in the middle of words in Latin letters.
    sure = INSIDE_WORD if is_chinese else IN_WORD
    if are_western and len(sure.findall(content)) * 2 > len(runs):
        return Encoding("cp1252", "gb18030" if _can_decode(content, "gb18030") else "")
    return Encoding("gb18030" if is_chinese else "")


def _utf_8_or_chinese(content: bytes, runs: Sequence[bytes], *, is_chinese: bool) -> Encoding:
    are_letters = all(map(_is_word, runs))
    is_long = max(map(len, runs), default=0) > LONGEST_LETTER or IN_WORD.search(content)
    if not is_chinese or (are_letters and is_long) or WIDE.search(content):
        return Encoding("utf-8")
    if are_letters and not ALONE.search(content):  # numbers follow all of them
        return Encoding("utf-8", "gb18030")
    are_plain = all(run.decode("utf-8").isalpha() or _is_western(run) for run in runs)
    return Encoding("gb18030", "utf-8" if are_letters or are_plain else "")


def _can_decode(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_word(run: bytes) -> bool:
    """Whether a run is letters of one script in UTF-8."""
    text = run.decode("utf-8")
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in text}
    return text.isalpha() and len(scripts) == 1


def _is_western(run: bytes) -> bool:
    """Whether a run is a letter or two, or punctuation, in Windows-1252."""
    if len(run) > LONGEST_LETTER or not _can_decode(run, "cp1252"):
        return False
    return all(char.isalpha() or char in WESTERN_MARKS for char in run.decode("cp1252"))


def read_foreign_text(path: Path, known: str = "") -> str:
    """Read text of unknown encoding, see `detect_encoding`.

    Raises:
        DataError: It is no such text, or can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: must be readable ({error.strerror})") from error
    encoding = detect_encoding(content, known).name
    if encoding:
        return SAID_SEPARATOR.sub("\n", content.decode(encoding), count=1)  # Excel's own line
    mark = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    at = next((match.start() for match in NOT_ASCII.finditer(content, mark)), 0)
    raise DataError(
        f"{path}: must be text in UTF-8 or GB18030, byte {at + 1:,} (0x{content[at]:02x}) is of "
        "neither; save it as UTF-8"
    )


def doubt_of_encoding(path: Path, known: str = "") -> str:
    """Say in one line if a text that was read may be in another encoding; else nothing."""
    encoding = detect_encoding(path.read_bytes(), known)
    names = {"cp1252": "Windows-1252", "gb18030": "GB18030", "utf-8": "UTF-8"}
    if not encoding.doubt:
        return ""
    return (
        f"{path}: read as {names[encoding.name]}, might be {names[encoding.doubt]}; save it as "
        "UTF-8 with a byte order mark"
    )


def read_foreign_csv(path: Path, separator: str = ",", known: str = "") -> ForeignCsv:
    """Read a CSV with whatever line ends and quotes it has.

    Raises:
        DataError: It isn't text, or no CSV.
    """
    text = read_foreign_text(path, known)
    if separator == " ":  # several are one, and none begins or ends a line
        text = re.sub(r" +(?=[\r\n]|$)", "", text)
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=separator, skipinitialspace=True)
    try:
        stripped = ((reader.line_num, list(map(_stripped, fields))) for fields in reader)
        rows = [(line, fields) for line, fields in stripped if any(fields)]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} must be of a CSV ({error})") from error
    return ForeignCsv(path, rows)


def _stripped(field: str) -> str:
    """Remove the spaces around a field, those that take no place included."""
    return field.strip().strip(UNSEEN).strip()


# What spreadsheets save in where it isn't UTF-8: Chinese and Western Windows first.
CODE_PAGES = ("gb18030", "cp1252", "big5", "cp932", "cp949", "cp1250", "cp1251")
SEPARATORS = (",", ";", "\t", "|")


def saved_tables(path: Path, columns: Sequence[str]) -> Iterator[ForeignCsv]:
    """Read a table of ours as another program may have saved it, in every way that it can be read.

    Columns may have been moved or added; see `saved_rows`.

    Args:
        path: The file.
        columns: What its header must name.

    Raises:
        DataError: A row has more fields than the header, as unquoted decimal commas make them.
    """
    for rows in saved_rows(path):
        header = [name.strip() for name in rows[0][1]] if rows else []
        if set(columns) <= set(header):
            _refuse_longer(path, rows, len(header))
            yield ForeignCsv(path, [(rows[0][0], header), *rows[1:]])


def saved_rows(path: Path) -> Iterator[list[tuple[int, list[str]]]]:
    """Read a CSV that some program has saved, with each code page and separator that it may have.

    Bytes that aren't UTF-8 are text in several code pages, and a line has fields by any separator;
    whoever knows what must stand there tells which it is.

    Yields:
        Number of the line and fields per row, blank rows left out.
    """
    for text in _readings(path.read_bytes()):
        said = SAID_SEPARATOR.match(text)
        body = text[said.end() :] if said else text
        for separator in said[1] if said else SEPARATORS:
            lines = csv.reader(io.StringIO(body, newline=""), delimiter=separator)
            yield [(lines.line_num, fields) for fields in lines if any(map(str.strip, fields))]


def _readings(content: bytes) -> Iterator[str]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        code_pages: tuple[str, ...] = ("utf-16",)
    else:
        try:
            yield content.decode("utf-8-sig")
        except UnicodeDecodeError:
            code_pages = CODE_PAGES
        else:
            return
    for code_page in code_pages:
        try:
            yield content.decode(code_page)
        except UnicodeDecodeError:
            continue


def _refuse_longer(path: Path, rows: list[tuple[int, list[str]]], width: int) -> None:
    for line, fields in rows:
        if len(fields) > width:
            raise DataError(
                f"{path}: line {line} must have {width} fields as the header has, has "
                f"{len(fields)}; save it with another separator, or with quotes"
            )
