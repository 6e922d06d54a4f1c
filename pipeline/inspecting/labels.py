"""Where the labels of the training images stand: in a list, in folders or in file names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline.errors import DataError
from pipeline.inspecting.lists import ForeignList, Ids, find_ids
from pipeline.labels import sorted_names

LABEL_NAMES = ("label", "labels", "class", "target", "category", "breed", "species", "y")
PATTERNS = {
    r"(?:^|/)(?P<label>[^/]*[^/\d._ -])[._ -]*\d+\.[^./]+$": "a label, then a number",
    r"(?:^|/)\d+[._ -]+(?P<label>[^/]*[^/\d._ -])\.[^./]+$": "a number, then a label",
}
MIN_MATCHED = 0.99


@dataclass(frozen=True)
class LabelSource:
    """Where labels stand.

    Attributes:
        keys: The table `[train] labels`; empty where no labels were found.
        why: What told so.
        classes: The class names, in order.
        classes_why: What they were read from.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    classes: tuple[str, ...] = ()
    classes_why: str = ""


def find_labels(lists: Sequence[ForeignList], image_ids: Sequence[str]) -> LabelSource:
    """Find the labels: in the first list that has some, else in folders, else in file names.

    Args:
        lists: Those that may be label lists.
        image_ids: Of the training images.

    Raises:
        DataError: A list has labels but no form that a competition's file can describe.
    """
    for table in lists:
        ids = find_ids(table, image_ids) if table.num_columns > 1 else None
        if ids is not None:
            return _in_list(table, ids)
    return _in_folders(image_ids) or _in_names(image_ids) or LabelSource()


def _in_list(table: ForeignList, ids: Ids) -> LabelSource:
    others = [number for number in range(table.num_columns) if number != ids.column]
    where = f"{table.name} names {ids.num_joined:,} training images"
    if not ids.has_header:
        if (ids.column, others) != (0, [1]):
            raise DataError(
                f"{table.path}: a list without a header must be of lines "
                f"<image><separator><label>, has {table.num_columns} columns; "
                "write a header above them"
            )
        keys = {"source": "list_file", "file": table.name, "separator": table.separator}
        return _with_values(keys, f"{where}, without a header", table.column(1), table.name)
    if table.separator != ",":
        raise DataError(
            f"{table.path}: a list with a header must have commas between its columns, has "
            f"{table.separator!r}; save it as a CSV"
        )
    header, rows = table.rows[0], table.rows[1:]
    keys = {"file": table.name, "id_column": header[ids.column]}
    extension = {"extension": ids.extension} if ids.extension else {}
    marks = [[row[number] for number in others] for row in rows]
    if _are_one_hot(marks):
        classes = tuple(header[number] for number in others)
        keys = {"source": "one_hot", **keys, **extension}
        return LabelSource(keys, f"{where}, each with one 1 among 0s", classes, "the other columns")
    column = _label_column(header, rows, others)
    keys = {"source": "csv", **keys, "label_column": header[column], **extension}
    labels = [row[column] for row in rows]
    return _with_values(
        keys, f"{where}, by their column {header[ids.column]}", labels, header[column]
    )


def _are_one_hot(marks: Sequence[Sequence[str]]) -> bool:
    is_marks = all(mark in ("0", "1", "0.0", "1.0") for row in marks for mark in row)
    return is_marks and all(len(row) > 1 and sum(map(float, row)) == 1 for row in marks)


def _label_column(header: Sequence[str], rows: Sequence[Sequence[str]], others: list[int]) -> int:
    """Choose the column called like one of labels, else that with the fewest values."""
    called = [number for number in others if header[number].lower() in LABEL_NAMES]
    varied = [number for number in others if len({row[number] for row in rows}) > 1]
    return min(called or varied or others, key=lambda one: len({row[one] for row in rows}))


def _with_values(
    keys: Mapping[str, Any], why: str, labels: Sequence[str], where: str
) -> LabelSource:
    """Tell class numbers from names; numbers serve as names until the user writes better ones."""
    classes = sorted_names(labels)
    is_index = list(classes) == [str(number) for number in range(len(classes))]
    values = "index" if is_index else "name"
    told = f"{len(classes)} labels in {where}"
    told += ", numbers: write the classes' names here, in their order" if is_index else ""
    return LabelSource({**keys, "values": values}, why, classes, told)


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
