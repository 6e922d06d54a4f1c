"""What people and programs do to submissions: named, each with what a validator must say of it."""

import codecs
import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.config.competition import Competition
from pipeline.store.predictions import FloatArray
from pipeline.submission.faults import FaultKind
from pipeline.submission.writer import line_ids, submission_table

FULL_WIDTH = {ord(digit): 0xFF10 + int(digit) for digit in "0123456789"}
FULL_WIDTH_COMMA = "\N{FULLWIDTH COMMA}"


@dataclass(frozen=True)
class Case:
    """A valid submission, taken apart.

    Attributes:
        competition: Its judge.
        rows: Id and labels of each line.
        at: The row that mutations of one row change; never the last one.
    """

    competition: Competition
    image_ids: list[str]
    rows: list[list[str]]
    at: int

    @classmethod
    def of(
        cls, competition: Competition, image_ids: list[str], probs: FloatArray, at: int
    ) -> "Case":
        """Take the submission of these predictions apart."""
        table = submission_table(competition, image_ids, probs)
        return cls(competition, image_ids, table.to_numpy().tolist(), at)

    @property
    def expected_ids(self) -> list[str]:
        """The ids that the judge wants, in order."""
        return line_ids(self.competition, self.image_ids)

    @property
    def label(self) -> str:
        """The form of the labels; a line per label holds a probability as one of a class does."""
        submission = self.competition.submission
        return "probability" if submission.has_label_rows else submission.label

    @property
    def is_list(self) -> bool:
        """Whether several classes may be answered."""
        return self.label in ("names", "labels")

    @property
    def has_numbers_for_names(self) -> bool:
        """Whether the classes that are answered are called by numbers."""
        is_class = self.label in ("name", "names", "labels", "index")
        return is_class and all(map(str.isdigit, self.competition.classes))

    @property
    def is_integer(self) -> bool:
        """Whether ids are integers."""
        return self.competition.submission.id == "integer"

    @property
    def header(self) -> list[list[str]]:
        """The header as a row, if the judge wants one."""
        has_header = self.competition.submission.has_header
        return [list(self.competition.columns)] if has_header else []

    def text(
        self, rows: Iterable[Sequence[str]], header: Iterable[Sequence[str]] | None = None
    ) -> str:
        """Write rows, below the judge's header or another one."""
        lines = [*(self.header if header is None else header), *rows]
        separator = self.competition.submission.separator
        return "".join(f"{separator.join(line)}\n" for line in lines)

    @property
    def valid(self) -> str:
        """The submission as it is."""
        return self.text(self.rows)

    def each_row(self, change: Callable[[list[str]], list[str]]) -> str:
        """Change every row."""
        return self.text([change(list(row)) for row in self.rows])

    def one_row(self, change: Callable[[list[str]], list[str]]) -> str:
        """Change the row at `at`."""
        changed = change(list(self.rows[self.at]))
        return self.text([*self.rows[: self.at], changed, *self.rows[self.at + 1 :]])

    def one_label(self, label: str) -> str:
        """Replace the first label of the row at `at`."""
        return self.one_row(lambda row: [row[0], label, *row[2:]])

    def one_id(self, change: Callable[[str], str]) -> str:
        """Change the id of the row at `at`."""
        return self.one_row(lambda row: [change(row[0]), *row[1:]])


@dataclass(frozen=True)
class Outcome:
    """A mutated file and what must be said of it.

    Attributes:
        content: The file.
        kinds: The kinds of fault that must be found; none for a file that the contract allows.
        others_may_follow: Whether one thing is wrong in so many ways that others may be told, too.
    """

    content: bytes
    kinds: frozenset[FaultKind]
    others_may_follow: bool = False


def refused(content: str | bytes, *kinds: FaultKind) -> Outcome:
    """Expect these kinds of fault and no other."""
    return Outcome(_bytes(content), frozenset(kinds))


def refused_at_least(content: str | bytes, *kinds: FaultKind) -> Outcome:
    """Expect these kinds of fault, others may follow."""
    return Outcome(_bytes(content), frozenset(kinds), others_may_follow=True)


def accepted(content: str | bytes) -> Outcome:
    """Expect no fault, as the contract allows it."""
    return Outcome(_bytes(content), frozenset())


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def _if_ordered(case: Case, content: str) -> Outcome:
    is_any = case.competition.submission.demanded_order == "any"
    return accepted(content) if is_any else refused(content, FaultKind.ORDER)


def _line_ends(case: Case, content: str) -> Outcome:
    is_any = case.competition.submission.line_ending == "any"
    return accepted(content) if is_any else refused(content, FaultKind.LINE_ENDS)


def _header(case: Case) -> Outcome:
    if case.header:
        return refused(case.text(case.rows, []), FaultKind.HEADER)
    return refused(case.text(case.rows, [case.competition.columns]), FaultKind.HEADER)


def _quoted(case: Case) -> Outcome:
    lines = [[f'"{field}"' for field in row] for row in [*case.header, *case.rows]]
    return refused(case.text(lines, []), FaultKind.NEEDLESS_QUOTES)


def _other_order(case: Case) -> Outcome | None:
    """Put the last column first, with the header that says so."""
    if not case.header:
        return None
    lines = [[*row[-1:], *row[:-1]] for row in [case.competition.columns, *case.rows]]
    return refused(case.text(lines[1:], lines[:1]), FaultKind.COLUMN_ORDER)


def _zipped(content: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("submission.csv", content)
    return file.getvalue()


def _of_form(case: Case, text: str, **kinds: FaultKind | None) -> Outcome | None:
    """Expect a kind of fault by the form of the labels; None accepts; not applicable if absent."""
    if case.has_numbers_for_names:
        return None  # what is no label elsewhere may be one there
    if case.label not in kinds:
        return None
    kind = kinds[case.label]
    return accepted(text) if kind is None else refused(text, kind)


def _sum(case: Case, content: str, kind: FaultKind = FaultKind.SUM) -> Outcome | None:
    submission = case.competition.submission
    if case.label != "probabilities":
        return accepted(content) if case.label == "probability" else None
    return refused(content, kind) if submission.rows_sum_to_1 else accepted(content)


def _other_name(case: Case) -> str:
    """The id of the row as it would be with or without an extension."""
    form = case.competition.submission.id
    return case.one_id(lambda i: i.rpartition(".")[0] if form == "file_name" else f"{i}.jpg")


EMPTY, MALFORMED = FaultKind.EMPTY_LABEL, FaultKind.MALFORMED_LABEL
NAN, INFINITE, RANGE = FaultKind.NAN_LABEL, FaultKind.INFINITE_LABEL, FaultKind.LABEL_OUT_OF_RANGE

# A mutation that can't be made of a form of submission gives None.
MUTATIONS: dict[str, Callable[[Case], Outcome | None]] = {
    # the file as a whole
    "as it is": lambda c: accepted(c.valid),
    "nothing at all": lambda _: refused("", FaultKind.EMPTY),
    "only line ends": lambda _: refused("\n\n\n", FaultKind.EMPTY),
    "no newline at the end": lambda c: accepted(c.valid.removesuffix("\n")),
    "cut off": lambda c: refused_at_least(c.text(c.rows)[: -len(c.text(c.rows[-2:], [])) + 1],
        FaultKind.MISSING_ID),
    "UTF-16 with a mark": lambda c: refused(c.valid.encode("utf-16"), FaultKind.ENCODING),
    "UTF-16 without a mark": lambda c: refused(c.valid.encode("utf-16-be"), FaultKind.ENCODING),
    "byte order mark": lambda c: refused(codecs.BOM_UTF8 + c.valid.encode(), FaultKind.BOM),
    "a byte that is no UTF-8": lambda c: refused(
        c.one_id(lambda i: f"{i}\xff").encode("latin-1"), FaultKind.ENCODING),
    "an archive": lambda _: refused_at_least(
        b"PK\x03\x04\x14\0\0\0\x08\0!\x9c\xf3\xe2", FaultKind.ENCODING, FaultKind.NUL),
    "a zip of it": lambda c: refused(_zipped(c.valid), FaultKind.PACKED),
    "a gz of it": lambda c: refused(gzip.compress(c.valid.encode()), FaultKind.PACKED),
    "NUL in a line": lambda c: refused(c.one_id(lambda i: f"{i}\0"), FaultKind.NUL),
    "NULs at the end": lambda c: refused(c.valid + "\0" * 9, FaultKind.NUL),
    # lines
    "CRLF": lambda c: _line_ends(c, c.valid.replace("\n", "\r\n")),
    "one CRLF": lambda c: refused(c.one_row(lambda r: [*r[:-1], f"{r[-1]}\r"]),
        FaultKind.LINE_ENDS),
    "CR": lambda c: refused(c.valid.replace("\n", "\r"), FaultKind.LINE_ENDS),
    "doubled CR": lambda c: refused(c.valid.replace("\n", "\r\r\n"), FaultKind.LINE_ENDS),
    "blank line in the middle": lambda c: refused(c.one_row(lambda r: [*r[:-1], f"{r[-1]}\n"]),
        FaultKind.BLANK),
    "blank line at the end": lambda c: refused(f"{c.valid}\n", FaultKind.BLANK),
    "line of spaces": lambda c: refused(f"{c.valid}  \n", FaultKind.BLANK),
    # separators and quotes
    "semicolons": lambda c: refused(c.valid.replace(",", ";"), FaultKind.SEPARATOR),
    "tabs": lambda c: refused(c.valid.replace(",", "\t"), FaultKind.SEPARATOR),
    "full-width commas": lambda c: refused(c.valid.replace(",", FULL_WIDTH_COMMA),
        FaultKind.SEPARATOR),
    "space after the separator": lambda c: refused(
        c.each_row(lambda r: [r[0], *(f" {label}" for label in r[1:])]), MALFORMED),
    "everything quoted": _quoted,
    "quote without its pair": lambda c: refused(c.one_id(lambda i: f'"{i}'), FaultKind.QUOTING),
    # columns
    "separator at the end": lambda c: refused(c.each_row(lambda r: [*r, ""]), FaultKind.COLUMNS),
    "one column more": lambda c: refused(c.each_row(lambda r: [*r, "0.5"]), FaultKind.COLUMNS),
    "row numbers first": lambda c: refused(
        c.text([str(n), *row] for n, row in enumerate(c.rows)), FaultKind.COLUMNS),
    "last column lost": lambda c: refused(c.each_row(lambda r: r[:-1]), FaultKind.COLUMNS),
    "label first": lambda c: refused(c.each_row(lambda r: [*r[1:], r[0]]), FaultKind.SWAPPED),
    # header
    "header on or off": _header,
    "header in capitals": lambda c: refused(
        c.text(c.rows, [[name.upper() for name in c.competition.columns]]), FaultKind.HEADER),
    "header backwards": lambda c: refused(
        c.text(c.rows, [c.competition.columns[::-1]]), FaultKind.HEADER),
    "columns in another order": _other_order,
    "header with one column more": lambda c: refused(
        c.text(c.rows, [[*c.competition.columns, "note"]]), FaultKind.HEADER),
    "header twice": lambda c: refused_at_least(
        c.text(c.rows, [c.competition.columns] * 2), MALFORMED),
    # rows
    "last row lost": lambda c: refused(c.text(c.rows[:-1]), FaultKind.MISSING_ID),
    "first row lost": lambda c: refused(c.text(c.rows[1:]), FaultKind.MISSING_ID),
    "row repeated": lambda c: refused(c.text([*c.rows, c.rows[c.at]]), FaultKind.REPEATED_ID),
    "rows twice": lambda c: refused(c.text(c.rows * 2), FaultKind.REPEATED_ID),
    "rows backwards": lambda c: _if_ordered(c, c.text(c.rows[::-1])),
    "two rows exchanged": lambda c: _if_ordered(
        c, c.text([*c.rows[: c.at], c.rows[c.at + 1], c.rows[c.at], *c.rows[c.at + 2 :]])),
    "row of another competition": lambda c: refused(
        c.text([*c.rows, ["987654321", *c.rows[0][1:]]]), FaultKind.UNKNOWN_ID),
    # ids
    "extension on or off": lambda c: refused(_other_name(c), FaultKind.MALFORMED_ID),
    "folder before the id": lambda c: refused(c.one_id(lambda i: f"test/{i}"),
        FaultKind.MALFORMED_ID),
    "space before the id": lambda c: refused(c.one_id(lambda i: f" {i}"), FaultKind.MALFORMED_ID),
    "id in capitals": lambda c: None if c.is_integer else refused(c.one_id(str.upper),
        FaultKind.MALFORMED_ID),
    "id as a float": lambda c: refused(c.one_id(lambda i: f"{i}.0"), FaultKind.MALFORMED_ID)
        if c.is_integer else None,
    "id with zeros before it": lambda c: refused(c.one_id(lambda i: f"00{i}"),
        FaultKind.MALFORMED_ID) if c.is_integer else None,
    "full-width id": lambda c: refused(c.one_id(lambda i: i.translate(FULL_WIDTH)),
        FaultKind.MALFORMED_ID) if c.is_integer else None,
    "empty id": lambda c: refused(c.one_id(lambda _: ""), FaultKind.MISSING_ID,
        FaultKind.MALFORMED_ID if c.is_integer else FaultKind.UNKNOWN_ID),
    # labels
    "empty label": lambda c: refused(c.one_label(""), EMPTY),
    "label of spaces": lambda c: refused(c.one_label("  "), EMPTY),
    "NaN": lambda c: refused(c.one_label("nan"), NAN),
    "None": lambda c: refused(c.one_label("None"), NAN),
    "infinity": lambda c: refused(c.one_label("inf"), INFINITE),
    "minus infinity": lambda c: refused(c.one_label("-Infinity"), INFINITE),
    "too large": lambda c: _of_form(c, c.one_label("120"),
        index=RANGE, name=MALFORMED, probability=RANGE, probabilities=RANGE, number=None),
    "far too large": lambda c: _of_form(c, c.one_label("9" * 400),
        index=RANGE, name=MALFORMED, probability=RANGE, probabilities=RANGE, number=INFINITE),
    "negative": lambda c: _of_form(c, c.one_label("-1"),
        index=RANGE, name=MALFORMED, probability=RANGE, probabilities=RANGE, number=None),
    "a word": lambda c: refused(c.one_label("maybe"), MALFORMED),
    "a truth value": lambda c: refused(c.one_label("True"), MALFORMED),
    "a percentage": lambda c: refused(c.one_label("50%"), MALFORMED),
    "two in one": lambda c: None if c.is_list and c.has_numbers_for_names else refused(
        c.one_label("0 1"), MALFORMED),
    "a plus sign": lambda c: refused(c.one_label("+1"), MALFORMED),
    "full-width label": lambda c: refused(c.one_label("0".translate(FULL_WIDTH)), MALFORMED),
    "class name in capitals": lambda c: _of_form(c, c.one_label(c.rows[c.at][1].upper()),
        name=MALFORMED),
    "index for a name": lambda c: _of_form(c, c.one_label("0"), name=MALFORMED),
    "name for an index": lambda c: _of_form(c, c.one_label(c.competition.classes[0]),
        index=MALFORMED, probability=MALFORMED, probabilities=MALFORMED, number=MALFORMED),
    "decimal comma": lambda c: _of_form(c, c.one_label('"0,5"'),
        index=MALFORMED, name=MALFORMED, probability=MALFORMED, probabilities=MALFORMED,
        number=MALFORMED),
    "a half": lambda c: _of_form(
        c, c.one_label("0.5"), index=MALFORMED, probability=None, number=None),
    "a power of ten": lambda c: _of_form(
        c, c.one_label("1e-1"), index=MALFORMED, probability=None, number=None),
    "another sum": lambda c: _sum(c, c.each_row(lambda r: [r[0], "0.987", *r[2:]])),
    "nothing but zeros": lambda c: _sum(c, c.each_row(lambda r: [r[0], *("0" for _ in r[1:])]),
        FaultKind.ALL_ZERO),
    "labels of a row backwards": lambda c: accepted(c.one_row(lambda r: [r[0], *r[:0:-1]])),
    "more digits": lambda c: _of_form(
        c, c.each_row(lambda r: [r[0], *(f"{label}000000000000" for label in r[1:])]),
        probability=None, probabilities=None, number=None),
}  # fmt: skip
