"""Read lists of unknown form: their separator, header, and the column that names the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data.catalog import IMAGE_SUFFIXES
from pipeline.data.joining import NameJoin
from pipeline.data.label_lists import with_extension
from pipeline.errors import DataError
from pipeline.store.foreign import read_foreign_csv

SEPARATORS = ("\t", ",", ";", "|", " ")
# A list is of images if so many of its names are theirs, or so many of them are named: strays,
# missing files and cuts of a data set are common.
MIN_JOINED = 0.5


@dataclass(frozen=True)
class ForeignList:
    """A list as it stands.

    Attributes:
        name: By which it is found.
        path: The file.
        separator: What stands between its columns; a comma where there is one column.
        rows: All rows, the header's included, as long as the first.
    """

    name: str
    path: Path
    separator: str
    rows: list[list[str]]

    @property
    def form(self) -> dict[str, str]:
        """The key that its separator needs in a competition's file; none for a comma."""
        return {} if self.separator == "," else {"separator": self.separator}

    @property
    def num_columns(self) -> int:
        """Number of columns."""
        return len(self.rows[0])

    def column(self, number: int) -> list[str]:
        """Return a column, what may be its header included."""
        return [row[number] for row in self.rows]


@dataclass(frozen=True)
class Ids:
    """The column in which a list names images, and the images that it names.

    Attributes:
        column: Number of the column, from 0.
        extension: What its ids lack to be file names.
        has_header: Whether the first row names the columns.
        images: image_ids of those that it names.
    """

    column: int
    extension: str
    has_header: bool
    images: frozenset[str]

    @property
    def num_joined(self) -> int:
        """Number of images that it names."""
        return len(self.images)


def read_list(name: str, path: Path) -> ForeignList | None:
    """Read a list with whatever separator cuts all its lines alike; None if it is no list."""
    for separator in SEPARATORS:
        table = _cut(name, path, separator)
        if table is not None and table.num_columns > 1:
            return table
    return _cut(name, path, ",")


def _cut(name: str, path: Path, separator: str) -> ForeignList | None:
    try:
        rows = [fields for _, fields in read_foreign_csv(path, separator).rows]
    except DataError:
        return None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    return ForeignList(name, path, separator, rows)


def find_ids(table: ForeignList, image_ids: Sequence[str]) -> Ids | None:
    """Find the column that names the most of the images; None if none names enough."""
    join = NameJoin(image_ids)
    extensions = ["", *sorted({PurePosixPath(image_id).suffix for image_id in image_ids})]
    found = []
    for column in range(table.num_columns):
        for extension in extensions:
            names = [with_extension(value, extension) for value in table.column(column)]
            joined = [join.find(name) for name in names]
            images = frozenset(image_id for image_id in joined if image_id is not None)
            is_image = PurePosixPath(names[0]).suffix.lower() in IMAGE_SUFFIXES
            has_header = joined[0] is None and (bool(extension) or not is_image)
            # A column without a name may be pandas' row numbers, which look like ids, too.
            is_named = not has_header or table.rows[0][column] != ""
            rank = (len(images), is_named, -len(extension), -column)
            found.append((rank, Ids(column, extension, has_header, images)))
    _, best = max(found, key=lambda one: one[0])
    num_expected = min(len(table.rows) - best.has_header, len(image_ids))
    return best if best.num_joined >= MIN_JOINED * max(1, num_expected) else None
