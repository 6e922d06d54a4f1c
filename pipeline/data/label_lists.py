"""Read label files: the label of each image, and the line where it stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.config.class_names import ClassLookup, as_number
from pipeline.config.labels_table import CsvLabels, ListFileLabels, OneHotLabels
from pipeline.errors import DataError
from pipeline.store.foreign import ForeignCsv, read_foreign_csv, read_foreign_text

ListedSource = ListFileLabels | CsvLabels | OneHotLabels
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
    path: Path, source: ListedSource, classes: tuple[str, ...], known: str = ""
) -> list[Listed]:
    """Read a label file; a one-hot row becomes the name of its class.

    Args:
        path: The file.
        source: How it is laid out.
        classes: The class names; empty where they are still to be read from it.
        known: Names of images, by which its encoding is told, see `unusual_names`.

    Raises:
        DataError: The file is malformed.
    """
    if isinstance(source, ListFileLabels):
        return _list_lines(path, source, read_foreign_text(path, known))
    table = read_foreign_csv(path, source.separator, known)
    return (
        _csv(table, source) if isinstance(source, CsvLabels) else _one_hot(table, source, classes)
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


def _list_lines(path: Path, source: ListFileLabels, text: str) -> list[Listed]:
    image, label = map(source.columns.index, ("image", "label"))
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


def _cut(line: str, source: ListFileLabels) -> list[str]:
    """Cut from both ends: what is left in the middle is the image's name, whatever it holds."""
    separator = None if source.separator == " " else source.separator
    num_before = source.columns.index("image")
    num_after = len(source.columns) - num_before - 1
    *before, rest = line.strip(" ").split(separator, num_before)
    return [*before, *(rest.rsplit(separator, num_after) if num_after else [rest])]


def _csv(table: ForeignCsv, source: CsvLabels) -> list[Listed]:
    rows = []
    for line, (name, label) in table.columns([source.id_column, source.label_column]):
        at = f"{table.path}: line {line}"
        if not name:
            raise DataError(f"{at} must hold an id and a label, holds {name!r} and {label!r}")
        rows.append(Listed(at, with_extension(name, source.extension), label))
    return rows


def _one_hot(table: ForeignCsv, source: OneHotLabels, classes: tuple[str, ...]) -> list[Listed]:
    names = classes or tuple(name for name in table.header if name != source.id_column)
    rows = []
    for line, (image, *marks) in table.columns([source.id_column, *_columns_of(table, names)]):
        at = f"{table.path}: line {line}"
        marked = marked_columns(marks) if any(marks) else []
        if not image or marked is None or len(marked) != any(marks):
            raise DataError(
                f"{at} must hold an id, 1 for one class and 0 for the others, holds {image!r} "
                f"and {', '.join(marks)}"
            )
        label = names[marked[0]] if marked else ""
        rows.append(Listed(at, with_extension(image, source.extension), label))
    return rows


def _columns_of(table: ForeignCsv, classes: Sequence[str]) -> list[str]:
    """Name each class's column as the header writes it."""
    lookup = ClassLookup(table.header)
    places = [lookup.find(name) for name in classes]
    return [
        name if place is None else table.header[place]
        for name, place in zip(classes, places, strict=True)
    ]
