"""The judge's CSV: from probabilities to a table, from the table to bytes and back."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from pipeline.competition import Competition, SubmissionFormat
from pipeline.errors import DataError
from pipeline.predictions import FloatArray


def submission_id(submission: SubmissionFormat, image_id: str) -> str:
    """Form the id by which the judge knows an image.

    Raises:
        DataError: The judge wants integers and the file's name isn't one, or the name holds what
            no line of UTF-8 text can (a line break, a byte that isn't UTF-8).
    """
    path = PurePosixPath(image_id)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path.name):
        raise DataError(f"{image_id!r}: a test image's name must be printable UTF-8 text")
    if submission.id == "file_name":
        return path.name
    if submission.id == "stem":
        return path.stem
    if not (path.stem.isascii() and path.stem.isdigit()):
        raise DataError(
            f"'{image_id}': the judge's ids are integers, so a test image's name must be one, "
            f"is '{path.stem}'; compare the competition's [submission] id"
        )
    return str(int(path.stem))


def submission_ids(submission: SubmissionFormat, image_ids: Sequence[str]) -> list[str]:
    """Form the judge's ids, in the order of `image_ids`.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    owners: dict[str, str] = {}
    for image_id in image_ids:
        judge_id = submission_id(submission, image_id)
        if judge_id in owners:
            raise DataError(
                f"test images: must differ in the judge's id, '{owners[judge_id]}' and "
                f"'{image_id}' are both '{judge_id}'; compare the competition's [submission] id"
            )
        owners[judge_id] = image_id
    return list(owners)


def sorted_ids(submission: SubmissionFormat, image_ids: Sequence[str]) -> list[str]:
    """List the judge's ids in the order of a submission: by number, otherwise by code point."""
    ids = submission_ids(submission, image_ids)
    return sorted(ids, key=int) if submission.id == "integer" else sorted(ids)


def submission_table(
    competition: Competition, image_ids: list[str], probs: FloatArray
) -> pd.DataFrame:
    """Decide for a class per image; of equally probable ones the first wins.

    Args:
        competition: Names the columns, the form of ids and labels, and the classes.
        image_ids: N ids of test images.
        probs: Their probabilities, `(N, K)`.

    Returns:
        Two columns of N rows, sorted by id whatever the judge demands: equal predictions give
        equal files.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    assert probs.shape == (len(image_ids), competition.num_classes)
    submission = competition.submission
    ids = submission_ids(submission, image_ids)
    labels = _labels(competition)
    label_by_id = dict(zip(ids, [labels[index] for index in probs.argmax(axis=1)], strict=True))
    rows = [(judge_id, label_by_id[judge_id]) for judge_id in sorted_ids(submission, image_ids)]
    return pd.DataFrame(rows, columns=list(submission.columns))


def encode(competition: Competition, table: pd.DataFrame) -> bytes:
    """Write the table as the judge wants it: LF, UTF-8 without BOM, a newline at the end."""
    text: str = table.to_csv(
        sep=competition.submission.separator,
        header=competition.submission.has_header,
        index=False,
        lineterminator="\n",
    )
    return text.encode("utf-8")


def decode(competition: Competition, content: bytes) -> dict[str, int]:
    """Read the class indices of a valid submission, by the judge's id.

    Only for content in which `find_faults` found none.
    """
    lines = io.StringIO(content.decode("utf-8"), newline="")
    rows = list(csv.reader(lines, delimiter=competition.submission.separator))
    indices = {str(label): index for index, label in enumerate(_labels(competition))}
    start = 1 if competition.submission.has_header else 0
    return {judge_id: indices[label] for judge_id, label in rows[start:]}


def _labels(competition: Competition) -> list[str] | list[int]:
    if competition.submission.label == "name":
        return list(competition.classes)
    return list(range(competition.num_classes))
