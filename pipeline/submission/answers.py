"""Read a submission back: from its bytes to probabilities."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.competition import Competition
from pipeline.errors import SubmissionError
from pipeline.scoring.measures import Values


@dataclass(frozen=True)
class Answers:
    """The ids and probabilities of a submission.

    Attributes:
        ids: The judge's ids, in the order of the file.
        probs: `(N, K)`, as written: 1 for the class where the file names one, p and 1 - p where it
            gives the probability of one of two, else one column per class, in the classes' order.
    """

    ids: list[str]
    probs: Values

    def of(self, ids: Sequence[str]) -> Values:
        """Return the rows of these ids, `(len(ids), K)`."""
        row_of = {judge_id: row for row, judge_id in enumerate(self.ids)}
        return self.probs[[row_of[judge_id] for judge_id in ids]]


def read_bytes(csv_path: Path, next_command: str) -> bytes:
    """Read a submission's bytes.

    Raises:
        SubmissionError: There is no such file, or it can't be read.
    """
    if not csv_path.is_file():
        found = "is a folder" if csv_path.is_dir() else "there is none"
        raise SubmissionError(f"{csv_path}: must be a file, {found}; run '{next_command}'")
    try:
        return csv_path.read_bytes()
    except OSError as error:
        raise SubmissionError(
            f"{csv_path}: must be readable ({error.strerror}); change its permissions"
        ) from error


def decode(competition: Competition, content: bytes) -> Answers:
    """Read a valid submission; only for content in which `find_faults` found none."""
    submission = competition.submission
    lines = io.StringIO(content.decode(submission.encoding), newline="")
    rows = list(csv.reader(lines, delimiter=submission.separator))
    rows = rows[1:] if submission.has_header else rows
    return Answers([row[0] for row in rows], _probs(competition, [row[1:] for row in rows]))


def _probs(competition: Competition, answers: list[list[str]]) -> Values:
    submission = competition.submission
    num_classes = competition.num_classes
    if not submission.has_probabilities:
        is_name = submission.label == "name"
        labels = competition.classes if is_name else [str(i) for i in range(num_classes)]
        index = {label: number for number, label in enumerate(labels)}
        return np.eye(num_classes)[[index[label] for (label,) in answers]]
    written = np.array(answers, dtype=np.float64)  # (N, K), or (N, 1) of the positive class
    if submission.label == "probabilities":
        return written[:, np.argsort(competition.column_classes)]
    positive = competition.classes.index(str(submission.positive))
    return np.column_stack([1 - written, written] if positive == 1 else [written, 1 - written])
