"""Label files taken apart: which image has which label, and where that stands."""

from pathlib import Path

from pipeline.errors import DataError
from pipeline.files.foreign import read_foreign_csv, read_foreign_text
from pipeline.schema.labels import CsvLabels, ListFileLabels, OneHotLabels

Listed = tuple[str, str, str]  # place for errors, image, label as it is written


def listed_labels(
    path: Path, source: ListFileLabels | CsvLabels | OneHotLabels, classes: tuple[str, ...]
) -> list[Listed]:
    """Read a label file; a one-hot row becomes the name of its class.

    Args:
        path: The file.
        source: How it is laid out.
        classes: The class names; empty where they are still to be read from it.

    Raises:
        DataError: The file is malformed.
    """
    if isinstance(source, ListFileLabels):
        return _list_lines(path, source)
    return _csv(path, source) if isinstance(source, CsvLabels) else _one_hot(path, source, classes)


def with_extension(name: str, extension: str) -> str:
    """Add an extension to a name that lacks it, in capitals or not."""
    return name if name.lower().endswith(extension.lower()) else name + extension


def _list_lines(path: Path, source: ListFileLabels) -> list[Listed]:
    image, label = map(source.columns.index, ("image", "label"))
    lines = []
    for number, line in enumerate(read_foreign_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in _cut(line, source)]
        at = f"{path}: line {number}"
        if len(fields) != len(source.columns) or not fields[image]:
            form = repr(source.separator).join(f"<{column}>" for column in source.columns)
            raise DataError(f"{at} must be {form}, is {line!r}")
        lines.append((at, fields[image], fields[label]))
    return lines


def _cut(line: str, source: ListFileLabels) -> list[str]:
    """Cut from both ends: what is left in the middle is the image's name, whatever it holds."""
    num_before = source.columns.index("image")
    num_after = len(source.columns) - num_before - 1
    *before, rest = line.strip(" ").split(source.separator, num_before)
    return [*before, *(rest.rsplit(source.separator, num_after) if num_after else [rest])]


def _csv(path: Path, source: CsvLabels) -> list[Listed]:
    rows = []
    for line, (name, label) in read_foreign_csv(path, source.separator).columns(
        [source.id_column, source.label_column]
    ):
        at = f"{path}: line {line}"
        if not name or not label:
            raise DataError(f"{at} must hold an id and a label, holds {name!r} and {label!r}")
        rows.append((at, with_extension(name, source.extension), label))
    return rows


def _one_hot(path: Path, source: OneHotLabels, classes: tuple[str, ...]) -> list[Listed]:
    table = read_foreign_csv(path, source.separator)
    names = classes or tuple(name for name in table.header if name != source.id_column)
    rows = []
    for line, (image, *marks) in table.columns([source.id_column, *names]):
        at = f"{path}: line {line}"
        marked = [name for name, mark in zip(names, marks, strict=True) if mark in ("1", "1.0")]
        is_marked_otherwise = any(mark not in ("0", "0.0", "1", "1.0") for mark in marks)
        if not image or len(marked) != 1 or is_marked_otherwise:
            raise DataError(
                f"{at} must hold an id, 1 for one class and 0 for the others, holds {image!r} "
                f"and {', '.join(marks)}"
            )
        rows.append((at, with_extension(image, source.extension), marked[0]))
    return rows
