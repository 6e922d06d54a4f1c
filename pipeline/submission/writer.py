"""Form the ids by which the judge knows the test images, and write his CSV from probabilities."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.class_names import row_ids
from pipeline.config.competition import Competition
from pipeline.config.submission_table import LOG_LOSSES, SubmissionFormat
from pipeline.errors import DataError
from pipeline.scoring.decisions import Decisions
from pipeline.scoring.measures import Probs, Values
from pipeline.scoring.probability_measures import HALF
from pipeline.store.predictions import Likeliest
from pipeline.submission.rows import to_line

Units = npt.NDArray[np.int64]
# What the largest number of a row may lose so that none of the others is 0.
MOST_TAKEN = 0.002
FEW_UNITS = 2  # always


def submission_id(submission: SubmissionFormat, image_id: str) -> str:
    """Form the id by which the judge knows an image.

    Raises:
        DataError: The judge wants integers and the file's name isn't one, or the name holds what
            no line of UTF-8 text can (a line break, a byte that isn't UTF-8).
    """
    path = PurePosixPath(image_id)
    forms = {"file_name": path.name, "stem": path.stem, "integer": path.stem}
    judge_id = submission.id_prefix + forms.get(submission.id, image_id)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in judge_id):
        raise DataError(f"{image_id!r}: a test image's name must be printable UTF-8 text")
    if submission.id != "integer":
        return judge_id
    if not (judge_id.isascii() and judge_id.isdigit()):
        raise DataError(
            f"'{image_id}': the judge's ids are integers, so a test image's name must be one, "
            f"is '{judge_id}'; compare the competition's [submission] id"
        )
    return str(int(judge_id))


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


def ordered_ids(submission: SubmissionFormat, image_ids: Sequence[str]) -> list[str]:
    """List the judge's ids in the order in which they are written.

    Of a competition with a sample submission `test.csv` stands in the sample's order, and so do
    they; otherwise they ascend, by number or by code point.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    ids = submission_ids(submission, image_ids)
    if submission.is_ordered_by_sample:
        return ids
    return sorted(ids, key=int) if submission.id == "integer" else sorted(ids)


def line_ids(competition: Competition, image_ids: Sequence[str]) -> list[str]:
    """List the ids of all lines in their order: the judge's, or those of an image and a class each.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    submission = competition.submission
    ids = ordered_ids(submission, image_ids)
    if not submission.has_label_rows:
        return ids
    return [row for one in ids for row in row_ids(submission.row_id, one, competition.classes)]


def submission_table(
    competition: Competition, image_ids: list[str], probs: Probs | Likeliest
) -> pd.DataFrame:
    """Answer every test image as the judge wants it; of equally probable classes the first wins.

    Of several labels those above 1/2 are answered, and the likeliest always; see `Decisions`.

    Args:
        competition: Names the columns, the form of ids and labels, and the classes.
        image_ids: N ids of test images, in the order of `test.csv`; or of what several of them
            are answered as.
        probs: Their probabilities, `(N, K)`, or numbers, `(N, 1)`.

    Returns:
        N rows of text as it will be written, or N K with a row per label; in the sample's order
        where there is a sample, else sorted by id: equal predictions give equal files.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    assert probs.shape == (len(image_ids), competition.num_classes)
    ids = submission_ids(competition.submission, image_ids)
    answer_by_id = dict(zip(ids, _answers(competition, probs), strict=True))
    ordered = ordered_ids(competition.submission, image_ids)
    rows = [(judge_id, *answer_by_id[judge_id]) for judge_id in ordered]
    if competition.submission.has_label_rows:
        answers = [answer for _, *row in rows for answer in row]
        rows = list(zip(line_ids(competition, image_ids), answers, strict=True))
    return pd.DataFrame(rows, columns=list(competition.columns))


def encode(competition: Competition, table: pd.DataFrame) -> bytes:
    """Write the table as the judge wants it, with a line end after the last line, too."""
    submission = competition.submission
    text = io.StringIO(newline="")
    line_end = "\r\n" if submission.line_ending == "crlf" else "\n"
    writer = csv.writer(text, delimiter=submission.separator, lineterminator=line_end)
    if submission.has_header:
        writer.writerow(to_line(submission, list(table.columns), None))
    for row, fields in enumerate(table.itertuples(index=False, name=None)):
        writer.writerow(to_line(submission, fields, row))
    return text.getvalue().encode(submission.encoding)


def _answers(competition: Competition, probs: Probs | Likeliest) -> list[list[str]]:
    """Format what stands after each id, `(N, columns)`."""
    submission = competition.submission
    if isinstance(probs, Likeliest):
        rows = probs.classes[:, : submission.top_k or 1].tolist()
        is_index = submission.label == "index"
        names = competition.classes
        return [[" ".join(str(i) if is_index else names[i] for i in row)] for row in rows]
    if submission.label == "number":
        return [[f"{number:.{submission.float_digits}f}"] for number in probs[:, 0].tolist()]
    if submission.has_probabilities:
        return _numbers(competition, probs)
    is_index = submission.label == "index"
    labels = [str(i) for i in range(competition.num_classes)] if is_index else competition.classes
    return [[" ".join(labels[index] for index in row)] for row in _chosen(submission, probs)]


def _numbers(competition: Competition, probs: Probs) -> list[list[str]]:
    submission = competition.submission
    digits = submission.float_digits
    # Of a probability of 0 log loss takes the logarithm: one such mistake can cost a whole score.
    smallest = 1 if competition.metric in LOG_LOSSES else 0
    if submission.label == "probability":
        positive = competition.classes.index(str(submission.positive))
        return _decimals(_rounded(probs[:, [positive]], 10**digits, smallest), digits)
    if submission.has_label_rows:
        return _decimals(_rounded(probs, 10**digits, smallest), digits)
    columns = probs[:, list(competition.column_classes)]
    rounded = _shared_out if submission.rows_sum_to_1 else _rounded
    return _decimals(rounded(columns, 10**digits, smallest), digits)


def _chosen(submission: SubmissionFormat, probs: Probs) -> Iterable[Units]:
    """Choose the classes that each image is answered by, `(N, ...)`; the likeliest come first."""
    if submission.label == "labels":
        return map(np.flatnonzero, Decisions(HALF).apply(probs))
    likeliest: Units = probs.argmax(axis=1)[:, None]
    if submission.top_k is not None:
        likeliest = np.argsort(-probs, axis=1, kind="stable")[:, : submission.top_k]
    return likeliest


def _rounded(probs: Probs, scale: int, smallest: int) -> Units:
    """Round each number to units of 1 / scale, none within `smallest` units of 0 and 1.

    Numbers that differ may become equal, but the largest of a row stays the only one that is
    largest, and what is above or below 1 / 2 stays there where it stands alone.
    """
    units: Units = np.rint(probs.astype(np.float64) * scale).astype(np.int64)
    if probs.shape[1] == 1:
        is_half = units == scale // 2
        units += is_half & (probs > 0.5)
        units -= is_half & (probs < 0.5)
    bounded: Units = np.clip(units, smallest, scale - smallest)
    rows, top, _ = _dethroned(bounded, probs)
    highest = bounded[rows, top]
    bounded[rows] -= (np.arange(probs.shape[1]) < top[:, None]) & (
        bounded[rows] == highest[:, None]
    )
    bounded[rows] += (highest == smallest)[:, None]  # where there is nothing below
    return np.minimum(bounded, scale - smallest)


def _shared_out(probs: Probs, scale: int, smallest: int) -> Units:
    """Round to units of 1 / scale, of which each row has `scale` and each number `smallest`.

    Rounding each number on its own would miss by up to half a unit each. So all are rounded
    down, and the units that are left go to those that lost most (largest remainder method). What
    raises the others to `smallest` is taken from the largest. Where units are so few that this
    would be a large share, nothing is raised. The largest stays the only one that is largest.
    """
    num = probs.shape[1]
    smallest = smallest if (num - 1) * smallest <= max(scale * MOST_TAKEN, FEW_UNITS) else 0
    wide = np.clip(probs.astype(np.float64), 0, 1)
    exact = wide / wide.sum(axis=1, keepdims=True) * scale
    units: Units = np.maximum(_largest_remainders(exact, scale), smallest)
    rows = np.arange(len(units))
    units[rows, units.argmax(axis=1)] -= units.sum(axis=1) - scale
    rows, *_ = _dethroned(units, probs)  # by what was taken from it
    units[rows] = _largest_remainders(smallest + exact[rows] * (1 - num * smallest / scale), scale)
    rows, top, usurper = _dethroned(units, probs)  # by a rounding that made two equal
    units[rows, top] += 1
    units[rows, usurper] -= 1
    return units


def _largest_remainders(exact: Values, scale: int) -> Units:
    units = np.floor(exact).astype(np.int64)
    num_left = scale - units.sum(axis=1, keepdims=True)
    rank = np.argsort(np.argsort(units - exact, axis=1, kind="stable"), axis=1)
    raised: Units = units + (rank < num_left)
    return raised


def _dethroned(units: Units, probs: Probs) -> tuple[Units, Units, Units]:
    """Find rows whose largest number isn't any more: rows, where it stood, and what is now."""
    top, now = probs.argmax(axis=1), units.argmax(axis=1)
    rows = np.flatnonzero(top != now)
    return rows, top[rows], now[rows]


def _decimals(units: Units, digits: int) -> list[list[str]]:
    scale = 10**digits
    rows: list[list[int]] = units.tolist()
    return [[f"{one // scale}.{one % scale:0{digits}d}" for one in row] for row in rows]
