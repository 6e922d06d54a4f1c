"""Checks of what stands in a submission's two columns."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from pipeline.competition import Competition, SubmissionFormat
from pipeline.scoring.faults import FaultKind, FaultLog, shown

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMBER_LIKE = re.compile(r"\+?0*([0-9]+)(\.0*)?")
NAN_WORDS = {"nan", "na", "n/a", "<na>", "none", "null", "inf", "-inf"}

LabelFault = tuple[FaultKind, str]
LabelCheck = Callable[[str], LabelFault | None]


class IdCheck:
    """Checks ids one after the other, and at the end whether all of them came."""

    def __init__(
        self, submission: SubmissionFormat, expected_ids: Sequence[str], faults: FaultLog
    ) -> None:
        self.expected = set(expected_ids)
        self._expected_ids = expected_ids
        self._submission = submission
        self._faults = faults
        self._by_plain = {_plain(judge_id): judge_id for judge_id in expected_ids}
        self._present: set[str] = set()  # written as they must be
        self._excused: set[str] = set()  # there, but reported as something else than missing
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

    def excuse(self, fields: list[str]) -> None:
        """Don't call the ids of a line missing that has the wrong number of columns."""
        self._excused.update(self.expected.intersection(fields))

    def finish(self) -> None:
        """Report the ids that never came."""
        come = self._present | self._excused
        missing = [judge_id for judge_id in self._expected_ids if judge_id not in come]
        if missing:
            num = f"{len(missing):,} of {len(self._expected_ids):,}"
            detail = f"{num}, the first is {shown(missing[0])}"
            self._faults.add(FaultKind.MISSING_ID, 0, detail, len(missing))

    def _explain(self, line: int, judge_id: str) -> None:
        meant = self._by_plain.get(_plain(judge_id))
        is_integer = self._submission.id == "integer"
        if meant is not None:
            self._excused.add(meant)
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
        if previous is None or self._submission.order == "any":
            return
        is_integer = self._submission.id == "integer"
        if (int(previous) > int(judge_id)) if is_integer else (previous > judge_id):
            detail = f"ids must ascend, {shown(judge_id)} comes after {shown(previous)}"
            self._faults.add(FaultKind.ORDER, line, detail)


def _plain(judge_id: str) -> str:
    """Reduce an id to what it would be without folder, extension, zeros, signs and spaces.

    Two ids that reduce to the same are one id written in two ways, or close enough to say so.
    """
    text = unicodedata.normalize("NFKC", judge_id).strip().casefold().replace("\\", "/")
    number = NUMBER_LIKE.fullmatch(text)
    stem = text if number else PurePosixPath(text).stem
    number = number or NUMBER_LIKE.fullmatch(stem)
    return number[1] if number else stem


def _check_indices(competition: Competition) -> LabelCheck:
    valid = {str(index) for index in range(competition.num_classes)}
    wanted = f"must be an integer from 0 to {competition.num_classes - 1}"

    def check(label: str) -> LabelFault | None:
        if label in valid:
            return None
        is_integer = INTEGER.fullmatch(label) is not None
        kind = FaultKind.LABEL_OUT_OF_RANGE if is_integer else _kind_of_bad_label(label)
        return kind, f"{wanted}, found {shown(label)}"

    return check


def _check_names(competition: Competition) -> LabelCheck:
    valid = set(competition.classes)
    wanted = f"must be one of the {len(valid)} class names, as {shown(competition.classes[0])}"

    def check(label: str) -> LabelFault | None:
        return (
            None
            if label in valid
            else (_kind_of_bad_label(label), f"{wanted}, found {shown(label)}")
        )

    return check


def _kind_of_bad_label(label: str) -> FaultKind:
    if not label.strip():
        return FaultKind.EMPTY_LABEL
    is_nan = label.strip().casefold() in NAN_WORDS
    return FaultKind.NAN_LABEL if is_nan else FaultKind.MALFORMED_LABEL


# Another form of label (one probability per class, say) joins by its check.
LABEL_CHECKS: dict[str, Callable[[Competition], LabelCheck]] = {
    "index": _check_indices,
    "name": _check_names,
}
