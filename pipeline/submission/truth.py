"""Read true labels of test images from whatever table a person has of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.competition import Competition
from pipeline.console import say
from pipeline.errors import DataError
from pipeline.submission.truth_labels import read_labels_alike, refuse
from pipeline.submission.truth_table import TestIds, read_truth_table

IGNORED = "ignored"


@dataclass(frozen=True)
class Truth:
    """True labels.

    Attributes:
        targets: Class index by the judge's id.
        usage: The part of the score that an image belongs to, "Public" or "Private", by the
            judge's id; empty where the table doesn't say.
    """

    targets: dict[str, int]
    usage: dict[str, str]


def load_truth(path: Path, competition: Competition, image_ids: Sequence[str]) -> Truth:
    """Read the true labels of all or some test images, however the table was saved.

    It has an id and a label per line, or a column per class with 1 in that of the true one, and a
    header or none. Ids may be the judge's, image_ids or file names; labels are class names or
    places, throughout the file. Lines that are "Ignored" in the column `Usage` of Kaggle's
    solutions, or have no label, aren't graded; other columns are passed over.

    Raises:
        DataError: The file is missing, empty, not such a table, or names an image that isn't a
            test image or is repeated, or an unknown class.
    """
    ids = TestIds(competition, image_ids)
    table = read_truth_table(path, competition, ids)
    found = {name: ids.find(name) for name in table.names}
    refuse(
        path, [name for name in table.names if found[name] is None], "ids must be of test images"
    )
    judge_ids = [str(found[name]) for name in table.names]
    first_row = {judge_id: row for row, judge_id in reversed(list(enumerate(judge_ids)))}
    again = [table.names[row] for row, one in enumerate(judge_ids) if first_row[one] < row]
    refuse(path, again, "every image must stand once")
    rows = zip(judge_ids, table.labels, table.usage, strict=True)
    graded = [row for row in rows if row[1] and row[2].casefold() != IGNORED]
    if len(graded) < len(judge_ids):
        num = len(judge_ids) - len(graded)
        say(f"{path}: {num:,} of {len(judge_ids):,} lines are ignored or have no label")
    if not graded:
        raise DataError(f"{path}: must hold one line per image, holds none")
    class_of = read_labels_alike(path, competition, dict.fromkeys(label for _, label, _ in graded))
    return Truth(
        {judge_id: class_of[label] for judge_id, label, _ in graded},
        {judge_id: usage for judge_id, _, usage in graded if usage},
    )
