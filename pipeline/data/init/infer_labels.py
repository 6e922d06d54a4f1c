"""Find the labels of the training images: in a list, in folders or in file names."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from pipeline.data.init.user_lists import ForeignList, Ids, find_ids
from pipeline.data.labels import sorted_names

LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "target",
    "category",
    "breed",
    "species",
    "y",
    "标签",
    "类别",
)
LIST_NAME = re.compile(r"label|train|truth|annot|标签|标注", re.IGNORECASE)
PATTERNS = {
    r"(?:^|/)(?P<label>[^/]*[^/\d._ -])[._ -]*\d+\.[^./]+$": "a label, then a number",
    r"(?:^|/)\d+[._ -]+(?P<label>[^/]*[^/\d._ -])\.[^./]+$": "a number, then a label",
}
MIN_MATCHED = 0.99


@dataclass(frozen=True)
class LabelSource:
    """The place where labels stand, and the classes.

    Attributes:
        keys: The table `[train] labels`; empty where no labels were found.
        why: What it was inferred from.
        classes: The class names, in order.
        classes_why: What they were read from.
        is_certain: Whether nothing else may hold them as well.
        images: image_ids that a list gives labels to; none where labels stand elsewhere.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    classes: tuple[str, ...] = ()
    classes_why: str = ""
    is_certain: bool = True
    images: frozenset[str] = frozenset()


def find_labels(
    lists: Sequence[ForeignList], image_ids: Sequence[str], answered: str = ""
) -> LabelSource:
    """Find the labels: in a list that has some, else in folders, else in file names.

    Args:
        lists: Those that may be label lists.
        image_ids: Of the training images.
        answered: What the sample submission calls its answers, as the labels may be called.
    """
    names = {answered.lower(), *LABEL_NAMES} - {""}
    found = [
        (table, ids)
        for table in lists
        if table.num_columns > 1 and (ids := find_ids(table, image_ids)) is not None
    ]
    if not found:
        return _in_folders(image_ids) or _in_names(image_ids) or LabelSource()
    found.sort(key=lambda one: _likeliness(one[0], one[1], names), reverse=True)
    source = replace(_in_list(*found[0], names), images=found[0][1].images)
    return _with_doubt(source, [f"in {table.name}" for table, _ in found[1:]])


def _likeliness(table: ForeignList, ids: Ids, names: Set[str]) -> tuple[int, bool, int]:
    """Rank a list of training images by how much it looks like one of labels."""
    header = {name.lower() for name in table.rows[0]} if ids.has_header else set()
    return len(header & names), bool(LIST_NAME.search(table.name)), ids.num_joined


def _in_list(table: ForeignList, ids: Ids, names: Set[str]) -> LabelSource:
    others = [number for number in range(table.num_columns) if number != ids.column]
    where = f"{table.name} names {ids.num_joined:,} training images"
    if not ids.has_header:
        return _in_lines(table, ids, others, f"{where}, without a header")
    header, rows = table.rows[0], table.rows[1:]
    extension = {"extension": ids.extension} if ids.extension else {}
    keys = {"file": table.name, "id_column": header[ids.column], **table.form, **extension}
    marks = [[row[number] for number in others] for row in rows]
    if _are_one_hot(marks):
        classes = tuple(header[number] for number in others)
        keys = {"source": "one_hot", **keys}
        return LabelSource(keys, f"{where}, each with one 1 among 0s", classes, "the other columns")
    column = _label_column(rows, others, [n for n in others if header[n].lower() in names])
    keys = {"source": "csv", **keys, "label_column": header[column]}
    labels = [row[column] for row in rows]
    why = f"{where}, by their column {header[ids.column]}"
    source = _with_values(keys, why, labels, header[column])
    likely = [number for number in _varied(rows, others) if header[number] and number != column]
    is_called = header[column].lower() in names
    return _with_doubt(source, [] if is_called else [f"in '{header[number]}'" for number in likely])


def _with_doubt(source: LabelSource, places: Sequence[str]) -> LabelSource:
    if not places:
        return source
    why = f"{source.why}; labels may also stand {', '.join(places)}"
    return replace(source, why=why, is_certain=False)


def _in_lines(table: ForeignList, ids: Ids, others: list[int], why: str) -> LabelSource:
    column = _label_column(table.rows, others, [])
    roles = {ids.column: "image", column: "label"}
    columns = [roles.get(number, "other") for number in range(table.num_columns)]
    keys: dict[str, Any] = {"source": "list_file", "file": table.name}
    keys["separator"] = table.separator
    if columns != ["image", "label"]:
        keys["columns"] = columns
    return _with_values(keys, why, table.column(column), table.name)


def _are_one_hot(marks: Sequence[Sequence[str]]) -> bool:
    is_marks = all(mark in ("0", "1", "0.0", "1.0") for row in marks for mark in row)
    return is_marks and all(len(row) > 1 and sum(map(float, row)) == 1 for row in marks)


def _label_column(rows: Sequence[Sequence[str]], others: list[int], called: list[int]) -> int:
    """Choose a column called like one of labels, else that with the fewest values."""
    likely = called or _varied(rows, others) or others
    return min(likely, key=lambda one: len({row[one] for row in rows}))


def _varied(rows: Sequence[Sequence[str]], columns: Iterable[int]) -> list[int]:
    """Keep the columns that tell some images apart, but not every one from all others."""
    return [number for number in columns if 1 < len({row[number] for row in rows}) < len(rows)]


def _with_values(
    keys: Mapping[str, Any], why: str, labels: Sequence[str], where: str
) -> LabelSource:
    """Tell class numbers from names; numbers serve as names until the user writes better ones."""
    classes = sorted_names(labels)
    is_index = list(classes) == [str(number) for number in range(len(classes))]
    values = "index" if is_index else "name"
    found = f"{len(classes)} labels in {where}"
    found += ", numbers: write the classes' names here, in their order" if is_index else ""
    return LabelSource({**keys, "values": values}, why, classes, found)


def _in_folders(image_ids: Sequence[str]) -> LabelSource | None:
    parents = {PurePosixPath(image_id).parent.name for image_id in image_ids}
    if "" in parents or len(parents) < 2:
        return None
    why = f"{len(image_ids):,} training images lie in {len(parents)} folders"
    return LabelSource({"source": "folder"}, why, sorted_names(parents), "the folders' names")


def _in_names(image_ids: Sequence[str]) -> LabelSource | None:
    for pattern, form in PATTERNS.items():
        matches = [re.search(pattern, image_id) for image_id in image_ids]
        labels = {match["label"].casefold(): match["label"] for match in matches if match}
        num_matched = sum(match is not None for match in matches)
        is_label = 2 <= len(labels) <= len(image_ids) / 2
        if is_label and num_matched >= MIN_MATCHED * len(image_ids):
            why = f"{num_matched:,} of {len(image_ids):,} names are {form}"
            keys = {"source": "file_name", "pattern": pattern}
            return LabelSource(keys, why, sorted_names(labels.values()), "the file names")
    return None
