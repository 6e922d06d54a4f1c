"""Find what may tell subjects apart: patients, drivers, places, in lists and in paths of images."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from pipeline.config.class_names import as_integer, as_number
from pipeline.data.init.draft import Section
from pipeline.data.init.infer_splits import Split
from pipeline.data.init.label_columns import OTHER_NAMES, SUBJECT_WORDS
from pipeline.data.init.label_values import LabelSource
from pipeline.data.init.user_lists import CATEGORY, ForeignList, find_ids
from pipeline.data.init.words import words_of
from pipeline.data.joining import join_names, names_beside

# Of these, images of a list or folder may be, too, and what is to be predicted are others of them.
PLACES = {
    "site", "location", "place", "scene", "field", "farm", "plot", "series", "study", "case",
    "person", "user", "individual", "animal", "plant", "tree", "specimen", "slide", "clip", "burst",
    "writer", "signer", "speaker", "donor", "owner", "batch", "group", "seq", "track", "tracklet",
}  # fmt: skip
FOLD_NAMES = {"fold", "folds", "kfold", "k_fold", "cv_fold", "fold_id", "cv"}
MIN_GROUPS = 5  # as many as there are folds
MIN_SIZE = 1.5  # images of a group, on average
MOST_SHOWN = 3
MOST_FOLDS = 20
SUBJECT = "|".join(sorted({"pat", "subj", "person", "user", "cam", *SUBJECT_WORDS}, key=len))
# `patient12_3.png`, `IMG/driver-07/x.png`: a word for a subject with its number.
NAMED = rf"(?:^|[/_. -])(?P<group>(?:{SUBJECT})[ _-]?\d+)(?=[/_. -])"
# `P001_left_3.png`: a number that a name begins with; believed by nobody unasked, as the next.
AT_BEGIN = r"(?:^|/)(?P<group>[a-z]{0,4}\d+)[_-][^/]+$"
# `a17_003.png`: what stands before the last number.
BEFORE_NUMBER = r"(?:^|/)(?P<group>[^/]*\d[^/]*?)[ _-]+\d+\.[^./]+$"


@dataclass(frozen=True)
class Candidate:
    """Something that may tell subjects apart.

    Attributes:
        keys: The table `groups`.
        what: What it is, for the user.
        groups: What each training image has of it; images without are left out.
        is_called_so: Whether its name is one of subjects.
        others: Of how many of them test images are, too; None where nothing tells.
        is_subject: Whether that is a patient, a driver and the like, and no place.
        are_apart: Whether names of training and test images differ in it, and in less of them.
    """

    keys: Mapping[str, Any]
    what: str
    groups: Mapping[str, str]
    is_called_so: bool
    others: int | None = None
    are_apart: bool = False
    is_subject: bool = False

    @property
    def num(self) -> int:
        """Number of groups."""
        return len(set(self.groups.values()))

    @property
    def is_likely(self) -> bool:
        """Whether it is taken until the user says otherwise."""
        # Numbers in names that test images have, too, and other ones, are of subjects as a rule.
        are_apart = self.are_apart and self.others == 0
        return (self.is_called_so or are_apart) and self.num >= MIN_GROUPS and not self.others


@dataclass(frozen=True)
class _Joined:
    """A list that names images, its columns named by a header or where they stand.

    Attributes:
        table: The list, names of columns first.
        ids: The number of the column that names them.
        has_header: Whether it names its columns itself.
        rows: The rows of those that it names, by image_id.
    """

    table: ForeignList
    ids: int
    has_header: bool
    rows: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, table: ForeignList, images: Split) -> "_Joined | None":
        """Join a list; None where it names too few of the images."""
        ids = find_ids(table, images.join) if table.num_columns > 1 else None
        if ids is None:
            return None
        if not ids.has_header:
            numbers = range(table.num_columns)
            named = ["image" if one == ids.column else f"column_{one + 1}" for one in numbers]
            table = replace(table, rows=[named, *table.rows])
        names = names_beside(images.join, table.folder, table.column(ids.column)[1:])
        image_of = join_names(names, images.join).images
        rows = zip(names, table.rows[1:], strict=True)
        known = {image_of[one]: row for one, row in rows if one in image_of}
        return cls(table, ids.column, ids.has_header, known)

    def column(self, name: str) -> dict[str, str]:
        """Read a column by image_id, of the images that have something in it."""
        place = self.table.rows[0].index(name)
        return {one: row[place] for one, row in self.rows.items() if row[place]}

    def place(self, labels: LabelSource) -> dict[str, Any]:
        """Name the list in the table of keys; nothing where it is the one of the labels."""
        if self.is_of(labels):
            return {}
        names = self.table.rows[0]
        place = {"id_column": names[self.ids]} if self.has_header else {"columns": names}
        return {"file": self.table.name, **place, **self.table.form}

    def is_of(self, labels: LabelSource) -> bool:
        """Whether the labels are read off this list, by the names of its columns."""
        file = labels.keys.get("file", "")
        files = [file] if isinstance(file, str) else file
        sources = ("csv", "one_hot", "list_file", "coco")
        return labels.keys.get("source") in sources and self.table.name in files


def add_groups(
    section: Section, lists: Sequence[ForeignList], labels: LabelSource, train: Split, test: Split
) -> str | None:
    """Add the keys `groups` and `folds` for what may be such; returns the list that holds them.

    Args:
        section: The table `[train]`.
        lists: All lists but samples.
        labels: The labels.
        train: The training images.
        test: The test images.
    """
    ours = [one for table in lists if (one := _Joined.of(table, train))]
    theirs = [one for table in lists if (one := _Joined.of(table, test))]
    found = [*_in_lists(ours, theirs, labels), *_in_paths(labels, train, test)]
    found = [one for one in found if _repeats(one, len(train.ids))]
    found.sort(
        key=lambda one: (one.is_likely, one.is_subject, one.is_called_so, len(one.groups)),
        reverse=True,
    )
    _add_folds(section, ours, labels)
    if not found:
        return None
    best = found[0]
    why = (
        f"{best.what} has {best.num:,} values for {len(best.groups):,} training images: are those "
        "of one value of one subject, and those to predict of others? Then they share a fold"
    )
    if best.others:
        why += f"; but test images are of {best.others:,} of them, too"
    rest = [one.what for one in found[1 : 1 + MOST_SHOWN]]
    why += f"; else {', '.join(rest)}" if rest else ""
    (section.guess if best.is_likely else section.unknown)("groups", dict(best.keys), why)
    return best.keys.get("file") if best.is_likely else None


def _repeats(candidate: Candidate, num_images: int) -> bool:
    """Whether values stand for several images each, and most images have one."""
    num, labelled = candidate.num, len(candidate.groups)
    least = 2 if candidate.is_called_so else MIN_GROUPS
    return num >= least and labelled >= MIN_SIZE * num and labelled > num_images / 2


def _in_lists(
    ours: Sequence[_Joined], theirs: Sequence[_Joined], labels: LabelSource
) -> Iterable[Candidate]:
    used = {labels.keys.get("id_column"), labels.keys.get("label_column"), *labels.classes, ""}
    if "label" in labels.keys.get("columns", ()):
        used.add(f"column_{labels.keys['columns'].index('label') + 1}")
    elif labels.keys.get("source") == "list_file":
        used.add("column_2")
    elif labels.keys.get("source") == "coco":
        used.add(CATEGORY)
    for joined in ours:
        header = joined.table.rows[0]
        for name in header[: joined.ids] + header[joined.ids + 1 :]:
            value_of = {} if joined.is_of(labels) and name in used else joined.column(name)
            if not value_of or not _may_be(name, set(value_of.values())):
                continue
            if not _tells_label(joined, name, labels):
                others = _others(theirs, name, set(value_of.values()))
                is_called_so = _is_called_so(name, value_of.values())
                what = f"column '{name}' of {joined.table.name}"
                keys = {"column": name, **joined.place(labels)}
                is_subject = not SUBJECT_WORDS.isdisjoint(words_of(name))
                yield Candidate(keys, what, value_of, is_called_so, others, is_subject=is_subject)


def _is_called_so(name: str, values: Iterable[str]) -> bool:
    """Whether a column is called after subjects, or all that stands in it is."""
    return not (SUBJECT_WORDS | PLACES).isdisjoint(words_of(name)) or all(
        re.fullmatch(rf"({SUBJECT})[ _-]?\d+", value, re.IGNORECASE) for value in values
    )


def _may_be(name: str, values: Set[str]) -> bool:
    """Whether a column may name subjects: called not otherwise, it holds no measures or marks."""
    is_other = name.lower() in OTHER_NAMES | FOLD_NAMES
    have_fractions = any(
        as_number(value) is not None and as_integer(value) is None for value in values
    )
    return not is_other and not have_fractions and not values <= {"0", "1"}


def _tells_label(joined: _Joined, name: str, labels: LabelSource) -> bool:
    """Whether a column says no more than the labels beside it, or they than it."""
    label_column = str(labels.keys.get("label_column"))
    if label_column not in joined.table.rows[0]:
        return False
    values, label_of = joined.column(name), joined.column(label_column)
    pairs = {(value, label_of.get(one, "")) for one, value in values.items()}
    return len(pairs) == len({value for value, _ in pairs}) == len({label for _, label in pairs})


def _others(theirs: Sequence[_Joined], name: str, known: set[str]) -> int | None:
    """Count the values that test images have, too; None where no list tells theirs."""
    for joined in theirs:
        if name in joined.table.rows[0]:
            return len(known & set(joined.column(name).values()))
    return None


def _in_paths(labels: LabelSource, train: Split, test: Split) -> Iterable[Candidate]:
    are_apart = True
    for pattern, is_called_so in ((NAMED, True), (AT_BEGIN, False), (BEFORE_NUMBER, False)):
        groups, theirs = (_searched(pattern, split.ids) for split in (train, test))
        shared = len(set(groups.values()) & set(theirs.values())) if theirs else None
        if not groups or _are_labels(groups.values(), labels):
            continue
        are_apart = are_apart and not shared  # else longer parts of names differ by accident
        example = min(groups.values())
        what = f"'{example}' and the like in the images' paths"
        yield Candidate({"pattern": pattern}, what, groups, is_called_so, shared, are_apart)
    yield from _in_folders(labels, train, test)


def _in_folders(labels: LabelSource, train: Split, test: Split) -> Iterable[Candidate]:
    """Take the folder that an image lies in, unless that is its class."""
    folders = {one: PurePosixPath(one).parent.name for one in train.ids}
    groups = {one: folder for one, folder in folders.items() if folder}
    if not groups or _are_labels(groups.values(), labels):
        return
    theirs = {PurePosixPath(one).parent.name for one in test.ids} - {""}
    shared = len(set(groups.values()) & theirs) if theirs else None
    pattern = r"(?P<group>[^/]+)/[^/]+$"
    what = f"the folder of an image, as '{min(groups.values())}',"
    yield Candidate({"pattern": pattern}, what, groups, is_called_so=False, others=shared)


def _searched(pattern: str, image_ids: Sequence[str]) -> dict[str, str]:
    found = ((one, re.search(pattern, one, re.IGNORECASE)) for one in image_ids)
    return {one: match["group"].lower() for one, match in found if match}


def _are_labels(values: Iterable[str], labels: LabelSource) -> bool:
    """Whether most of what was found are names of classes."""
    classes = {name.casefold() for name in labels.classes}
    counts = Counter(value.casefold() in classes for value in values)
    return counts[True] > counts[False]


def _add_folds(section: Section, ours: Sequence[_Joined], labels: LabelSource) -> None:
    """Ask whether a column of folds is to be the split."""
    for joined in ours:
        for name in joined.table.rows[0]:
            count = len(set(joined.column(name).values())) if name.lower() in FOLD_NAMES else 0
            if 2 <= count <= MOST_FOLDS:
                why = (
                    f"column '{name}' of {joined.table.name} has {count} values: are they the "
                    "organiser's folds, to be taken as they are?"
                )
                section.unknown("folds", {"column": name, **joined.place(labels)}, why)
                return
