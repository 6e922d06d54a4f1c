"""Read lists of unknown form, text or JSON: separator, header, which column names the images."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pipeline.config.class_names import as_integer, as_number
from pipeline.data.init.label_values import LABEL_NAMES
from pipeline.data.init.user_files import UserList, is_json
from pipeline.data.init.words import words_of
from pipeline.data.joining import NameJoin, join_names, names_beside
from pipeline.data.label_lists import load_json, rows_of_objects
from pipeline.data.split_folders import is_image_name
from pipeline.errors import DataError
from pipeline.store.foreign import read_foreign_csv

SEPARATORS = ("\t", ",", ";", "|", " ")
# A list is of images if so many of its names are theirs, or so many of them are named: strays,
# missing files and cuts of a data set are common.
MIN_JOINED = 0.5
MIN_BELOW = 3  # lines, so that what stands once in a column tells something
MOST_SEEN = 1000  # rows that tell whether a title stands above them
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


ListKind = Literal["text", "coco", "images"]
CATEGORY = "category_id"


@dataclass(frozen=True)
class ForeignList:
    """A list as it stands.

    Attributes:
        name: By which it is found.
        path: The file.
        separator: What stands between its columns; a comma where there is one column.
        rows: All rows, the header's included, as long as the first.
        folder: Where it will lie among the images; None for elsewhere.
        kind: "text", or what a JSON file holds, which always has a header.
        called: Names of the labels by what stands in the rows, where a JSON file has some.
    """

    name: str
    path: Path
    separator: str
    rows: list[list[str]]
    folder: PurePosixPath | None = None
    kind: ListKind = "text"
    called: Mapping[str, str] = field(default_factory=dict)

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
    path, folder = user_list.path, user_list.folder
    if is_json(path):
        json = read_json_list(path)
        if json is None:
            return None
        return ForeignList(name, path, ",", json.rows, folder, json.kind, json.called)
    tables = (_cut(name, user_list, separator, known) for separator in SEPARATORS)
    cut = (table for table in tables if table is not None and table.num_columns > 1)
    found = next(cut, None) or _cut(name, user_list, ",", known)
    if found is None or found.num_columns < 2:
        return found
    may_have_title = not any(found.rows[0][1:]) or _begins_twice(found.rows[:MOST_SEEN])
    return None if may_have_title and find_title(path, known) else found


def _cut(name: str, user_list: UserList, separator: str, known: str) -> ForeignList | None:
    try:
        rows = [fields for _, fields in read_foreign_csv(user_list.path, separator, known).rows]
    except DataError:
        return None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    return ForeignList(name, user_list.path, separator, rows, user_list.folder)


def find_title(path: Path, known: str = "") -> str:
    """Return the line that stands above a list's header, as a table's title; nothing if none does.

    It has one field, or no others that aren't empty, and what follows has as many as each other;
    what is formed as what stands below it in its column is no title but the first of them. One with
    commas stands above what looks like a header.
    """
    for separator in SEPARATORS[:-1]:
        try:
            rows = read_foreign_csv(path, separator, known).rows[:MOST_SEEN]
        except DataError:
            return ""
        title, *below = [fields for _, fields in rows] or [[""]]
        widths = set(map(len, below))
        is_table = len(below) > 1 and len(widths) == 1 and min(widths) > 1 and all(below[0])
        if is_table and _begins_twice([title, *below]):
            return separator.join(title)
        if not is_table or any(title[1:]) or not title[0]:
            continue
        is_image = is_image_name(PurePosixPath(title[0]))
        if not is_image and _shape(title[0]) not in {_shape(row[0]) for row in below}:
            return title[0]
    return ""


def _begins_twice(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the second line looks like a header, and the first one doesn't."""
    if len(rows) <= MIN_BELOW or any(map(_is_heading, rows[0])):
        return False
    columns = zip(*rows[1:], strict=True)
    are_once = all(cell and cell not in below for cell, *below in columns)
    are_values = any(re.search(r"\d", one) or is_image_name(PurePosixPath(one)) for one in rows[1])
    return are_once and not are_values and any(map(_is_heading, rows[1]))


def _is_heading(cell: str) -> bool:
    """Whether a field is called as a column of images, ids or labels is."""
    is_word = not re.search(r"\s", cell)
    is_id = not {"id", "ids"}.isdisjoint(words_of(cell))
    return is_word and (is_id or is_called_image(cell) or cell.lower() in LABEL_NAMES)


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
    if table.kind != "text":
        return True
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


def name_files(names: Sequence[str]) -> bool:
    """Whether most names are those of image files."""
    num_files = sum(is_image_name(PurePosixPath(name.replace("\\", "/"))) for name in names)
    return num_files > len(names) / 2


# JSON.


@dataclass(frozen=True)
class JsonList:
    """The table that a JSON file makes.

    Attributes:
        kind: "coco" where it holds labels, a row per annotation; "images" where it lists images.
        rows: The keys of an image, with `category_id` behind them for "coco"; then what each has.
        called: Names of the categories by id.
    """

    kind: ListKind
    rows: list[list[str]]
    called: Mapping[str, str] = field(default_factory=dict)


def read_json_list(path: Path) -> JsonList | None:
    """Read a list of objects, one per image, or an object with `images` and maybe `annotations`.

    Keys that hold lists or objects are left out. Annotations without a category, as captions, and
    those of images that aren't listed, tell no labels.

    Returns:
        The table; None where the file is something else.
    """
    try:
        content = load_json(path)
    except DataError:
        return None
    is_whole = isinstance(content, dict)
    images = _plain(content.get("images") if is_whole else content)
    if not images:
        return None
    notes = _plain(content.get("annotations")) if is_whole else []
    by_id = {_id(image, "image_id"): image for image in images}
    pairs = [
        (by_id[image_id], str(note[CATEGORY]))
        for note in notes
        if CATEGORY in note and (image_id := str(note.get("image_id"))) in by_id
    ]
    if not pairs:
        return JsonList("images", rows_of_objects(images))
    kinds = {_id(one, CATEGORY): one for one in _plain(content.get("categories"))}
    named = {key: one.get("name", one.get("scientificName")) for key, one in kinds.items()}
    called = {key: name for key, name in named.items() if isinstance(name, str) and name}
    return JsonList(
        "coco", rows_of_objects([one | {CATEGORY: kind} for one, kind in pairs]), called
    )


def _plain(objects: Any) -> Sequence[dict[str, Any]]:
    """Keep what can stand in a table; nothing where these aren't objects throughout."""
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        return []
    return [
        {key: value for key, value in one.items() if not isinstance(value, list | dict)}
        for one in objects
    ]


def _id(one: Mapping[str, Any], name: str) -> str:
    return str(one.get("id", one.get(name)))
