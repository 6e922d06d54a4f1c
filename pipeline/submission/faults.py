"""Count what is wrong with a submission, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST_EXAMPLE = 40


class FaultKind(StrEnum):
    """Every kind of fault, in the order in which they are reported."""

    EMPTY = "empty file"
    PACKED = "packed file"
    ENCODING = "encoding"
    BOM = "byte order mark"
    NUL = "NUL bytes"
    LINE_ENDS = "line ends"
    BLANK = "blank lines"
    SEPARATOR = "separator"
    HEADER = "header"
    QUOTING = "quoting"
    NEEDLESS_QUOTES = "needless quotes"
    COLUMNS = "columns"
    SWAPPED = "swapped columns"
    COLUMN_ORDER = "order of columns"
    MISSING_ID = "missing ids"
    UNKNOWN_ID = "unknown ids"
    MALFORMED_ID = "malformed ids"
    REPEATED_ID = "repeated ids"
    ORDER = "order"
    EMPTY_LABEL = "empty labels"
    NAN_LABEL = "NaN labels"
    INFINITE_LABEL = "infinite labels"
    LABEL_OUT_OF_RANGE = "labels out of range"
    MALFORMED_LABEL = "malformed labels"
    SUM = "sums of probabilities"
    ALL_ZERO = "rows of zeros"


# Kaggle unpacks a file, finds columns by their names and rows by their ids, and rescales rows.
KAGGLE_TAKES = frozenset(
    {
        FaultKind.PACKED,
        FaultKind.BOM,
        FaultKind.NEEDLESS_QUOTES,
        FaultKind.COLUMN_ORDER,
        FaultKind.ORDER,
        FaultKind.SUM,
    }
)
# What is answered is beyond doubt all the same.
READABLE = KAGGLE_TAKES | {
    FaultKind.ENCODING,
    FaultKind.LINE_ENDS,
    FaultKind.BLANK,
    FaultKind.SEPARATOR,
    FaultKind.HEADER,
    FaultKind.SWAPPED,
    FaultKind.MALFORMED_ID,
}


@dataclass(frozen=True)
class Fault:
    """All faults of one kind.

    Attributes:
        kind: What is wrong.
        count: How often: lines, or ids (missing ones), or bytes (NUL).
        first_line: Where first, counted from 1; 0 if it concerns no line in particular.
        detail: What must hold and what was found first.
    """

    kind: FaultKind
    count: int
    first_line: int
    detail: str

    def __str__(self) -> str:
        if self.first_line == 0:
            return f"{self.kind}: {self.detail}"
        others = f" (and {self.count - 1:,} more)" if self.count > 1 else ""
        return f"line {self.first_line:,}: {self.kind}: {self.detail}{others}"


class FaultLog:
    """Collects faults: of each kind the first in words, the others as a count."""

    def __init__(self) -> None:
        self._faults: dict[FaultKind, Fault] = {}

    def add(self, kind: FaultKind, line: int, detail: str, count: int = 1) -> None:
        """Record `count` faults of a kind; words and line of an earlier one stay."""
        known = self._faults.get(kind, Fault(kind, 0, line, detail))
        total = known.count + count
        self._faults[kind] = Fault(kind, total, known.first_line, known.detail)

    def found(self) -> list[Fault]:
        """List the faults in the order of their kinds."""
        return [self._faults[kind] for kind in FaultKind if kind in self._faults]


def shown(text: str) -> str:
    """Quote what was found so that it fits a line: escaped, and cut where it is long."""
    return repr(text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 3] + "...")


def summary(faults: Sequence[Fault]) -> str:
    """Sum faults up, as in `3 kinds of fault, 12 in all`."""
    kinds = "1 kind" if len(faults) == 1 else f"{len(faults)} kinds"
    return f"{kinds} of fault, {sum(fault.count for fault in faults):,} in all"
