"""Check ids and labels of a submission: all there, each once, written and ordered as asked."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from pipeline.config.competition import Competition
from pipeline.config.submission_table import SubmissionFormat
from pipeline.submission.faults import FaultKind, FaultLog, shown

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMBER_LIKE = re.compile(r"\+?0*([0-9]+)(\.0*)?")


class IdCheck:
    """Checks ids one after the other, and at the end whether all of them came."""

    def __init__(
        self, submission: SubmissionFormat, expected_ids: Sequence[str], faults: FaultLog
    ) -> None:
        self.expected = set(expected_ids)
        self._expected_ids = expected_ids
        self._submission = submission
        self._order = submission.demanded_order
        self._faults = faults
        self._present: set[str] = set()  # written as they must be
        self._not_missing: set[str] = set()  # there, but reported as something else than missing
        self._num_unreadable = 0
        self._previous: str | None = None

    def check(self, line: int, judge_id: str) -> None:
        """Check the id of one line."""
        if judge_id not in self.expected:
            self._explain(line, judge_id)
        elif judge_id in self._present:
            detail = f"each must stand once, {shown(judge_id)} stands again"
            self._faults.add(FaultKind.REPEATED_ID, line, detail)
        else:
            self._present.add(judge_id)
            self._check_order(line, judge_id)

    def meant(self, judge_id: str) -> str | None:
        """Return the id that is meant, written as it must be or not; None if there is none."""
        if judge_id in self.expected:
            return judge_id
        return self._by_normalised.get(normalised(judge_id))

    def ignore_missing(self, fields: list[str]) -> None:
        """Don't call the ids of a line missing that has the wrong number of columns."""
        self._not_missing.update(self.expected.intersection(fields))

    def count_unreadable(self) -> None:
        """Take a line that can't be read for one of those that would be missing."""
        self._num_unreadable += 1

    def finish(self) -> None:
        """Report the ids that never came."""
        come = self._present | self._not_missing
        missing = [judge_id for judge_id in self._expected_ids if judge_id not in come]
        if len(missing) > self._num_unreadable:
            num = f"{len(missing):,} of {len(self._expected_ids):,}"
            detail = f"{num}, the first is {shown(missing[0])}"
            self._faults.add(FaultKind.MISSING_ID, 0, detail, len(missing))

    @cached_property
    def _by_normalised(self) -> dict[str, str]:
        return unique_by(normalised, zip(self._expected_ids, self._expected_ids, strict=True))

    @cached_property
    def _position(self) -> dict[str, int]:
        """The place of each id in the order that the judge demands."""
        ids = self._expected_ids
        if self._order == "ascending":
            ids = sorted(ids, key=int) if self._submission.id == "integer" else sorted(ids)
        return {judge_id: position for position, judge_id in enumerate(ids)}

    def _explain(self, line: int, judge_id: str) -> None:
        meant = self._by_normalised.get(normalised(judge_id))
        is_integer = self._submission.id == "integer"
        if meant is not None:
            self._not_missing.add(meant)
            detail = f"must be written {shown(meant)}, found {shown(judge_id)}"
            self._faults.add(FaultKind.MALFORMED_ID, line, detail)
        elif is_integer and not INTEGER.fullmatch(judge_id):
            detail = f"must be an integer, found {shown(judge_id)}"
            self._faults.add(FaultKind.MALFORMED_ID, line, detail)
        else:
            detail = f"must be the id of a test image, found {shown(judge_id)}"
            self._faults.add(FaultKind.UNKNOWN_ID, line, detail)

    def _check_order(self, line: int, judge_id: str) -> None:
        previous, self._previous = self._previous, judge_id
        if previous is None or self._order == "any":
            return
        if self._position[previous] > self._position[judge_id]:
            rule = "ascend" if self._order == "ascending" else "be in the sample's order"
            detail = f"ids must {rule}, {shown(judge_id)} comes after {shown(previous)}"
            self._faults.add(FaultKind.ORDER, line, detail)


def unique_by(form: Callable[[str], str], names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map the form of each name to what it names, where that is one thing."""
    found: dict[str, set[str]] = {}
    for name, named in names:
        found.setdefault(form(name), set()).add(named)
    return {key: next(iter(those)) for key, those in found.items() if len(those) == 1}


def normalised(judge_id: str) -> str:
    """Reduce an id to what it would be without folder, extension, zeros, signs and spaces.

    Two ids that reduce to the same are one id written in two ways, or close enough to say so.
    """
    text = unicodedata.normalize("NFKC", judge_id).strip().casefold().replace("\\", "/")
    number = NUMBER_LIKE.fullmatch(text)
    path = PurePosixPath(text)
    is_suffix = path.suffix[1:2].isalpha()  # no part of a number, as in 1.2.840.10008
    stem = text if number else path.stem if is_suffix else path.name
    number = number or NUMBER_LIKE.fullmatch(stem)
    return number[1] if number else stem


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
    if submission.has_numbers:
        is_row = submission.label == "probabilities"
        fault_of = _fault_of_number if submission.label == "number" else _fault_of_probability
        return LabelCheck(fault_of, sums_to_1=is_row and submission.rows_sum_to_1)
    if submission.label == "index":
        return LabelCheck(_of_indices(competition.num_classes))
    if submission.label == "name":
        return LabelCheck(_of_names(competition.classes))
    most = submission.top_k or competition.num_classes
    return LabelCheck(_of_lists(competition.classes, most))


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


def _fault_of_number(label: str) -> LabelFault | None:
    is_number = NUMBER.fullmatch(label) is not None
    if is_number and math.isfinite(float(label)):
        return None
    kind = FaultKind.INFINITE_LABEL if is_number else _kind_of_bad_label(label)
    return kind, f"must be a number, found {shown(label)}"


def _kind_of_bad_label(label: str) -> FaultKind:
    word = label.strip().casefold()
    if not word:
        return FaultKind.EMPTY_LABEL
    if word in INFINITE_WORDS:
        return FaultKind.INFINITE_LABEL
    return FaultKind.NAN_LABEL if word in NAN_WORDS else FaultKind.MALFORMED_LABEL
