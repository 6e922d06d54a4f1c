"""Read label files and other lists: what each says of an image, and where it stands."""

import csv
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config.class_names import ClassLookup, as_number, join_labels, split_row_id
from pipeline.config.labels_table import (
    CocoLabels,
    CsvLabels,
    LabelRowLabels,
    ListFileLabels,
    OneHotLabels,
)
from pipeline.errors import DataError
from pipeline.store.foreign import ForeignCsv, read_foreign_csv, read_foreign_text

ListedSource = ListFileLabels | CsvLabels | OneHotLabels | LabelRowLabels | CocoLabels
WORDS = {"true": True, "false": False}


class Listed(NamedTuple):
    """A line of a label file.

    Attributes:
        at: Its place, for errors.
        image: What it calls the image.
        label: As it is written; empty where the line has none.
    """

    at: str
    image: str
    label: str


def listed_labels(
    path: Path,
    source: ListedSource,
    classes: tuple[str, ...],
    known: str = "",
    *,
    has_several: bool = False,
) -> list[Listed]:
    """Read a label file; a one-hot row becomes the name of its class.

    Args:
        path: The file.
        source: How it is laid out.
        classes: The class names; empty where they are still to be read from it.
        known: Names of images, by which its encoding is told, see `unusual_names`.
        has_several: Whether an image may have several labels, marked or in one column; they become
            one text, see `join_labels`.

    Raises:
        DataError: The file is malformed.
    """
    if isinstance(source, ListFileLabels):
        return _list_lines(path, source, read_foreign_text(path, known))
    if isinstance(source, CocoLabels):
        return _coco(path, source)
    table = read_foreign_csv(path, source.separator, known)
    if isinstance(source, LabelRowLabels):
        return _label_rows(table, source, classes)
    return (
        _csv(table, source, has_several=has_several)
        if isinstance(source, CsvLabels)
        else _one_hot(table, source, classes, has_several=has_several)
    )


def with_extension(name: str, extension: str) -> str:
    """Add an extension to a name that lacks it, in capitals or not."""
    return name if name.lower().endswith(extension.lower()) else name + extension


def marked_columns(marks: Sequence[str]) -> list[int] | None:
    """Find the columns that a one-hot row marks, by 1 or True among 0 or False.

    Returns:
        Their places; None where something else stands in the row.
    """
    values = [_mark(text) for text in marks]
    return None if None in values else [place for place, value in enumerate(values) if value]


def _mark(text: str) -> bool | None:
    number = as_number(text)
    if number is None:
        return WORDS.get(text.casefold())
    return bool(number) if number in (0, 1) else None


def _list_lines(
    path: Path, source: ListFileLabels, text: str, column: str = "label"
) -> list[Listed]:
    image, label = map(source.columns.index, ("image", column))
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in _cut(line, source)]
        at = f"{path}: line {number}"
        if len(fields) != len(source.columns) or not fields[image]:
            form = repr(source.separator).join(f"<{column}>" for column in source.columns)
            raise DataError(f"{at} must be {form}, is {line!r}")
        lines.append(Listed(at, fields[image], fields[label]))
    return lines


def listed_column(path: Path, source: ListFileLabels, column: str, known: str = "") -> list[Listed]:
    """Read another column of a list of labels than that of the labels.

    Raises:
        DataError: The file is malformed.
    """
    return _list_lines(path, source, read_foreign_text(path, known), column)


def _cut(line: str, source: ListFileLabels) -> list[str]:
    """Cut from both ends: what is left in the middle is the image's name, whatever it holds."""
    separator = None if source.separator == " " else source.separator
    if '"' in line and len(source.separator) == 1:
        with suppress(csv.Error, StopIteration):  # else the quotes are the name's
            fields = next(csv.reader([line.strip(" ")], delimiter=source.separator))
            if len(fields) == len(source.columns):
                return fields
    num_before = source.columns.index("image")
    num_after = len(source.columns) - num_before - 1
    *before, rest = line.strip(" ").split(separator, num_before)
    return [*before, *(rest.rsplit(separator, num_after) if num_after else [rest])]


def _csv(table: ForeignCsv, source: CsvLabels, *, has_several: bool) -> list[Listed]:
    rows = []
    for line, (name, label) in table.columns([source.id_column, source.label_column]):
        at = f"{table.path}: line {line}"
        if not name:
            raise DataError(f"{at} must hold an id and a label, holds {name!r} and {label!r}")
        label = join_labels(cut_labels(label, source)) if has_several and label else label
        rows.append(Listed(at, with_extension(name, source.extension), label))
    return rows


def cut_labels(text: str, source: CsvLabels) -> list[str]:
    """Cut what a list writes of an image into its labels."""
    separator = None if source.label_separator == " " else source.label_separator
    return [name for one in text.split(separator) if (name := one.strip())]


def _one_hot(
    table: ForeignCsv, source: OneHotLabels, classes: tuple[str, ...], *, has_several: bool
) -> list[Listed]:
    names = classes or tuple(name for name in table.header if name != source.id_column)
    rows = []
    for line, (image, *marks) in table.columns([source.id_column, *_columns_of(table, names)]):
        at = f"{table.path}: line {line}"
        marked = marked_columns(marks) if any(marks) else []
        is_one = marked is not None and len(marked) == any(marks)
        if not image or marked is None or not (is_one or has_several):
            number = "any number of classes" if has_several else "one class"
            raise DataError(
                f"{at} must hold an id, 1 for {number} and 0 for the others, holds {image!r} "
                f"and {', '.join(marks)}"
            )
        label = names[marked[0]] if marked else ""
        if has_several and any(marks):
            label = join_labels(names[place] for place in marked)
        rows.append(Listed(at, with_extension(image, source.extension), label))
    return rows


def _label_rows(
    table: ForeignCsv, source: LabelRowLabels, classes: tuple[str, ...]
) -> list[Listed]:
    """Gather the lines of an image, of which each says yes or no of a class."""
    names_of: dict[str, list[str]] = {}
    at: dict[str, str] = {}
    said: dict[str, bool] = {}
    for line, (row_id, text) in table.columns([source.id_column, source.label_column]):
        found, value = split_row_id(source.row_id, row_id, classes), _mark(text)
        where = f"{table.path}: line {line}"
        if found is None or value is None:
            raise DataError(
                f"{where} must hold the id of an image and a class as '{source.row_id}', and 1 or "
                f"0, holds {row_id!r} and {text!r}"
            )
        if said.setdefault(row_id, value) != value:
            raise DataError(
                f"{where} must say of {row_id!r} what another line does, says otherwise"
            )
        image, place = found
        at.setdefault(image, where)
        names_of.setdefault(image, []).extend([classes[place]] * value)
    joined = {image: join_labels(dict.fromkeys(names)) for image, names in names_of.items()}
    return [
        Listed(at[image], with_extension(image, source.extension), label)
        for image, label in joined.items()
    ]


def _columns_of(table: ForeignCsv, classes: Sequence[str]) -> list[str]:
    """Name each class's column as the header writes it."""
    lookup = ClassLookup(table.header)
    places = [lookup.find(name) for name in classes]
    return [
        name if place is None else table.header[place]
        for name, place in zip(classes, places, strict=True)
    ]


def read_listing(path: Path, separator: str, known: str = "") -> ForeignCsv:
    """Read a CSV with a header, or the images that a JSON file lists as the rows of one.

    Raises:
        DataError: It is neither.
    """
    if path.suffix.lower() != ".json":
        return read_foreign_csv(path, separator, known)
    content = load_json(path)
    images = content if isinstance(content, list) else _objects(path, content, "images")
    if not all(isinstance(image, dict) for image in images):
        raise DataError(f"{path}: must be a list of objects, one per image, holds others")
    return ForeignCsv(path, list(enumerate(rows_of_objects(images))))


def rows_of_objects(objects: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Make a table of objects in JSON: all keys, then what each object has of them."""
    keys = list(dict.fromkeys(key for one in objects for key in one))
    return [keys, *([str(one.get(key, "")) for key in keys] for one in objects)]


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It is none, or can't be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be a JSON file, cannot be read ({error})") from error


def _objects(path: Path, content: Any, name: str) -> list[dict[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{path}: must hold '{name}', a list of objects, holds none")
    return found


def _coco(path: Path, source: CocoLabels) -> list[Listed]:
    content = load_json(path)
    file_of = _by_id(path, content, "images", "image_id", ("file_name",))
    name_of: dict[str, Any] = {}
    if source.label == "name":
        keys = ("name", "scientificName")
        name_of = _by_id(path, content, "categories", "category_id", keys)
    lines = []
    for number, one in enumerate(_objects(path, content, "annotations")):
        at = f"{path}: annotations[{number}]"
        file, label = file_of.get(str(one.get("image_id"))), one.get("category_id")
        if source.label == "name":
            label = name_of.get(str(label))
        if not isinstance(file, str) or not file or not isinstance(label, str | int):
            raise DataError(f"{at} must name an image and a category of the file, is {one}")
        lines.append(Listed(at, file, str(label)))
    return lines


def _by_id(path: Path, content: Any, kind: str, id_key: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return the first value of objects that is there, by id; some files call it as `id_key`."""
    found: dict[str, Any] = {}
    for one in _objects(path, content, kind):
        key = one.get("id", one.get(id_key))
        if not isinstance(key, str | int):
            raise DataError(f"{path}: every image and category must have an id, {one} has none")
        value = next((one[name] for name in keys if name in one), None)
        if found.setdefault(str(key), value) != value:
            raise DataError(
                f"{path}: {kind} must have ids of their own, '{key}' is '{found[str(key)]}' and "
                f"'{value}'"
            )
    return found
