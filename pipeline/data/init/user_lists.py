"""Read lists of unknown form: separator, header, and which column names the images."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.config.class_names import as_integer, as_number
from pipeline.data.init.user_files import UserList
from pipeline.data.init.words import words_of
from pipeline.data.joining import NameJoin, join_names, names_beside
from pipeline.data.split_folders import is_image_name
from pipeline.errors import DataError
from pipeline.store.foreign import read_foreign_csv

SEPARATORS = ("\t", ",", ";", "|", " ")
# A list is of images if so many of its names are theirs, or so many of them are named: strays,
# missing files and cuts of a data set are common.
MIN_JOINED = 0.5
UNNAMED = {"", "Unnamed: 0"}  # what pandas calls the column of its row numbers
ADDRESSES = ("http://", "https://", "s3://", "gs://", "ftp://")
# What the column is called that names the image, in a table with several that may.
CALLED_IMAGE = re.compile(
    r"^(image|img|file|path|photo|picture|pic)s?$|^fname$|^(file|image|img)name$"
    r"|图|文件",
    re.IGNORECASE,
)
CALLED_ROW = {"row", "rows", "index", "idx", "no", "nr", "num", "number", "line", "序号"}
MIN_ALIKE = 0.9  # of the images that the best column names; others of measures name fewer
# Columns that name other files of an image.
OTHER_FILES = {"mask", "masks", "segmentation", "annotation", "depth", "thumbnail", "thumb"}


@dataclass(frozen=True)
class ForeignList:
    """A list as it stands.

    Attributes:
        name: By which it is found.
        path: The file.
        separator: What stands between its columns; a comma where there is one column.
        rows: All rows, the header's included, as long as the first.
        folder: Where it will lie among the images; None for elsewhere.
    """

    name: str
    path: Path
    separator: str
    rows: list[list[str]]
    folder: PurePosixPath | None = None

    @property
    def form(self) -> dict[str, str]:
        """The key that its separator needs in a competition's file; none for a comma."""
        return {} if self.separator == "," else {"separator": self.separator}

    @property
    def num_columns(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    @property
    def names_addresses(self) -> bool:
        """Whether it names images by where they can be fetched."""
        return any(field.startswith(ADDRESSES) for row in self.rows[:3] for field in row)

    def column(self, number: int) -> list[str]:
        """Return a column, what may be its header included."""
        return [row[number] for row in self.rows]


@dataclass(frozen=True)
class Ids:
    """The column in which a list names images, and the images that it names.

    Attributes:
        column: Number of the column, from 0.
        has_header: Whether the first row names the columns.
        images: image_ids of those that it names.
        doubts: What else may tell which images it names.
    """

    column: int
    has_header: bool
    images: frozenset[str]
    doubts: tuple[str, ...] = ()

    @property
    def num_joined(self) -> int:
        """How many images it names."""
        return len(self.images)


def read_list(name: str, user_list: UserList, known: str = "") -> ForeignList | None:
    """Read a list with whatever separator cuts all its lines alike; None if it is no list.

    Args:
        name: By which it is found.
        user_list: The file.
        known: Names of images, by which its encoding is told, see `unusual_names`.
    """
    tables = (_cut(name, user_list, separator, known) for separator in SEPARATORS)
    cut = (table for table in tables if table is not None and table.num_columns > 1)
    return next(cut, None) or _cut(name, user_list, ",", known)


def _cut(name: str, user_list: UserList, separator: str, known: str) -> ForeignList | None:
    try:
        rows = [fields for _, fields in read_foreign_csv(user_list.path, separator, known).rows]
    except DataError:
        return None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    return ForeignList(name, user_list.path, separator, rows, user_list.folder)


def find_ids(table: ForeignList, images: NameJoin) -> Ids | None:
    """Find the column that names the most of the images; None if none names enough.

    Of columns that name enough, one of file names is believed before one of ids, and one that is
    called after images before others: these may be numbers of their own.
    """
    found = []
    for column in range(table.num_columns):
        ids = _ids_of(table, column, images)
        num_expected = min(len(table.rows) - ids.has_header, len(images))
        header = table.rows[0][column] if ids.has_header else "?"
        if ids.num_joined >= MIN_JOINED * max(1, num_expected):
            are_files = name_files(table.column(column)[ids.has_header :])
            is_main = OTHER_FILES.isdisjoint(words_of(header))
            # A column without a name may be pandas' row numbers, which look like ids, too.
            sure = (are_files, is_main, header not in UNNAMED, is_called_image(header))
            are_counted = not CALLED_ROW.isdisjoint(words_of(header))
            found.append((sure, (not are_counted, ids.num_joined, -column), ids))
    if not found:
        return None
    sure, _, best = max(found, key=lambda one: one[:2])
    least = MIN_ALIKE * best.num_joined
    likely = [ids.column for own, _, ids in found if own == sure and ids.num_joined >= least]
    are_files = sure[0]  # such columns name pairs of images
    others = [] if are_files else _others_of(table, best, likely, images)
    doubts = [f"by '{name}', if that names the images" for name in others]
    doubts.append(doubt_of_shift(table.column(best.column)[best.has_header :], images.names))
    return replace(best, doubts=tuple(filter(None, doubts)))


def doubt_of_shift(ids: Iterable[str], image_ids: Iterable[str]) -> str:
    """Say if a list counts from 0 and the files from 1, or the other way; else nothing."""
    listed, files = (
        {as_integer(PurePosixPath(one).stem) for one in names} for names in (ids, image_ids)
    )
    ranges: list[set[int | None]] = [set(range(first, first + len(files))) for first in (0, 1)]
    if [listed, files] not in (ranges, ranges[::-1]):
        return ""
    return f"one file on: the list counts from {ranges.index(listed)}, the files don't"


def is_called_image(header: str) -> bool:
    """Whether a column is called after the images that it names."""
    return any(CALLED_IMAGE.search(word) for word in (header, *words_of(header)))


def _others_of(
    table: ForeignList, best: Ids, columns: Iterable[int], images: NameJoin
) -> list[str]:
    """Name the columns that say another image of a row than the best one."""
    named = _images_of(table, best.column, images)
    others = [one for one in columns if _images_of(table, one, images) != named]
    return [table.rows[0][one] if best.has_header else f"{one + 1}" for one in others]


def _images_of(table: ForeignList, column: int, images: NameJoin) -> list[str | None]:
    """Return the image that each row names in a column."""
    names = names_beside(images, table.folder, table.column(column))
    image_of = join_names(names, images).images
    return [image_of.get(name) for name in names]


def _ids_of(table: ForeignList, column: int, images: NameJoin) -> Ids:
    names = names_beside(images, table.folder, table.column(column))
    joined = join_names(names, images).images
    return Ids(column, has_header_row(table, column, images), frozenset(joined.values()))


def has_header_row(table: ForeignList, column: int, images: NameJoin) -> bool:
    """Whether the first row names the columns, of which one names images."""
    first, *others = table.column(column)
    if is_image_name(PurePosixPath(first)) or images.find(first) is not None:
        return False
    if _shape(first) in set(map(_shape, others)):
        return False
    rest = [n for n, name in enumerate(table.rows[0]) if n != column and name]
    return not any(table.rows[0][n] in {row[n] for row in table.rows[1:]} for n in rest)


def _shape(name: str) -> str:
    """Reduce a name to its form, as `aa-00` for `ab-12`; any number to the same."""
    return (
        "0" if as_number(name) is not None else re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", name))
    )


BETWEEN = (";", "|", ",", "+", " ")  # several labels of an image, from the surest sign to the least
FRACTION = re.compile(r"-?\d+(,\d+)?")  # a number as some countries write it
LABEL_SETS = {"labels", "tags", "classes", "categories", "attributes", "ids", "annotations", "标签"}


@dataclass(frozen=True)
class LabelSets:
    """Labels of which an image has several.

    Attributes:
        separator: What stands between those of an image.
        names: The different labels, of all images.
        is_certain: Whether nothing else is likely to be meant.
        why: What says so, where it isn't what the texts are made of.
    """

    separator: str
    names: frozenset[str]
    is_certain: bool
    why: str = ""


def find_label_sets(texts: Iterable[str], header: str) -> LabelSets | None:
    """Tell whether a column holds several labels an image, by what its texts are made of.

    They are if the texts are made of fewer different parts than there are texts, not all of them
    of as many: names of two words each, as of a colour and a fruit, are names. As few parts will do
    where they are numbers, or the column is called after labels or tags.

    Args:
        texts: What stands in the column; empty ones say nothing.
        header: What the column is called.
    """
    different = set(texts) - {""}
    if all(map(FRACTION.fullmatch, different)):
        return None
    for separator in BETWEEN:
        cut = None if separator == " " else separator
        sets = [[one.strip() for one in text.split(cut)] for text in different]
        names = Counter(one for own in sets for one in own)
        num_again = sum(count > 1 for count in names.values())
        are_numbers = all(as_number(name) is not None for name in names)
        is_told = are_numbers or not LABEL_SETS.isdisjoint(words_of(header))
        are_parts = len(names) < len(sets) + is_told and num_again >= len(names) / 2
        are_sets = len(set(map(len, sets))) > 1 and all(len(own) == len({*own}) for own in sets)
        if are_parts and are_sets and "" not in names:
            return LabelSets(separator, frozenset(names), is_told or separator != " ")
    return None


def name_files(names: Sequence[str]) -> bool:
    """Whether most names are those of image files."""
    num_files = sum(is_image_name(PurePosixPath(name.replace("\\", "/"))) for name in names)
    return num_files > len(names) / 2
