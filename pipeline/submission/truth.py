"""Read true labels of test images from whatever table a person has of them."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.class_names import classes_of_columns, join_labels
from pipeline.config.competition import Competition
from pipeline.console import say
from pipeline.errors import DataError
from pipeline.store.foreign import saved_rows
from pipeline.store.tables import TRUTH_COLUMNS
from pipeline.submission.answer_checks import normalised, unique_by
from pipeline.submission.faults import shown
from pipeline.submission.truth_labels import (
    class_finder,
    gather_label_rows,
    is_label,
    mark,
    read_label_sets,
    read_labels_alike,
    read_numbers,
    refuse,
)
from pipeline.submission.writer import submission_ids

USAGES = {"public", "private", "ignored"}
IGNORED = "ignored"
Target = int | tuple[int, ...] | tuple[float, ...]
NUM_PROBED = 1000  # rows that tell which of several readings is right


@dataclass(frozen=True)
class Truth:
    """True labels.

    Attributes:
        targets: Class index by the judge's id; of several labels 1 or 0 for each, K of them; the
            number in a tuple, where it is one.
        usage: The part of the score that an image belongs to, "Public" or "Private", by the
            judge's id; empty where the table doesn't say.
        subjects: Of whom or what an image is, by the judge's id, where the table has the column
            that tells it of training images; an image without stands for itself.
    """

    targets: Mapping[str, Target]
    usage: dict[str, str]
    subjects: dict[str, str]


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
    ids = _TestIds(competition, image_ids)
    table = _read_table(path, competition, ids)
    found = {name: ids.find(name) for name in table.names}
    refuse(
        path, [name for name in table.names if found[name] is None], "ids must be of test images"
    )
    judge_ids = [str(found[name]) for name in table.names]
    first_row = {judge_id: row for row, judge_id in reversed(list(enumerate(judge_ids)))}
    again = [table.names[row] for row, one in enumerate(judge_ids) if first_row[one] < row]
    if not table.adds_up:
        refuse(path, again, "every image must stand once")
    rows = zip(judge_ids, table.labels, table.usage, table.subjects, strict=True)
    graded = [row for row in rows if row[1] and row[2].casefold() != IGNORED]
    if len(graded) < len(judge_ids):
        num = len(judge_ids) - len(graded)
        say(f"{path}: {num:,} of {len(judge_ids):,} lines are ignored or have no label")
    if not graded:
        raise DataError(f"{path}: must hold one line per image, holds none")
    labels = dict.fromkeys(label for _, label, _, _ in graded)
    class_of = _meanings(path, competition, labels)
    return Truth(
        _added_up((judge_id, class_of[label]) for judge_id, label, _, _ in graded),
        {judge_id: usage for judge_id, _, usage, _ in graded if usage},
        {judge_id: subject for judge_id, _, _, subject in graded if subject},
    )


def _added_up(pairs: Iterable[tuple[str, Target]]) -> dict[str, Target]:
    """Gather what an image is by its judge's id; labels that stand in several lines add up."""
    targets: dict[str, Target] = {}
    for judge_id, one in pairs:
        target = one
        known = targets.get(judge_id)
        if isinstance(known, tuple) and isinstance(target, tuple):
            target = tuple(map(max, known, target))
        targets[judge_id] = target
    return targets


def _meanings(
    path: Path, competition: Competition, labels: Collection[str]
) -> Mapping[str, Target]:
    if competition.is_number:
        return read_numbers(path, labels)
    if competition.has_several:
        return read_label_sets(path, competition, labels)
    return read_labels_alike(path, competition, labels)


class _TestIds:
    """Test images by whatever name a person has for them."""

    def __init__(self, competition: Competition, image_ids: Sequence[str]) -> None:
        judge_ids = submission_ids(competition.submission, image_ids)
        by_image_id = dict(zip(image_ids, judge_ids, strict=True))
        by_name = unique_by(lambda key: PurePosixPath(key).name, by_image_id.items())
        # The judge's id comes last: it wins if it is the name of another image.
        self._known = by_name | by_image_id | {one: one for one in judge_ids}
        self._alike = unique_by(normalised, self._known.items())

    def find(self, name: str) -> str | None:
        """Return the judge's id; None for what is no test image, or could be several."""
        return self._known.get(name) or self._alike.get(normalised(name))

    def num_known(self, rows: Sequence[Sequence[str]], column: int) -> int:
        """Count the test images that a column names."""
        found = {self.find(row[column]) for row in rows[:NUM_PROBED] if column < len(row)}
        return len(found - {None})


@dataclass(frozen=True)
class _Table:
    """What a table says of each image, as it is written.

    Attributes:
        names: What the images are called.
        labels: Their labels; a class's name where each class has a column.
        usage: The part of the score that they belong to; empty where the table doesn't say.
        subjects: Of whom or what they are; empty where the table doesn't say.
        adds_up: Whether an image's labels may stand in several lines, one in each.
    """

    names: list[str]
    labels: list[str]
    usage: list[str]
    subjects: list[str]
    adds_up: bool


def _read_table(path: Path, competition: Competition, ids: _TestIds) -> _Table:
    """Read a table of true labels, however it was saved.

    Raises:
        DataError: It is missing, empty or no such table.
    """
    rows = gather_label_rows(path, competition, _best_reading(path, competition, ids))
    if not rows:
        raise DataError(f"{path}: must hold one line per image, holds none")
    width = max(len(rows[0]), 2)
    odd = [",".join(row) for row in rows if len(row) != width]
    form = "be <id>,<label>" if width == 2 else f"have {width} fields"
    refuse(path, odd, f"lines must {form}")
    columns = range(width)
    key = max(columns, key=lambda column: ids.num_known(rows, column))
    header = rows[0] if _is_header(competition, rows[0], key, ids) else None
    rows = rows[1:] if header else rows
    if header:
        key = _named_key(competition, header, rows, key, ids)
    values = {column: [row[column] for row in rows] for column in columns}
    others = [column for column in columns if column != key]
    usage = next((one for one in others if _is_usage(header, one, values[one])), None)
    subject = next((one for one in others if _is_subject(competition, header, one)), None)
    others = [column for column in others if column not in (usage, subject)]
    marked = _columns_of_classes(competition, header, others) if header else {}
    labels = (
        [_marked(path, competition, row, marked) for row in rows]
        if marked
        else values[_label_column(path, competition, header, values, others)]
    )
    usages, subjects = (
        values[column] if column is not None else [""] * len(rows) for column in (usage, subject)
    )
    adds_up = competition.has_several and not marked
    return _Table(values[key], labels, usages, subjects, adds_up)


def _best_reading(path: Path, competition: Competition, ids: _TestIds) -> list[list[str]]:
    """Read the file in the way in which most test images are named, and most labels are known."""
    try:
        readings = [
            [[field.strip() for field in fields] for _, fields in rows] for rows in saved_rows(path)
        ]
    except OSError as error:
        raise DataError(f"{path}: must be a readable file ({error.strerror})") from error
    except csv.Error as error:
        raise DataError(f"{path}: must be a CSV ({error})") from error
    if not readings:
        raise DataError(f"{path}: must be text, isn't; save it as UTF-8")

    spelled = {*competition.classes, *competition.train.labels.names}

    def num_named(rows: list[list[str]]) -> tuple[int, bool, bool, int]:
        probed = rows[:NUM_PROBED]
        widths = {len(row) for row in probed}
        width = max(widths, default=0)
        named = max((ids.num_known(rows, column) for column in range(width)), default=0)
        labels = sum(field in spelled for row in probed for field in row)
        return (named if width > 1 else 0), len(widths) == 1, width > 1, labels

    return max(readings, key=num_named)


def _is_header(competition: Competition, first: list[str], key: int, ids: _TestIds) -> bool:
    """Whether the first line names no test image, and columns rather than a label."""
    if tuple(first) in (competition.columns, tuple(TRUTH_COLUMNS)):
        return True
    others = [field for column, field in enumerate(first) if column != key]
    if ids.find(first[key]) is not None:
        return False
    if _columns_of_classes(competition, first, [one for one in range(len(first)) if one != key]):
        return True
    return not any(is_label(competition, field) for field in others)


def _named_key(
    competition: Competition, header: list[str], rows: list[list[str]], key: int, ids: _TestIds
) -> int:
    """Take the column that has the ids' name, if it names as many images as the fullest one."""
    wanted = {competition.columns[0].casefold(), TRUTH_COLUMNS[0]}
    named = [column for column, name in enumerate(header) if name.casefold() in wanted]
    most = ids.num_known(rows, key)
    return next((column for column in named if ids.num_known(rows, column) == most), key)


def _is_usage(header: list[str] | None, column: int, values: list[str]) -> bool:
    if header is not None and header[column].casefold() == "usage":
        return True
    return bool(values) and {value.casefold() for value in values} <= set(USAGES)


def _is_subject(competition: Competition, header: list[str] | None, column: int) -> bool:
    """Whether a column is called as the one that says of whom training images are."""
    groups = competition.train.groups
    return header is not None and groups is not None and header[column] == groups.column


def _columns_of_classes(
    competition: Competition, header: list[str], columns: list[int]
) -> dict[int, int]:
    """Return the class index of each column that is one class's; none where not all have one."""
    if tuple(header) == competition.columns and competition.submission.label == "probabilities":
        return dict(zip(columns, competition.column_classes, strict=True))
    if competition.is_number:
        return {}
    find, classes = class_finder(competition), competition.classes
    places = {column: find(header[column]) for column in columns}
    called = {column: classes[place] for column, place in places.items() if place is not None}
    for some in (columns, list(called)):
        found = classes_of_columns([called.get(one, header[one]) for one in some], classes)
        if found is not None and len(found) == competition.num_classes:
            return dict(zip(some, found, strict=True))
    return {}


def _marked(path: Path, competition: Competition, row: list[str], classes: dict[int, int]) -> str:
    """Return the name of the one class that is marked; or all that are, of several labels."""
    marks = {index: mark(row[column]) for column, index in classes.items()}
    marked = [index for index, found in marks.items() if found == 1]
    if competition.has_several and set(marks.values()) <= {0, 1}:
        return join_labels(competition.classes[index] for index in sorted(marked))
    if len(marked) != 1 or set(marks.values()) != {0, 1}:
        raise DataError(
            f"{path}: a line must have 1 in the column of one class and 0 in the others, has "
            f"{shown(','.join(row))}"
        )
    return competition.classes[marked[0]]


def _label_column(
    path: Path,
    competition: Competition,
    header: list[str] | None,
    values: dict[int, list[str]],
    columns: list[int],
) -> int:
    """Find the column of labels: the only one, else that of its name, else the only one of them."""
    if len(columns) == 1:
        return columns[0]
    fitting = [
        column
        for column in columns
        if any(values[column]) and all(is_label(competition, one) for one in {*values[column]})
    ]
    if header is not None:
        wanted = {TRUTH_COLUMNS[1], competition.columns[1].casefold()}
        named = [column for column in columns if header[column].casefold() in wanted]
        fitting = named if len(named) == 1 else fitting
    if len(fitting) == 1:
        return fitting[0]
    names = [header[column] if header else f"column {column + 1}" for column in columns]
    raise DataError(
        f"{path}: one column must hold labels, {len(fitting)} of {', '.join(names)} do; name it "
        f"'{TRUTH_COLUMNS[1]}'"
    )
