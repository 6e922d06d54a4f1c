"""Labels of the training images, from wherever the competition keeps them."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.competition import (
    Competition,
    CsvLabels,
    FileNameLabels,
    FolderLabels,
    ListFileLabels,
)
from pipeline.errors import DataError


@dataclass
class LabelledImages:
    """What the label source says of the images that were found.

    Attributes:
        labels: Class name by image_id.
        unlabelled: image_ids that the source doesn't mention; they aren't trained on.
        missing: Names that the source mentions but no file has.
        contradictory: image_ids that the source gives two different labels; not trained on.
    """

    labels: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)


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
        found = {image_id: _search(pattern, image_id) for image_id in image_ids}
        return _from_names(competition, found)
    if isinstance(source, FolderLabels):
        found = {image_id: PurePosixPath(image_id).parent.name for image_id in image_ids}
        return _from_names(competition, found)
    path = _find(source.file, source_dirs, competition)
    lines = _list_lines(path, source) if isinstance(source, ListFileLabels) else _csv(path, source)
    named = [
        (name, _class_name(competition, label, source.values, at)) for at, name, label in lines
    ]
    return _join(named, image_ids)


def _search(pattern: re.Pattern[str], image_id: str) -> str:
    match = pattern.search(image_id)
    return match["label"] if match else ""


def _from_names(competition: Competition, found: Mapping[str, str]) -> LabelledImages:
    by_folded = {name.casefold(): name for name in competition.classes}
    images = LabelledImages()
    for image_id, label in found.items():
        name = by_folded.get(label.casefold())
        if name is None:
            images.unlabelled.append(image_id)
        else:
            images.labels[image_id] = name
    return images


def _find(name: str, source_dirs: Iterable[Path], competition: Competition) -> Path:
    folders = list(source_dirs)
    for folder in folders:
        found = sorted(folder.rglob(name))
        if found:
            return found[0]
    raise DataError(
        f"{competition.name}: the label file '{name}' must be in {' or '.join(map(str, folders))}, "
        f"isn't; run 'pipeline download {competition.name}'"
    )


def read_foreign_text(path: Path) -> str:
    """Read text of unknown origin: UTF-8 with or without BOM, or the GB18030 of Chinese Windows.

    Raises:
        DataError: It is neither.
    """
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path}: must be text in UTF-8 or GB18030, is neither; save it as UTF-8")


def _list_lines(path: Path, source: ListFileLabels) -> list[tuple[str, str, str]]:
    lines = []
    for number, line in enumerate(read_foreign_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, separator, label = line.rpartition(source.separator)
        if not separator or not name.strip():
            raise DataError(
                f"{path}: line {number} must be <image>{source.separator!r}<label>, is {line!r}"
            )
        lines.append((f"{path}: line {number}", name.strip(), label.strip()))
    return lines


def _csv(path: Path, source: CsvLabels) -> list[tuple[str, str, str]]:
    reader = csv.DictReader(io.StringIO(read_foreign_text(path), newline=""))
    needed = [source.id_column, source.label_column]
    if not set(needed) <= set(reader.fieldnames or []):
        raise DataError(f"{path}: must have the columns {needed}, has {reader.fieldnames}")
    rows = []
    for row in reader:
        at = f"{path}: line {reader.line_num}"
        name, label = row[source.id_column], row[source.label_column]
        if not name or label is None:
            raise DataError(f"{at} must hold an id and a label, holds {name!r} and {label!r}")
        name += "" if name.endswith(source.extension) else source.extension
        rows.append((at, name, label))
    return rows


def _class_name(competition: Competition, label: str, values: str, at: str) -> str:
    if values == "name":
        if label in competition.classes:
            return label
        raise DataError(f"{at}: the label must be one of {list(competition.classes)}, is '{label}'")
    if label.isascii() and label.isdigit() and int(label) < competition.num_classes:
        return competition.classes[int(label)]
    highest = competition.num_classes - 1
    raise DataError(f"{at}: the label must be a class index from 0 to {highest}, is '{label}'")


def _join(named: list[tuple[str, str]], image_ids: Iterable[str]) -> LabelledImages:
    """Join listed names to images.

    Lists and archives seldom agree on the folders around an image, so a name stands for the image
    that has it as image_id, else for those whose path ends alike, else for those of its file name;
    it counts as missing where they are several.
    """
    ids = list(image_ids)
    by_name: dict[str, list[str]] = {}
    for image_id in ids:
        by_name.setdefault(PurePosixPath(image_id).name, []).append(image_id)
    known = set(ids)
    images = LabelledImages()
    contradictory = set()
    for name, label in named:
        namesakes = by_name.get(PurePosixPath(name).name, [])
        alike = [image_id for image_id in namesakes if _ends_alike(image_id, name)]
        matches = [name] if name in known else alike or namesakes
        if len(matches) != 1:
            images.missing.append(name)
            continue
        image_id = matches[0]
        if images.labels.setdefault(image_id, label) != label:
            contradictory.add(image_id)
    images.contradictory = sorted(contradictory)
    images.labels = {key: name for key, name in images.labels.items() if key not in contradictory}
    images.unlabelled = [
        key for key in ids if key not in images.labels and key not in contradictory
    ]
    return images


def _ends_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((f"/{one}", f"/{other}"), key=len)
    return longer.endswith(shorter)
