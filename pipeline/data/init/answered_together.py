"""Find which images are answered together, and samples with a row for each label of an image."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from pipeline.config.class_names import split_row_id
from pipeline.data.init.file_roles import ArrangedSample, FileRoles
from pipeline.data.init.infer_splits import Split
from pipeline.data.init.user_lists import MIN_JOINED, ForeignList, find_ids, has_header_row
from pipeline.data.joining import join_names
from pipeline.data.label_lists import marked_columns

POOL = {"pool": "mean"}
MOST_PARTS = 3  # columns whose values make an id
BETWEEN_PARTS = "_"  # as `answers.columns` has it
NOT_TOLD = (
    'what an answer is of its images\' probabilities no data tell: else pool "max", "noisy_or"'
)


@dataclass(frozen=True)
class Together:
    """Which images are answered together.

    Attributes:
        keys: The table `answers`.
        why: What it was inferred from.
        train: The answers of the training images in the place of these.
        test: Those of the test images.
    """

    keys: Mapping[str, Any]
    why: str
    train: Split
    test: Split

    @property
    def are_labelled(self) -> bool:
        """Whether the list of labels names answers instead of images."""
        return self.keys.get("labelled") == "answers"


def find_together(
    sample: ArrangedSample, roles: FileRoles, train: Split, test: Split
) -> Together | None:
    """Find what the sample's ids are of, where they aren't images: folders, or what columns say.

    Args:
        sample: The sample, one row for an id.
        roles: The lists.
        train: The training images.
        test: The test images.

    Returns:
        None where the ids are those of images, or of nothing that is there.
    """
    asked = sample.table.column(0)[has_header_row(sample.table, 0, test.join) :]
    num_images = len(join_names(asked, test.join).images)
    if num_images == len(set(asked)):
        return None
    return _by_folders(asked, num_images, roles, train, test) or _by_columns(
        asked, num_images, roles, train, test
    )


def _by_folders(
    asked: Sequence[str], num_images: int, roles: FileRoles, train: Split, test: Split
) -> Together | None:
    """Find the folders, at one depth, that are called as the ids are."""
    for depth in range(_depth(test)):
        theirs = _folders(test, depth)
        joined = len(join_names(asked, theirs.join).images)
        least = MIN_JOINED * min(len(asked), len(theirs.ids))
        if joined < max(1, least) or joined <= num_images:
            continue
        ours = _folders(train, depth)
        above = f"(?:[^/]+/){{{depth}}}" if depth else ""
        keys = {"pattern": f"^{above}(?P<answer>[^/]+)/", **POOL}
        if _name_more(roles.labels, ours, train):
            keys["labelled"] = "answers"
        what = f"{joined:,} of {len(asked):,} ids of the sample are folders of test images"
        return Together(keys, f"{what}; {NOT_TOLD}", ours, theirs)
    return None


def _depth(split: Split) -> int:
    return min((one.count("/") for one in split.ids), default=0)


def _folders(split: Split, depth: int) -> Split:
    """Put the folders at a depth in the place of the images."""
    paths = (one.split("/") for one in split.ids)
    names = dict.fromkeys(parts[depth] for parts in paths if len(parts) > depth + 1)
    return replace(split, ids=tuple(names))


def _name_more(tables: Iterable[ForeignList], answers: Split, images: Split) -> bool:
    """Whether some list names answers, and none as many images."""
    found = [[find_ids(table, one.join) for table in tables] for one in (answers, images)]
    most = [max((ids.num_joined for ids in own if ids), default=0) for own in found]
    return most[0] > 0 and most[0] >= most[1]


def _by_columns(
    asked: Sequence[str], num_images: int, roles: FileRoles, train: Split, test: Split
) -> Together | None:
    """Find the columns, of the list of test images and of labels, whose values make the ids."""
    if roles.test is None or not roles.test[1].has_header:
        return None
    table = roles.test[0]
    for labels in roles.labels:
        ids = find_ids(labels, train.join) if labels.num_columns > 1 else None
        if ids is None or not ids.has_header:
            continue
        shared = [name for name in table.rows[0] if name and name in labels.rows[0]]
        for columns in _making(table, shared, asked):
            ours, theirs = (_of_columns(one, columns) for one in (labels, table))
            joined = len(set(asked) & set(theirs))
            if joined <= num_images or len(set(theirs)) == len(theirs):
                continue
            what = f"{joined:,} of {len(asked):,} ids of the sample are made of columns of"
            why = f"{what} {table.name}; {NOT_TOLD}"
            splits = (
                replace(split, ids=tuple(dict.fromkeys(names)))
                for split, names in ((train, ours), (test, theirs))
            )
            return Together({"columns": list(columns), **POOL}, why, *splits)
    return None


def _making(
    table: ForeignList, names: Sequence[str], asked: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Yield the columns whose values make ids that are asked for, the fewest first."""
    wanted = set(asked)
    for count in range(1, MOST_PARTS + 1):
        for columns in permutations(names, count):
            made = _of_columns(replace(table, rows=table.rows[:2]), columns)
            if wanted.issuperset(made) and len(wanted & set(_of_columns(table, columns))) >= (
                MIN_JOINED * len(wanted)
            ):
                yield columns


def _of_columns(table: ForeignList, columns: Sequence[str]) -> list[str]:
    places = [table.rows[0].index(name) for name in columns]
    return [BETWEEN_PARTS.join(row[place] for place in places) for row in table.rows[1:]]


# A row for each label.


@dataclass(frozen=True)
class LabelRows:
    """A sample submission that has a row for each label of an image.

    Attributes:
        sample: It, with one row for an image or answer.
        row_id: How an id and a label make the id of a row; empty where there is a row for an image.
        labels: The labels, in the order of the list that has a column of each.
        is_whole: Whether each image has a row for each label; else the sample is an example.
    """

    sample: ArrangedSample
    row_id: str = ""
    labels: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def why(self) -> str:
        """Why an image may have several labels."""
        name, count = self.sample.table.name, len(self.labels)
        if self.is_whole:
            return f"{name} has a row for each of {count} labels"
        return f"{name} has rows of labels, not of all {count}: those that the judge asks for"


def find_label_rows(
    sample: ArrangedSample, tables: Iterable[ForeignList], test: Split
) -> LabelRows:
    """Find the labels, called as columns of 0 and 1 are, that the sample's ids begin or end with.

    Where all ids have the same one, what is left of them must name test images, or their folders.

    Args:
        sample: The sample.
        tables: The lists that may be of labels.
        test: The test images.
    """
    header, *rows = sample.table.rows
    for table in tables if sample.table.num_columns == 2 and rows else ():
        for template in _templates(table.rows[0], rows[0][0]):
            names = tuple(_marked(table))
            split = [split_row_id(template, row[0], names) for row in rows] if names else []
            found = [one for one in split if one is not None]
            asked = {place for _, place in found}
            row_of = {one[0]: row for one, row in zip(found, rows, strict=False)}
            is_told = len(asked) > 1 and len(row_of) < len(rows)
            if len(found) == len(rows) and len(names) > 1 and (is_told or _name_test(row_of, test)):
                alone = [header, *([one, row[1]] for one, row in row_of.items())]
                labels = tuple(
                    name for place, name in enumerate(names) if place in asked or len(asked) == 1
                )
                is_whole = len(rows) == len(row_of) * len(labels)
                one_each = replace(sample.table, rows=alone)
                return LabelRows(replace(sample, table=one_each), template, labels, is_whole)
    return LabelRows(sample)


def _name_test(ids: Iterable[str], test: Split) -> bool:
    """Whether all ids name test images, or all of them folders of such."""
    wanted = set(ids)
    places = [test, *(_folders(test, depth) for depth in range(_depth(test)))]
    return any(wanted <= join_names([*wanted], one.join).images.keys() for one in places)


def _marked(table: ForeignList) -> list[str]:
    """Name the columns of 0 and 1."""
    columns = zip(*table.rows[1:], strict=True)
    return [
        name
        for name, column in zip(table.rows[0], columns, strict=False)
        if name and all(marked_columns([text]) is not None for text in set(column))
    ]


def _templates(names: Sequence[str], row_id: str) -> Iterator[str]:
    """Yield what may make a row's id of an image's and a label."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        end, begin = row_id.removesuffix(name), row_id.removeprefix(name)
        if end != row_id and end[:-1] and not end[-1].isalnum():
            yield f"{{id}}{end[-1]}{{label}}"
        if begin != row_id and begin[1:] and not begin[0].isalnum():
            yield f"{{label}}{begin[0]}{{id}}"
