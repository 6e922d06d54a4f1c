"""Group images that must share a fold: copies of one picture, and images of one subject."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.images_table import KeyColumn
from pipeline.config.labels_table import (
    CocoLabels,
    CsvLabels,
    ListFileLabels,
    OneHotLabels,
    label_files,
)
from pipeline.data.audit import Scan
from pipeline.data.duplicates import clusters, near_duplicates
from pipeline.data.joining import NameJoin, join_names, named_in_paths, names_beside
from pipeline.data.label_lists import listed_column, read_listing, with_extension
from pipeline.data.labels import find_listing, folder_below
from pipeline.errors import DataError
from pipeline.store.foreign import read_foreign_csv, unusual_names

Pair = tuple[int, int]

# Images of a cluster beside those of its commonest label: more aren't wrong labels of one picture.
MOST_STRAY = 2
MIN_SWALLOWED = 3  # images of a class that is one cluster
# Where so many of the images that look like others do so across labels, the others do by chance.
MAX_DOUBTFUL = 0.1


@dataclass
class Copies:
    """The images that are copies of each other.

    Attributes:
        exact: Pairs of rows whose files are the same.
        near: Correlation by pair of rows that look the same.
        doubts: Why fewer are taken for copies than look like it, in one line each.
    """

    exact: list[Pair] = field(default_factory=list)
    near: dict[Pair, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> list[Pair]:
        """All pairs."""
        return [*self.exact, *self.near]

    def named(self, images: pd.DataFrame) -> dict[tuple[str, str], float]:
        """Return the near pairs whose files differ, by paths."""
        sha256, path = images["sha256"].tolist(), images["path"].tolist()
        return {(path[i], path[j]): c for (i, j), c in self.near.items() if sha256[i] != sha256[j]}


def find_copies(competition: Competition, images: pd.DataFrame, scans: Sequence[Scan]) -> Copies:
    """Find copies among readable images, as the competition's file says or as labels allow.

    Where `duplicates` is left out, pictures that look the same are copies unless a cluster of them
    joins many labels or is all of a class: these look alike without being copies.

    Args:
        competition: Which copies count, and whether a mirrored picture is one.
        images: Columns split, label and sha256 of the readable images.
        scans: Theirs.
    """
    rows_of = images.groupby("sha256").indices.values()
    copies = Copies(exact=[(int(rows[0]), int(row)) for rows in rows_of for row in rows[1:]])
    if competition.duplicates in ("exact", "none"):
        return copies
    thumbnails = np.stack([scan.thumbnail for scan in scans if scan.thumbnail is not None])
    is_mirrored = competition.horizontal_flip is not False
    found = near_duplicates(thumbnails, is_mirrored=is_mirrored)
    copies.near = {(i, j): correlation for i, j, correlation in found}
    if competition.duplicates is None and not competition.is_number:
        _doubt(copies, images)
    return copies


def _doubt(copies: Copies, images: pd.DataFrame) -> None:
    """Take back near-duplicates that labels contradict, and say so."""
    numbers = clusters(len(images), copies.pairs)
    train = (images["split"] == "train").to_numpy()
    labels, members = images["label"].to_numpy(), np.bincount(numbers)
    of_label = Counter(labels[train].tolist())
    in_cluster: dict[int, Counter[str]] = {}
    for number, label in zip(numbers[train].tolist(), labels[train].tolist(), strict=True):
        in_cluster.setdefault(number, Counter())[label] += 1
    mixed = {n: c for n, c in in_cluster.items() if c.total() - max(c.values()) > MOST_STRAY}
    whole = {
        n: label
        for n, c in in_cluster.items()
        for label, count in c.items()
        if n not in mixed and MIN_SWALLOWED <= count == of_label[label]
    }
    if not mixed and not whole:
        return
    num_alike, num_mixed = members[members > 1].sum(), sum(int(members[n]) for n in mixed)
    are_all = num_mixed > MAX_DOUBTFUL * num_alike
    dropped = {*mixed, *whole}
    copies.near = {
        pair: correlation
        for pair, correlation in copies.near.items()
        if not are_all and int(numbers[pair[0]]) not in dropped
    }
    copies.doubts += _mixed_doubt(mixed, int(num_alike), len(images), are_all=are_all)
    copies.doubts += [] if are_all else _whole_doubt(list(whole.values()))


def _mixed_doubt(
    mixed: Mapping[int, Counter[str]], num_alike: int, num_images: int, *, are_all: bool
) -> list[str]:
    if not mixed:
        return []
    largest = max(mixed.values(), key=Counter.total)
    fate = "none of them" if are_all else f"those in {len(mixed):,} such clusters aren't"
    return [
        f"duplicates: {num_alike:,} of {num_images:,} images look like others, but one cluster "
        f"holds {largest.total():,} training images of {len(largest):,} classes: {fate} taken for "
        'copies, and only equal files share a fold there; write duplicates = "near" in the '
        "competition's file if they are copies, \"exact\" if they aren't"
    ]


def _whole_doubt(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [
        f"duplicates: all images of {len(names):,} classes look the same, the first is "
        f"'{names[0]}': they aren't taken for copies, as no fold could learn their class; write "
        'duplicates = "near" in the competition\'s file if they are copies, "exact" if not'
    ]


def joined_copies(competition: Competition, copies: Copies) -> list[Pair]:
    """List the pairs of copies that must share a fold."""
    return [] if competition.duplicates == "none" else copies.pairs


def subject_pairs(image_ids: Sequence[str], subject_of: Mapping[str, str]) -> list[Pair]:
    """Pair each image of a subject with its first one, by their places."""
    first: dict[str, int] = {}
    named = ((row, subject_of[one]) for row, one in enumerate(image_ids) if one in subject_of)
    return [(first.setdefault(subject, row), row) for row, subject in named]


def read_subjects(
    competition: Competition, image_ids: Sequence[str], source_dirs: Sequence[Path]
) -> tuple[dict[str, str], list[str]]:
    """Read of which subject the training images are, where the competition's file says how.

    Returns:
        The subject by image_id, and in one line what is odd: images of which none is known stand
        for themselves.

    Raises:
        DataError: The list can't be read, or nothing of it fits.
    """
    groups = competition.train.groups
    if groups is None:
        return {}, []
    if groups.pattern is not None:
        subject_of = named_in_paths(groups.pattern, "group", image_ids)
    else:
        subject_of = _in_column(competition, groups, image_ids, source_dirs)
    if not subject_of:
        raise DataError(
            f"{competition.name}: train.groups must fit the training images, fits none of "
            f"{len(image_ids):,}, the first of which is '{image_ids[0]}'; correct the "
            "competition's file"
        )
    lacking = [one for one in image_ids if one not in subject_of]
    if not lacking:
        return subject_of, []
    return subject_of, [
        f"groups: {len(lacking):,} of {len(image_ids):,} training images have none and stand for "
        f"themselves, the first is '{lacking[0]}'"
    ]


def read_answers(
    competition: Competition,
    image_ids: Sequence[str],
    source_dirs: Sequence[Path],
    *,
    is_test: bool,
) -> dict[str, str]:
    """Read to which answer each image belongs, by image_id; {} where each is one of its own.

    Raises:
        DataError: The list can't be read, or nothing of it fits.
    """
    answers = competition.answers
    if answers is None:
        return {}
    if answers.pattern is not None:
        found = named_in_paths(answers.pattern, "answer", image_ids)
    else:
        listing = competition.test.csv
        of_test = {"file": listing.file, "id_column": listing.id_column} if listing else {}
        if listing:
            of_test |= {"separator": listing.separator, "extension": listing.extension}
        columns = [
            _in_column(
                competition,
                KeyColumn.model_validate({"column": name, **(of_test if is_test else {})}),
                image_ids,
                source_dirs,
            )
            for name in answers.columns
        ]
        known = [one for one in image_ids if all(one in column for column in columns)]
        found = {one: "_".join(column[one] for column in columns) for one in known}
    if not found:
        split = "test" if is_test else "training"
        raise DataError(
            f"{competition.name}: answers must fit the {split} images, fits none of "
            f"{len(image_ids):,}, the first of which is '{min(image_ids)}'; correct the "
            "competition's file"
        )
    return found


def read_given_folds(
    competition: Competition, image_ids: Sequence[str], source_dirs: Sequence[Path]
) -> dict[str, str] | None:
    """Read the organiser's folds by image_id; None where there are none.

    Raises:
        DataError: The list can't be read, an image has no fold, or all have the same.
    """
    folds = competition.train.folds
    if folds is None:
        return None
    fold_of = _in_column(competition, folds, image_ids, source_dirs)
    lacking = [one for one in image_ids if one not in fold_of]
    values = set(fold_of.values())
    if lacking or len(values) < 2:
        found = f"gives all '{min(values)}'" if values else "gives none"
        found = f"lacks {len(lacking):,}, the first is '{lacking[0]}'" if lacking else found
        raise DataError(
            f"{competition.name}: column '{folds.column}' must give every training image one of 2 "
            f"folds or more, {found}; correct or remove train.folds in the competition's file"
        )
    return fold_of


def _in_column(
    competition: Competition,
    keys: KeyColumn,
    image_ids: Sequence[str],
    source_dirs: Sequence[Path],
) -> dict[str, str]:
    """Read a column by image_id; where an image stands several times, it must say the same."""
    found: dict[str, str] = {}
    join = NameJoin(image_ids)
    own = () if keys.file is None else (keys.file,)
    for file in own or label_files(competition.train.labels):
        path = find_listing(competition, file, source_dirs)
        rows = _read_column(competition, keys, path, unusual_names(join.names))
        names = names_beside(join, folder_below(path, source_dirs), [name for name, _ in rows])
        image_of = join_names(names, join).images
        for name, (_, value) in zip(names, rows, strict=True):
            image_id = image_of.get(name)
            if image_id and value and found.setdefault(image_id, value) != value:
                raise DataError(
                    f"{path}: column '{keys.column}' must hold one value for each image, holds "
                    f"'{found[image_id]}' and '{value}' for '{image_id}'; correct it"
                )
    return found


def _read_column(
    competition: Competition, keys: KeyColumn, path: Path, known: str
) -> list[tuple[str, str]]:
    """Read names of images and what a column says of them, of a list with or without a header."""
    labels, column = competition.train.labels, str(keys.column)
    if keys.file is not None and keys.columns:
        image, value = keys.columns.index("image"), keys.columns.index(column)
        rows = [fields for _, fields in read_foreign_csv(path, keys.separator, known).rows]
        short = [fields for fields in rows if len(fields) <= max(image, value)]
        if short:
            raise DataError(
                f"{path}: must have the columns {list(keys.columns)} in every line, one holds "
                f"{short[0]}; compare columns and separator in the competition's file"
            )
        named = [(fields[image], fields[value]) for fields in rows]
        return [(with_extension(name, keys.extension), one) for name, one in named]
    if keys.file is None and isinstance(labels, ListFileLabels):
        return [(line.image, line.label) for line in listed_column(path, labels, column, known)]
    if keys.file is not None:
        id_column, separator, extension = str(keys.id_column), keys.separator, keys.extension
    elif isinstance(labels, CocoLabels):
        id_column, separator, extension = "file_name", ",", ""
    else:
        assert isinstance(labels, CsvLabels | OneHotLabels)
        id_column, separator, extension = labels.id_column, labels.separator, labels.extension
    table = read_listing(path, separator, known).columns([id_column, column])
    return [(with_extension(name, extension), value) for _, (name, value) in table]
