"""From probabilities to the judge's CSV."""

import csv
import io

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.competition import Competition
from pipeline.judge_ids import ordered_ids, submission_ids
from pipeline.scoring.measures import Probs


def submission_table(competition: Competition, image_ids: list[str], probs: Probs) -> pd.DataFrame:
    """Answer every test image as the judge wants it; of equally probable classes the first wins.

    Args:
        competition: Names the columns, the form of ids and labels, and the classes.
        image_ids: N ids of test images, in the order of `test.csv`.
        probs: Their probabilities, `(N, K)`.

    Returns:
        N rows of text as it will be written, in the sample's order where there is a sample, else
        sorted by id: equal predictions give equal files.

    Raises:
        DataError: An id can't be formed, or two images would get the same one.
    """
    assert probs.shape == (len(image_ids), competition.num_classes)
    ids = submission_ids(competition.submission, image_ids)
    answer_by_id = dict(zip(ids, _answers(competition, probs), strict=True))
    ordered = ordered_ids(competition.submission, image_ids)
    rows = [(judge_id, *answer_by_id[judge_id]) for judge_id in ordered]
    return pd.DataFrame(rows, columns=list(competition.columns))


def encode(competition: Competition, table: pd.DataFrame) -> bytes:
    """Write the table as the judge wants it, with a line end after the last line, too."""
    submission = competition.submission
    text = io.StringIO(newline="")
    line_end = "\r\n" if submission.line_ending == "crlf" else "\n"
    writer = csv.writer(text, delimiter=submission.separator, lineterminator=line_end)
    if submission.has_header:
        writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False, name=None))
    return text.getvalue().encode(submission.encoding)


def _answers(competition: Competition, probs: Probs) -> list[list[str]]:
    """Say what stands after each id."""
    submission = competition.submission
    if submission.label == "probability":
        positive = competition.classes.index(str(submission.positive))
        return _decimals(probs[:, [positive]], submission.float_digits, sums_to_1=False)
    if submission.label == "probabilities":
        columns = probs[:, list(competition.column_classes)]
        digits = submission.float_digits
        return _decimals(columns, digits, sums_to_1=submission.rows_sum_to_1)
    is_name = submission.label == "name"
    labels = competition.classes if is_name else [str(i) for i in range(competition.num_classes)]
    return [[labels[index]] for index in probs.argmax(axis=1)]


def _decimals(probs: Probs, digits: int, *, sums_to_1: bool) -> list[list[str]]:
    """Round to decimals; where rows must sum to 1, the decimals do so exactly.

    Rounding each number on its own would miss by up to half a unit each. So all are rounded
    down, and the units that are left go to those that lost most (largest remainder method).
    """
    scale = 10**digits
    wide = np.clip(probs.astype(np.float64), 0, 1)
    if sums_to_1:
        exact = wide / wide.sum(axis=1, keepdims=True) * scale
        units = np.floor(exact).astype(np.int64)
        num_left = scale - units.sum(axis=1, keepdims=True)
        rank = np.argsort(np.argsort(units - exact, axis=1, kind="stable"), axis=1)
        units += rank < num_left
    else:
        units = np.rint(wide * scale).astype(np.int64)
    return [[_decimal(unit, scale, digits) for unit in row] for row in _as_rows(units)]


def _decimal(units: int, scale: int, digits: int) -> str:
    return f"{units // scale}.{units % scale:0{digits}d}"


def _as_rows(units: npt.NDArray[np.int64]) -> list[list[int]]:
    rows: list[list[int]] = units.tolist()
    return rows
