"""Read the labels of the training images from wherever the competition keeps them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.config.competition import Competition
from pipeline.config.labels_table import (
    CsvLabels,
    FileNameLabels,
    FolderLabels,
    ListFileLabels,
    OneHotLabels,
    tells_names,
)
from pipeline.data.joining import NameJoin
from pipeline.errors import DataError
from pipeline.store.folders import find_file
from pipeline.store.foreign import read_foreign_csv, read_foreign_text

LONGEST_INDEX = 9  # digits

# A row of a label file: its place, for errors; image; label as it is written.
Listed = tuple[str, str, str]


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


@dataclass
class LabelledImages:
    """The labels of the images that were found, and what the label source lacks or contradicts.

    Attributes:
        labels: Class name by image_id.
        unlabelled: image_ids that the source doesn't mention; they aren't trained on.
        missing: Names that the source mentions but no file has.
        contradictory: image_ids that the source gives two different labels; not trained on.
        classes: The class names, where the competition leaves them to the labels.
    """

    labels: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()


def read_labels(
    competition: Competition, image_ids: Iterable[str], source_dirs: Iterable[Path]
) -> LabelledImages:
    """Find the label of every training image.

    Args:
        competition: Says where labels stand and which classes there are.
        image_ids: The images found, keys as `find_images` forms them.
        source_dirs: Folders that may hold the label file, searched in order.

    Raises:
        DataError: The label file is missing or malformed, or a label isn't one of the classes.
    """
    source = competition.train.labels
    if isinstance(source, FileNameLabels):
        pattern = re.compile(source.pattern, re.IGNORECASE)
        return _from_names(competition, {image: _search(pattern, image) for image in image_ids})
    if isinstance(source, FolderLabels):
        parents = {image_id: PurePosixPath(image_id).parent.name for image_id in image_ids}
        return _from_names(competition, parents)
    path = find_listing(competition, source.file, source_dirs)
    listed = listed_labels(path, source, competition.classes)
    classes = competition.classes or sorted_names(label for _, _, label in listed)
    class_of = _named if tells_names(source) else _indexed
    named = [(name, class_of(classes, label, at)) for at, name, label in listed]
    images = _join(named, image_ids)
    images.classes = () if competition.classes else classes
    return images


def find_listing(competition: Competition, name: str, source_dirs: Iterable[Path]) -> Path:
    """Find a file that lists images or labels.

    Raises:
        DataError: It isn't there.
    """
    folders = list(source_dirs)
    found = find_file(name, folders)
    if found is None:
        raise DataError(
            f"{competition.name}: the file '{name}' must be in {' or '.join(map(str, folders))}, "
            f"is missing; run 'pipeline download {competition.name}'"
        )
    return found


def _search(pattern: re.Pattern[str], image_id: str) -> str:
    match = pattern.search(image_id)
    return match["label"] if match else ""


def sorted_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort the labels that occur, as numbers where all of them are."""
    names = set(labels)
    are_numbers = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(sorted(names), key=_size) if are_numbers else sorted(names))


def _size(digits: str) -> tuple[int, str]:
    """Order numbers however long they are."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _from_names(competition: Competition, found: Mapping[str, str]) -> LabelledImages:
    """Take labels out of paths, where upper and lower case are often mixed."""
    by_folded = {name.casefold(): name for name in competition.classes}
    images = LabelledImages()
    if not competition.classes:
        by_folded = {label.casefold(): label for label in found.values() if label}
        images.classes = sorted_names(by_folded.values())
    for image_id, label in found.items():
        name = by_folded.get(label.casefold())
        if name is None:
            images.unlabelled.append(image_id)
        else:
            images.labels[image_id] = name
    return images


def _named(classes: tuple[str, ...], label: str, at: str) -> str:
    if label in classes:
        return label
    raise DataError(f"{at}: the label must be one of {list(classes)}, is '{label}'")


def _indexed(classes: tuple[str, ...], label: str, at: str) -> str:
    is_index = label.isascii() and label.isdigit() and len(label) <= LONGEST_INDEX
    if is_index and int(label) < len(classes):
        return classes[int(label)]
    highest = len(classes) - 1
    raise DataError(f"{at}: the label must be a class index from 0 to {highest}, is '{label}'")


def _join(named: list[tuple[str, str]], image_ids: Iterable[str]) -> LabelledImages:
    ids = list(image_ids)
    join = NameJoin(ids)
    images = LabelledImages()
    contradictory = set()
    for name, label in named:
        image_id = join.find(name)
        if image_id is None:
            images.missing.append(name)
        elif images.labels.setdefault(image_id, label) != label:
            contradictory.add(image_id)
    images.contradictory = sorted(contradictory)
    images.labels = {key: name for key, name in images.labels.items() if key not in contradictory}
    images.unlabelled = [
        key for key in ids if key not in images.labels and key not in contradictory
    ]
    return images
