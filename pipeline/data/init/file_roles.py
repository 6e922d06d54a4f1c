"""Tell the user's lists apart: labels, test images, a sample submission and whose its ids are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.submission_table import LineField, SubmissionFormat
from pipeline.data.init.infer_splits import Split
from pipeline.data.init.user_files import LIST_SUFFIXES, UserFiles, is_json
from pipeline.data.init.user_lists import (
    MIN_JOINED,
    UNNAMED,
    ForeignList,
    Ids,
    find_ids,
    find_title,
    has_header_row,
    read_list,
)
from pipeline.data.init.words import LIST_NAME, is_sample_name, is_submission_name, splits_named
from pipeline.data.joining import NameJoin, join_names, names_beside
from pipeline.data.split_folders import is_image_name
from pipeline.errors import DataError
from pipeline.store.foreign import unusual_names
from pipeline.submission.rows import FIRST_ROW, from_line

MOST_ODD = 5


@dataclass(frozen=True)
class GivenPaths:
    """The paths that the user named; None is to be found.

    Attributes:
        train: Folder or archive of the training images.
        test: Folder or archive of the test images.
        labels: List of labels.
        sample: Sample submission.
    """

    train: Path | None = None
    test: Path | None = None
    labels: Path | None = None
    sample: Path | None = None

    @property
    def places(self) -> list[Path]:
        """All that is named."""
        return [one for one in (self.train, self.test, self.labels, self.sample) if one]


@dataclass(frozen=True)
class FileRoles:
    """The lists by their role.

    Attributes:
        labels: Those that may be label lists.
        sample: The sample submission.
        other_samples: Further lists that may be one.
        test: A list of test images, and how it names them.
        others: All lists but samples.
    """

    labels: list[ForeignList]
    sample: ForeignList | None
    other_samples: list[ForeignList]
    test: tuple[ForeignList, Ids] | None
    others: list[ForeignList]


def read_lists(user_files: UserFiles, given: GivenPaths) -> dict[str, ForeignList]:
    """Read all lists that can be, by name.

    Raises:
        DataError: What the user called a list is none.
    """
    known = unusual_names(map(str, user_files.files))
    lists = {name: read_list(name, one, known) for name, one in sorted(user_files.lists.items())}
    for place in filter(None, (given.labels, given.sample)):
        if not any(one is not None and is_at(one, place) for one in lists.values()):
            raise DataError(
                f"{place}: must be a {', '.join(sorted(LIST_SUFFIXES))} file of text, its lines of "
                f"as many columns each, {_why_no_list(place)}"
            )
    return {name: table for name, table in lists.items() if table is not None}


def is_at(table: ForeignList, place: Path | None) -> bool:
    """Whether a list is the file that the user named."""
    return place is not None and table.path.resolve() == place.resolve()


def unread_files(user_files: UserFiles, lists: Mapping[str, ForeignList]) -> list[PurePosixPath]:
    """List the files that weren't read, or only as a list of images, whatever they say of these."""
    read = {
        user_files.lists[name].found
        for name, table in lists.items()
        if table.kind == "coco" or (table.kind == "images" and "test" in splits_named(name))
    }
    return [file for file in user_files.unread if file not in read]


def describe_odd_lists(user_files: UserFiles, lists: Mapping[str, ForeignList]) -> list[str]:
    """Say in one line each which files may be lists and aren't read as such."""
    odd = [
        name
        for name in sorted(user_files.lists)
        if is_likely_list(name)
        and not is_json(Path(name))  # told with the other files that aren't looked into
        and (name not in lists or _is_uncut(lists[name]))
    ]
    return [
        f"{name}: not read as a list, {_why_no_list(user_files.lists[name].path)}"
        for name in odd[:MOST_ODD]
    ]


def _is_uncut(table: ForeignList) -> bool:
    """Whether most lines name an image and more, but one column is all that they have in common."""
    words = [re.split(r"[\t;| ]+", row[0]) for row in table.rows]
    named = [own for own in words if len(own) > 1 and is_image_name(PurePosixPath(own[0]))]
    return table.num_columns == 1 and len(named) > len(words) / 2


def is_likely_list(name: str) -> bool:
    """Whether a file is called as those that say something of images."""
    path = Path(name)
    return path.suffix.lower() in (".csv", ".tsv") or bool(
        LIST_NAME.search(path.stem) or splits_named(path.stem) or is_submission_name(path.name)
    )


def find_roles(
    lists: Mapping[str, ForeignList], given: GivenPaths, train: Split, test: Split
) -> FileRoles:
    """Tell lists apart by their names and by the images that they name."""
    tables = [one for one in lists.values() if not is_at(one, given.labels)]
    joins = (train.join, test.join)
    texts = [one for one in tables if one.kind == "text"]
    samples = [
        one
        for one in texts
        if is_submission_name(one.name) or (is_sample_name(one.name) and not _is_of(one, *joins))
    ]
    if given.sample is not None:
        samples = [one for one in tables if is_at(one, given.sample)]
    tests = [one for one in tables if "test" in splits_named(one.name) and one not in samples]
    if not samples:  # a list of test images with something beside each, whatever it is called
        unknown = [one for one in texts if one not in tests]
        answers = [one for one in unknown if one.num_columns > 1 and _are_mostly(one, joins[1])]
        samples = [one for one in answers if find_ids(one, joins[0]) is None]
    others = [one for one in lists.values() if one not in samples]
    found = [(one, ids) for one in tests if (ids := find_ids(one, joins[1])) is not None]
    labels = [one for one in others if one not in tests and one.kind != "images"]
    if given.labels is not None:
        labels = [one for one in labels if is_at(one, given.labels)]
    return FileRoles(
        labels, next(iter(samples), None), samples[1:], next(iter(found), None), others
    )


def _is_of(table: ForeignList, ours: NameJoin, others: NameJoin) -> bool:
    """Whether a list names these images, and hardly any of the others, where these aren't ours."""
    named = find_ids(table, ours)
    return named is not None and find_ids(table, others) is None


def _are_mostly(table: ForeignList, images: NameJoin) -> bool:
    """Whether half of a list's rows, or more, name images: numbers fit some by chance."""
    ids = find_ids(table, images)
    return ids is not None and ids.num_joined >= (len(table.rows) - ids.has_header) / 2


def _why_no_list(place: Path) -> str:
    """Say why a file is no list, and what to do about it."""
    if place.suffix.lower() not in LIST_SUFFIXES:
        return f"is called '{place.name}'"
    if is_json(place):
        return "is JSON without a list of images as COCO's"
    title = find_title(place)
    if title:
        return f"line 1 is a title above the header, {title!r}; delete that line"
    return (
        "has lines of several lengths, or is no text; if it says something of images, save it as "
        "CSV in UTF-8, its lines of as many columns each"
    )


@dataclass(frozen=True)
class ArrangedSample:
    """A sample submission with its id first, whatever the order of its columns.

    Attributes:
        table: The sample, its id in the first column, row numbers left out.
        layout: What stands in its lines.
        row_column: What it calls its row numbers.
    """

    table: ForeignList
    layout: tuple[LineField, ...] = ("id", "label")
    row_column: str = ""


def arrange_sample(sample: ForeignList, images: NameJoin) -> ArrangedSample:
    """Find the column of ids, and put it first.

    Args:
        sample: As it came.
        images: The test images.

    Raises:
        DataError: It has one column, or the id stands where none can be written.
    """
    if sample.num_columns < 2:
        raise DataError(f"{sample.path}: a sample must have an id and an answer, has one column")
    ids = find_ids(sample, images)
    has_rows = _first_row(sample.column(0)) is not None
    is_unnamed = sample.rows[0][0] in UNNAMED
    usual = int(sample.num_columns > 2 and has_rows and is_unnamed)
    layout = _layout(sample, usual if ids is None else ids.column)
    if layout == ("id", "label"):
        return ArrangedSample(sample)
    form = SubmissionFormat(id="stem", layout=layout)
    rows = [from_line(form, row) for row in sample.rows]
    has_number = layout[0] in FIRST_ROW
    return ArrangedSample(
        replace(sample, rows=rows), layout, sample.rows[0][0] if has_number else ""
    )


def _layout(sample: ForeignList, column: int) -> tuple[LineField, ...]:
    """Name what stands in a line of which the id stands in a column."""
    first = _first_row(sample.column(0)) if column > 0 and sample.num_columns > 2 else None
    number: tuple[LineField, ...] = () if first is None else (first,)
    if column == len(number):
        return (*number, "id", "label")
    if column == sample.num_columns - 1:
        return (*number, "label", "id")
    raise DataError(
        f"{sample.path}: the id must be in the first or the last column, stands in column "
        f"{column + 1} of {sample.num_columns}; write the competition's file by hand"
    )


def _first_row(column: Sequence[str]) -> LineField | None:
    """Tell from which number rows are counted; None where a column holds something else."""
    for name, first in FIRST_ROW.items():
        for rows in (column, column[1:]):
            if rows and list(rows) == [str(number + first) for number in range(len(rows))]:
                return "row_from_0" if name == "row_from_0" else "row_from_1"
    return None


# A list that says which file an id is of.


@dataclass(frozen=True)
class IdList:
    """A list that says of which images the sample's ids are.

    Attributes:
        keys: The table `[test] csv`.
        why: What it was inferred from.
        is_certain: Whether the ids can't be the files' own names, as in other lists.
    """

    keys: Mapping[str, Any]
    why: str
    is_certain: bool = True


def find_id_list(
    tables: Iterable[ForeignList], sample: ForeignList, images: NameJoin
) -> IdList | None:
    """Find a list with ids in one column and files in another, where the ids aren't the files'.

    Where the sample's ids may be names of files, too, it must call their column as the list does
    for the answer to be certain; if it calls it as the column of the files, they are these.

    Args:
        tables: All lists but samples.
        sample: The sample, its ids first.
        images: The test images.
    """
    has_header = has_header_row(sample, 0, images)
    called = sample.rows[0][0].lower() if has_header else None
    asked = sample.column(0)[has_header:]
    direct = join_names(asked, images).images
    for table in tables:
        files = find_ids(table, images) if table.num_columns > 1 else None
        header = [name.lower() for name in table.rows[0]] if files and files.has_header else []
        if files is None or (header and called == header[files.column] and direct):
            continue
        names = names_beside(images, table.folder, table.column(files.column))
        image_of = join_names(names, images).images
        for column in range(table.num_columns):
            ids = table.column(column)
            is_key = column != files.column and len(set(ids)) == len(ids)
            known = set(asked) & set(ids) if is_key else set()
            if len(known) < MIN_JOINED * len(asked) or not known:
                continue
            found = {one: image_of.get(name) for one, name in zip(ids, names, strict=True)}
            if any(found[one] != direct.get(one) for one in known):
                is_certain = not direct or (bool(header) and header[column] == called)
                why = (
                    f"it says of which file {len(known):,} of {len(asked):,} ids of the sample are"
                )
                why += "" if is_certain else "; else files are called as the ids: no csv"
                return IdList(_keys(table, files, column), why, is_certain)
    return None


def _keys(table: ForeignList, files: Ids, column: int) -> dict[str, Any]:
    header = table.rows[0]
    if files.has_header:
        columns = {"id_column": header[column], "image_column": header[files.column]}
        return {"file": table.name, **columns, **table.form}
    roles = {column: "id", files.column: "image"}
    width = max(roles) + 1
    return {
        "file": table.name,
        "columns": [roles.get(number, "other") for number in range(width)],
        **table.form,
    }
