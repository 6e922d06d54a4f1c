"""Define the blocks that sections are made of; `templates/page.html` shows each kind.

All text in them may come from file names and class names: it is plain text, never HTML.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.reports.style import data_uri, to_svg
from pipeline.store.paths import Paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PX_PER_INCH = 96  # CSS's own
LONG_CELL = 30  # letters
EMPTY_SORTS_AS = -1e308  # sorts an empty field below every number


@dataclass(frozen=True)
class Picture:
    """An image with its own data.

    Attributes:
        uri: The data.
        alt: What it shows, for those who don't see it.
        width: In CSS pixels.
        height: In CSS pixels.
        label: A few words below it; empty for none.
    """

    uri: str
    alt: str
    width: int
    height: int
    label: str = ""


@dataclass(frozen=True)
class Card:
    """Pictures that belong together, with a title and lines of text."""

    pictures: Sequence[Picture]
    title: str
    lines: Sequence[str] = ()


class Block:
    """A part of a section; `kind` names its macro in the template."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Paragraph(Block):
    """A few sentences."""

    kind = "paragraph"
    text: str


@dataclass(frozen=True)
class Hint(Block):
    """A text about what is missing, and the command that makes it."""

    kind = "hint"
    text: str
    command: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Pairs of a name and its value."""

    kind = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Commands(Block):
    """Lines to type."""

    kind = "commands"
    lines: Sequence[str]


@dataclass(frozen=True)
class Chart(Block):
    """A drawn figure.

    Attributes:
        picture: The drawing.
        caption: What to see in it.
        is_wide: Whether a narrow screen scrolls it instead of shrinking it.
    """

    kind = "chart"
    picture: Picture
    caption: str
    is_wide: bool = False


@dataclass(frozen=True)
class Charts(Block):
    """Charts beside each other, where there is room."""

    kind = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Gallery(Block):
    """Cards beside each other."""

    kind = "gallery"
    caption: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Cell:
    """A field of a table: its text, and the value that it is sorted by."""

    text: str
    value: float | str

    @property
    def is_number(self) -> bool:
        """Whether it stands on the right."""
        return not isinstance(self.value, str)

    @property
    def is_long(self) -> bool:
        """Whether it needs several lines, and a column of some width for them."""
        return len(self.text) > LONG_CELL


@dataclass(frozen=True)
class Table(Block):
    """A table that its readers can sort.

    Attributes:
        caption: What it holds.
        headings: Of its columns; the first names the row.
        rows: Its cells.
        is_folded: Whether it opens on demand only.
    """

    kind = "table"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: Its name in links.
        title: Its heading.
        blocks: What stands below, in order.
    """

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def chart(figure: "Figure", alt: str, caption: str, *, is_wide: bool = False) -> Chart:
    """Make a chart of a figure that was drawn within `style.drawing`."""
    width, height = (round(inches * PX_PER_INCH) for inches in figure.get_size_inches())
    picture = Picture(data_uri(to_svg(figure), "image/svg+xml"), alt, width, height)
    return Chart(picture, caption, is_wide)


def table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], *, is_folded: bool = False
) -> Table:
    """Make a table of plain values: texts, numbers (fractions with four digits), None for empty."""
    cells = [[_cell(value) for value in row] for row in rows]
    return Table(caption, headings, cells, is_folded)


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None or value != value:  # NaN alone differs from itself
        return Cell("", EMPTY_SORTS_AS)
    if isinstance(value, str):
        return Cell(value, value)
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
    return Cell(text, float(value))


SIDE_PX = 160
_QUALITY = 70  # of WebP: about 4 kB per picture


def thumbnails(paths: Paths, images: pd.DataFrame, side_px: int = SIDE_PX) -> list[Picture]:
    """Read images and scale down the middle square of each.

    Args:
        paths: Where they lie.
        images: Rows of `train.csv` or `test.csv`.
        side_px: Of the pictures.

    Raises:
        DataError: An image can't be read any more.
    """
    copies = WorkingCopies(paths, side_px)
    return [
        encode(_square(copies.read(image)), f"image {image.image_id}", side_px)
        for image in ImageRows(images)
    ]


def encode(image: ByteImage, alt: str, side_px: int = SIDE_PX, label: str = "") -> Picture:
    """Make a picture of a square image, `(S, S, 3)` uint8."""
    if image.shape[0] != side_px:
        shrinks = image.shape[0] > side_px
        how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST  # small ones show their pixels
        image = np.asarray(cv2.resize(image, (side_px, side_px), interpolation=how), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return Picture(data_uri(buffer.getvalue(), "image/webp"), alt, side_px, side_px, label)


def _square(image: ByteImage) -> ByteImage:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
