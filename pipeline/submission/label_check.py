"""Check a submission's labels: class indices, class names or probabilities."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.config.competition import Competition
from pipeline.submission.faults import FaultKind, shown
from pipeline.submission.id_check import INTEGER

# What every reader of numbers takes for the same number: no spaces, signs but a minus, commas.
NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
NAN_WORDS = {"nan", "-nan", "na", "n/a", "<na>", "#n/a", "none", "null"}
INFINITE_WORDS = {f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity")}
# Rounding each number to five decimals is forgiven, and what NumPy's allclose forgives.
SUM_TOLERANCE = 1e-5
ROUNDING = 0.5e-5

LabelFault = tuple[FaultKind, str]


@dataclass(frozen=True)
class LabelCheck:
    """The check of what stands after the id.

    Attributes:
        fault_of: Says what is wrong with one field; None if nothing is.
        sums_to_1: Whether the fields of a line must sum to 1.
    """

    fault_of: Callable[[str], LabelFault | None]
    sums_to_1: bool = False

    def faults(self, fields: Sequence[str]) -> Iterator[LabelFault]:
        """Find what is wrong with the labels of one line."""
        found = [fault for field in fields if (fault := self.fault_of(field)) is not None]
        yield from found
        if self.sums_to_1 and not found:
            total = math.fsum(map(float, fields))
            if abs(total - 1) > max(SUM_TOLERANCE, ROUNDING * len(fields)):
                kind = FaultKind.SUM if total else FaultKind.ALL_ZERO
                yield kind, f"the probabilities of a line must sum to 1, found {total:.6g}"


def label_check(competition: Competition) -> LabelCheck:
    """Make the check for a competition's form of label."""
    submission = competition.submission
    if submission.label == "index":
        return LabelCheck(_of_indices(competition.num_classes))
    if submission.label == "name":
        return LabelCheck(_of_names(competition.classes))
    if submission.top_k is not None:
        return LabelCheck(_of_lists(competition.classes, submission.top_k))
    is_row = submission.label == "probabilities"
    return LabelCheck(_fault_of_probability, sums_to_1=is_row and submission.rows_sum_to_1)


def _of_indices(num_classes: int) -> Callable[[str], LabelFault | None]:
    valid = {str(index) for index in range(num_classes)}
    wanted = f"must be an integer from 0 to {num_classes - 1}"

    def fault_of(label: str) -> LabelFault | None:
        if label in valid:
            return None
        is_integer = INTEGER.fullmatch(label) is not None
        kind = FaultKind.LABEL_OUT_OF_RANGE if is_integer else _kind_of_bad_label(label)
        return kind, f"{wanted}, found {shown(label)}"

    return fault_of


def _of_names(classes: Sequence[str]) -> Callable[[str], LabelFault | None]:
    valid = set(classes)
    wanted = f"must be one of the {len(valid)} class names, as {shown(classes[0])}"

    def fault_of(label: str) -> LabelFault | None:
        if label in valid:
            return None
        return _kind_of_bad_label(label), f"{wanted}, found {shown(label)}"

    return fault_of


def _of_lists(classes: Sequence[str], most: int) -> Callable[[str], LabelFault | None]:
    fault_of_name = _of_names(classes)

    def fault_of(label: str) -> LabelFault | None:
        names = label.split(" ")
        words = list(filter(None, names)) or [label]  # of spaces alone, the label is empty
        found = next((fault for name in words if (fault := fault_of_name(name))), None)
        if found is not None:
            return found
        if len(names) > most or len(set(names)) < len(names) or not all(names):
            wanted = f"must be at most {most} class names, each once, a space between them"
            return FaultKind.MALFORMED_LABEL, f"{wanted}, found {shown(label)}"
        return None

    return fault_of


def _fault_of_probability(label: str) -> LabelFault | None:
    is_number = NUMBER.fullmatch(label) is not None
    if is_number and 0 <= float(label) <= 1:
        return None
    kind = FaultKind.LABEL_OUT_OF_RANGE if is_number else _kind_of_bad_label(label)
    return kind, f"must be a number from 0 to 1, found {shown(label)}"


def _kind_of_bad_label(label: str) -> FaultKind:
    word = label.strip().casefold()
    if not word:
        return FaultKind.EMPTY_LABEL
    if word in INFINITE_WORDS:
        return FaultKind.INFINITE_LABEL
    return FaultKind.NAN_LABEL if word in NAN_WORDS else FaultKind.MALFORMED_LABEL
