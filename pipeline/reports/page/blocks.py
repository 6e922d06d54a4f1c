"""Define the blocks that sections are made of; `templates/page.html` shows each kind.

All text in them may come from file names and class names: it is plain text, never HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.reports.style import data_uri, to_svg

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
    is_small: bool = False


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
        compares: Whether readers choose two of its columns to see where they differ.
    """

    kind = "table"
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False
    compares: bool = False


@dataclass(frozen=True)
class Fold(Block):
    """Blocks that open on demand only."""

    kind = "fold"
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Row(Block):
    """Blocks beside each other, where there is room."""

    kind = "row"
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Finding:
    """A line of what was found, or of what to do next.

    Attributes:
        topic: One or two words before it.
        text: A sentence or two.
        section: Id of the section that shows it; empty for none.
        command: What to type; empty for nothing.
    """

    topic: str
    text: str
    section: str = ""
    command: str = ""


@dataclass(frozen=True)
class Findings(Block):
    """The page in a few lines."""

    kind = "findings"
    lines: Sequence[Finding]


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
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    is_folded: bool = False,
    compares: bool = False,
) -> Table:
    """Make a table of plain values: texts, numbers (fractions with four digits), None for empty."""
    cells = [[_cell(value) for value in row] for row in rows]
    return Table(caption, headings, cells, is_folded, compares)


def without_empty_columns(
    headings: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[list[str], list[list[Any]]]:
    """Leave out the columns in which no row has anything; returns headings and rows."""
    kept = [place for place in range(len(headings)) if any(_cell(row[place]).text for row in rows)]
    return [headings[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None or value != value:  # NaN alone differs from itself
        return Cell("", EMPTY_SORTS_AS)
    if isinstance(value, str):
        return Cell(value, value)
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
    return Cell(text, float(value))
