"""Read a submission back: from its bytes to probabilities."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.class_names import split_row_id
from pipeline.config.competition import Competition
from pipeline.config.submission_table import LOG_LOSSES
from pipeline.errors import SubmissionError
from pipeline.scoring.measures import Values
from pipeline.store.predictions import AnyProbs, Likeliest
from pipeline.submission.rows import from_line
from pipeline.submission.validation import Examination

MOST_SHOWN = 3  # probabilities of a row


@dataclass(frozen=True)
class Answers:
    """The ids and probabilities of a submission.

    Attributes:
        ids: The judge's ids, in the order of the file.
        probs: `(N, K)`, as written: 1 for the class where the file names one, 1 / r for that at
            place r where it names the likeliest, 1 for each that it names of several labels, p and
            1 - p where it gives the probability of one of two, else one column per class, in the
            classes' order; the number, `(N, 1)`, where it is one. Of very many classes those named.
    """

    ids: list[str]
    probs: AnyProbs

    def of(self, ids: Sequence[str]) -> AnyProbs:
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
    rows = [from_line(submission, row) for row in rows[submission.has_header :]]
    return _answers(competition, [row[0] for row in rows], [row[1:] for row in rows])


def answers_of(competition: Competition, read: Examination) -> Answers:
    """Turn what was read of a submission into probabilities; its labels must have no fault."""
    return _answers(competition, read.ids, read.answers)


def _answers(competition: Competition, ids: list[str], answers: list[list[str]]) -> Answers:
    """Turn the fields after each id into probabilities; lines of one image become its row."""
    if not competition.submission.has_label_rows:
        return Answers(ids, _probs(competition, answers))
    template = competition.submission.row_id
    row_of: dict[str, int] = {}
    probs = np.zeros((len(ids) // competition.num_classes, competition.num_classes))
    for line_id, (prob,) in zip(ids, answers, strict=True):
        image_id, place = split_row_id(template, line_id, competition.classes) or ("", 0)
        probs[row_of.setdefault(image_id, len(row_of)), place] = float(prob)
    return Answers(list(row_of), probs)


def remarks(competition: Competition, answers: Answers) -> list[str]:
    """Say what is odd about answers that a judge takes all the same."""
    probs = answers.probs
    found = []
    if isinstance(probs, Likeliest):  # names of very many classes
        if len(probs) > 1 and (probs.classes == probs.classes[0]).all():
            what = competition.classes[int(probs.classes[0, 0])]
            found = [_same(len(probs), what)]
        return found
    if len(probs) > 1 and (probs == probs[0]).all():
        what = competition.classes[int(probs[0].argmax())]
        if competition.submission.has_numbers:
            what = ", ".join(f"{prob:g}" for prob in probs[0][:MOST_SHOWN])
            what += ", ..." if len(probs[0]) > MOST_SHOWN else ""
        found.append(_same(len(probs), what))
    if competition.is_number and competition.range:
        low, high = competition.range
        outside = probs[(probs < low) | (probs > high)]
        if len(outside):
            found.append(
                f"{len(outside):,} of {len(probs):,} numbers lie outside of {low:g} to {high:g}, "
                f"the range of the file or of the training labels, the first is {outside[0]:g}"
            )
    is_certain = (probs == 0).any(axis=1)
    if (
        competition.metric in LOG_LOSSES
        and competition.submission.has_probabilities
        and is_certain.any()
    ):
        found.append(
            f"{is_certain.sum():,} of {len(probs):,} answers give a class the probability 0, of "
            "which log loss takes the logarithm: one such mistake may cost more than 100 others"
        )
    return found


def _same(num: int, what: str) -> str:
    return f"all {num:,} answers are the same ({what}), as of a sample submission"


def _probs(competition: Competition, answers: list[list[str]]) -> AnyProbs:
    submission = competition.submission
    num_classes = competition.num_classes
    if competition.keeps_likeliest:
        has_several = submission.label == "names"
        lists = [label.split(" ") if has_several else [label] for (label,) in answers]
        return _named(competition, lists)
    if submission.has_numbers:
        return _of_numbers(competition, np.array(answers, dtype=np.float64))
    if submission.label in ("names", "labels"):
        return _of_places(competition, [label.split(" ") for (label,) in answers])
    is_name = submission.label == "name"
    labels = competition.classes if is_name else [str(i) for i in range(num_classes)]
    index = {label: number for number, label in enumerate(labels)}
    return np.eye(num_classes)[[index[label] for (label,) in answers]]


def _named(competition: Competition, lists: list[list[str]]) -> Likeliest:
    """Read the classes that are named, the likeliest first, 1 / r for that at place r."""
    is_index = competition.submission.label == "index"
    labels = map(str, range(competition.num_classes)) if is_index else competition.classes
    index = {label: number for number, label in enumerate(labels)}
    num = max(map(len, lists), default=1)
    classes = np.full((len(lists), num), -1, dtype=np.int32)
    probs = np.zeros((len(lists), num), dtype=np.float32)
    for row, names in enumerate(lists):
        classes[row, : len(names)] = [index[name] for name in names]
        probs[row, : len(names)] = 1 / np.arange(1, len(names) + 1)
    return Likeliest(classes, probs, competition.num_classes)


def _of_numbers(competition: Competition, written: Values) -> Values:
    """Put numbers in the classes' order, of `(N, K)`, or `(N, 1)` of the positive class alone."""
    submission = competition.submission
    if submission.label == "number":
        return written
    if submission.label == "probabilities":
        return written[:, np.argsort(competition.column_classes)]
    positive = competition.classes.index(str(submission.positive))
    return np.column_stack([1 - written, written] if positive == 1 else [written, 1 - written])


def _of_places(competition: Competition, lists: list[list[str]]) -> Values:
    """Turn lists of class names into numbers; 0 for a class that isn't named.

    They are in the order of the likeliest classes, or 1 for each of an image's labels.
    """
    index = {label: number for number, label in enumerate(competition.classes)}
    probs = np.zeros((len(lists), competition.num_classes))
    for row, names in enumerate(lists):
        places = np.arange(1, len(names) + 1) if competition.submission.top_k else 1
        probs[row, [index[name] for name in names]] = 1 / places
    return probs
