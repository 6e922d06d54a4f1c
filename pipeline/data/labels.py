"""Read the labels of the training images from wherever the competition keeps them."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.config.class_names import (
    NO_NUMBER,
    ClassLookup,
    as_integer,
    as_number,
    join_labels,
    names_in,
    split_labels,
)
from pipeline.config.competition import Competition
from pipeline.config.labels_table import (
    FileNameLabels,
    FolderLabels,
    Labels,
    label_files,
    tells_names,
)
from pipeline.data.joining import Joined, NameJoin, join_names, named_in_paths, names_beside
from pipeline.data.label_lists import Listed, ListedSource, listed_labels
from pipeline.errors import DataError
from pipeline.store.folders import find_file
from pipeline.store.foreign import unusual_names

# Strays are common; a larger share of labels that are lost comes of a mistake.
MOST_LOST = 0.01

ClassOf = Callable[[str, str], str]  # a label, and where it stands → the class's name


@dataclass
class LabelledImages:
    """The labels of the images that were found, and what the label source lacks or contradicts.

    Attributes:
        labels: Class name by image_id.
        unlabelled: image_ids that the source doesn't mention; they aren't trained on.
        missing: Names that the source mentions but no file has, or no single one.
        contradictory: image_ids that the source gives two different labels; not trained on.
        empty: image_ids that the source mentions without a label; not trained on.
        respelled: image_id by the name that the source has for it, where that is written otherwise.
        classes: The class names, where the competition leaves them to the labels.
    """

    labels: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    respelled: dict[str, str] = field(default_factory=dict)
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
        lookup = ClassLookup([*competition.classes, *source.names])
        return _from_names(competition, {image: _folder(lookup, image) for image in image_ids})
    join = NameJoin(ids := list(image_ids))
    listed = _read_lists(competition, source, list(source_dirs), join)
    labels_in = competition.labels_in
    classes = competition.classes or names_in(x for line in listed for x in labels_in(line.label))
    class_of = _in_all(competition, (_named if tells_names(source) else _indexed)(classes))
    if competition.is_number:
        class_of = _numbered(competition.range)
    if competition.answers is not None and competition.answers.labelled == "answers":
        listed = _of_images(listed, str(competition.answers.pattern), ids)
    joined = join_names([line.image for line in listed], join)
    named = [  # what is called otherwise, as images that are to be predicted, may have any label
        line._replace(label=class_of(line.label, line.at))
        if line.label and line.image in joined.images
        else line
        for line in listed
    ]
    images = _join(named, ids, joined, has_several=competition.has_several)
    images.classes = () if competition.classes else classes
    return images


def _of_images(listed: Sequence[Listed], pattern: str, ids: Sequence[str]) -> list[Listed]:
    """Give every image the label of its answer, of a list that names answers."""
    images_of: dict[str, list[str]] = {}
    for image_id, answer in named_in_paths(pattern, "answer", ids).items():
        images_of.setdefault(answer, []).append(image_id)
    answer_of = join_names([line.image for line in listed], NameJoin(images_of)).images
    return [
        line._replace(image=image_id)
        for line in listed
        for image_id in images_of.get(answer_of.get(line.image, ""), [line.image])
    ]


def _read_lists(
    competition: Competition, source: ListedSource, source_dirs: Sequence[Path], join: NameJoin
) -> list[Listed]:
    """Read all lists of labels; of one among the images, names are relative to its folder."""
    one = _renaming(source)
    rename = _in_all(competition, lambda label, _: one(label))
    written = {name: label for label, name in source.names.items()}
    columns = tuple(written.get(name, name) for name in competition.classes)
    lines = []
    for file in label_files(source):
        path = find_listing(competition, file, source_dirs)
        known, several = unusual_names(join.names), competition.has_several
        listed = listed_labels(path, source, columns, known, has_several=several)
        names = names_beside(join, folder_below(path, source_dirs), [line.image for line in listed])
        lines += [
            line._replace(image=name, label=rename(line.label, line.at))
            for line, name in zip(listed, names, strict=True)
        ]
    return lines


def folder_below(path: Path, source_dirs: Sequence[Path]) -> PurePosixPath:
    """Tell in which folder a list lies, relative to where the images lie."""
    above = next(one for one in source_dirs if path.is_relative_to(one))
    return PurePosixPath(path.parent.relative_to(above).as_posix())


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


def _folder(lookup: ClassLookup, image_id: str) -> str:
    """Name the innermost folder that is a class, else the innermost."""
    parts = PurePosixPath(image_id).parent.parts[::-1]
    known = (part for part in parts if lookup.find(part) is not None)
    return next(known, parts[0] if parts else "")


def _renaming(source: Labels) -> Callable[[str], str]:
    """Make what calls a label as the competition's file says."""
    lookup, names = ClassLookup(list(source.names)), list(source.names.values())

    def renamed(label: str) -> str:
        place = lookup.find(label)
        return label if place is None else names[place]

    return renamed


def _from_names(competition: Competition, found: Mapping[str, str]) -> LabelledImages:
    """Take labels out of paths, where upper and lower case are often mixed."""
    rename = _renaming(competition.train.labels)
    written = {label: rename(label) for label in set(found.values())}
    images = LabelledImages()
    classes = competition.classes
    if not classes:
        classes = images.classes = _distinct_names(label for label in written.values() if label)
    lookup = ClassLookup(classes)
    for image_id, label in found.items():
        index = lookup.find(written[label]) if label else None
        if index is None:
            images.unlabelled.append(image_id)
        else:
            images.labels[image_id] = classes[index]
    return images


def _distinct_names(labels: Iterable[str]) -> tuple[str, ...]:
    """List class names that stand in paths: those that differ in case alone are one."""
    by_form = {unicodedata.normalize("NFC", label).casefold(): label for label in sorted(labels)}
    return names_in(unicodedata.normalize("NFC", label) for label in by_form.values())


def _named(classes: tuple[str, ...]) -> Callable[[str, str], str]:
    lookup = ClassLookup(classes)

    def class_of(label: str, at: str) -> str:
        index = lookup.find(label)
        if index is None:
            raise DataError(f"{at}: the label must be one of {list(classes)}, is '{label}'")
        return classes[index]

    return class_of


def _indexed(classes: tuple[str, ...]) -> Callable[[str, str], str]:
    def class_of(label: str, at: str) -> str:
        index = as_integer(label)
        if index is None or not 0 <= index < len(classes) or label.startswith("-"):
            highest = len(classes) - 1
            raise DataError(
                f"{at}: the label must be a class index from 0 to {highest}, is '{label}'"
            )
        return classes[index]

    return class_of


def _numbered(limits: Sequence[float]) -> ClassOf:
    low, high = limits or (-math.inf, math.inf)
    wanted = f"a number from {low:g} to {high:g}" if limits else "a number"

    def number_of(label: str, at: str) -> str:
        number = as_number(label)
        if label.casefold() in NO_NUMBER:
            return ""
        if number is None or not low <= float(number) <= high:
            raise DataError(f"{at}: the label must be {wanted}, is '{label}'")
        return f"{float(number):.15g}"

    return number_of


def _in_all(competition: Competition, change: ClassOf) -> ClassOf:
    """Change every one of an image's labels; several are sorted by their names."""
    if not competition.has_several:
        return change

    def changed(text: str, at: str) -> str:
        return text and join_labels(sorted({change(one, at) for one in split_labels(text)}))

    return changed


def _join(
    listed: Sequence[Listed], ids: Sequence[str], joined: Joined, *, has_several: bool
) -> LabelledImages:
    """Join labels to images; those of an image that may have several add up over its lines."""
    images = LabelledImages(missing=joined.missing)
    images.respelled = {name: joined.images[name] for name in joined.respelled}
    contradictory = set()
    for _, name, label in listed:
        image_id = joined.images.get(name)
        known = images.labels.setdefault(image_id, label) if image_id and label else label
        if image_id and known != label and has_several:
            both = {*split_labels(known), *split_labels(label)}
            images.labels[image_id] = join_labels(sorted(both))
        elif image_id and known != label:
            contradictory.add(image_id)
    mentioned = set(joined.images.values())
    images.contradictory = sorted(contradictory)
    images.empty = [key for key in ids if key in mentioned and key not in images.labels]
    images.labels = {key: name for key, name in images.labels.items() if key not in contradictory}
    images.unlabelled = [key for key in ids if key not in mentioned]
    return images


def doubt_about_labels(labelled: LabelledImages, num_images: int) -> list[str]:
    """Say if more than strays is lost where labels and training images are joined."""
    lost = {
        f"of {num_images:,} training images aren't in the list of labels": labelled.unlabelled,
        f"of {num_images:,} training images have two labels": labelled.contradictory,
        f"of {num_images:,} training images have an empty label": labelled.empty,
        "names in the list of labels are of no file, or of several": labelled.missing,
    }
    return [
        f"labels: {len(names):,} {what} and aren't trained on, the first is '{names[0]}'; "
        "audit.csv names all"
        for what, names in lost.items()
        if len(names) > MOST_LOST * num_images
    ]
