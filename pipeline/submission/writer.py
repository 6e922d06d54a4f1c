"""Write the judge's CSV from probabilities."""

import csv
import io

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.scoring.measures import Probs
from pipeline.submission.judge_ids import ordered_ids, submission_ids

Units = npt.NDArray[np.int64]


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
    """Format what stands after each id, `(N, columns)`."""
    submission = competition.submission
    digits = submission.float_digits
    # Of a probability of 0 log loss takes the logarithm: one such mistake can cost a whole score.
    smallest = 1 if competition.metric == "log_loss" else 0
    if submission.label == "probability":
        positive = competition.classes.index(str(submission.positive))
        units = _rounded(probs[:, [positive]], 10**digits, smallest)
        return _decimals(units, digits)
    if submission.label == "probabilities":
        columns = probs[:, list(competition.column_classes)]
        rounded = _shared_out if submission.rows_sum_to_1 else _rounded
        return _decimals(rounded(columns, 10**digits, smallest), digits)
    is_name = submission.label == "name"
    labels = competition.classes if is_name else [str(i) for i in range(competition.num_classes)]
    return [[labels[index]] for index in probs.argmax(axis=1)]


def _rounded(probs: Probs, scale: int, smallest: int) -> Units:
    """Round each number to units of 1 / scale, none within `smallest` units of 0 and 1."""
    units = np.rint(probs.astype(np.float64) * scale).astype(np.int64)
    bounded: Units = np.clip(units, smallest, scale - smallest)
    return bounded


def _shared_out(probs: Probs, scale: int, smallest: int) -> Units:
    """Round to units of 1 / scale, of which each row has `scale` and each number `smallest`.

    Rounding each number on its own would miss by up to half a unit each. So all are rounded
    down, and the units that are left go to those that lost most (largest remainder method).
    """
    smallest = min(smallest, scale // (2 * probs.shape[1]))  # none where decimals are too few
    wide = np.clip(probs.astype(np.float64), 0, 1)
    exact = wide / wide.sum(axis=1, keepdims=True) * scale
    units = np.floor(exact).astype(np.int64)
    num_left = scale - units.sum(axis=1, keepdims=True)
    rank = np.argsort(np.argsort(units - exact, axis=1, kind="stable"), axis=1)
    raised: Units = np.maximum(units + (rank < num_left), smallest)
    rows = np.arange(len(raised))
    raised[rows, raised.argmax(axis=1)] -= raised.sum(axis=1) - scale
    return raised


def _decimals(units: Units, digits: int) -> list[list[str]]:
    scale = 10**digits
    rows: list[list[int]] = units.tolist()
    return [[f"{one // scale}.{one % scale:0{digits}d}" for one in row] for row in rows]
