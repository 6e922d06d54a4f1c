"""Set the look of figures: colours that colour-blind eyes tell apart, for light and dark pages."""

import base64
import io
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's blue, vermillion, green and purple: those with a contrast of 3 to 1 at least both
# to a white page and to a dark one.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
GREY = "#7f7f7f"  # for baselines
# Colour never stands alone: points of different classes differ in their markers, too, and lines
# change from solid to dashed where the colours come again.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", ":")
COLORMAP = "cividis"  # for magnitudes; grows lighter evenly, for colour-blind eyes, too

PNG_DPI = 150
MAX_NAME_LETTERS = 24  # letters of a name in a chart
MAX_WORDS = 80  # in a sentence
BLANKS = frozenset("\u2800\u115f\u1160\u3164\uffa0")  # printable, and nothing to be seen

# Text and axes. In an SVG it becomes the colour of the reader's page.
INK = "#1f2328"
_INK_ON_DARK = "#d7dbe0"
_STYLE = (
    f"<style>svg{{color:{INK}}}"
    f"@media (prefers-color-scheme:dark){{svg{{color:{_INK_ON_DARK}}}}}</style>"
)

_RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "axes.unicode_minus": False,
    "font.family": ["DejaVu Sans"],  # matplotlib's own, the same on every machine
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.12,  # the last label of an axis stands out of it
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": GREY,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "svg.fonttype": "none",  # text stays text: small, and in letters that DejaVu lacks
    "svg.hashsalt": "pipeline",  # equal figures, equal bytes
    "text.color": INK,
    "text.parse_math": False,  # a class may be named "$x$"
    "xtick.color": INK,
    "ytick.color": INK,
}


def shorten(name: str) -> str:
    """Shorten a name so that it leaves room for the chart beside it."""
    return _seen(name, MAX_NAME_LETTERS)


def _seen(name: str, most: int) -> str:
    """Cut a name after so many letters; one of blanks is told by their numbers."""
    if not set(name) - BLANKS:
        name = " ".join(f"U+{ord(letter):04X}" for letter in name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def in_words(name: str) -> str:
    """Return a class's name as a sentence shows it: not too long, to be seen, set apart."""
    return apart(_seen(name, MAX_WORDS))


def apart(text: str) -> str:
    """Set text apart that is written from right to left: it would take what follows along."""
    is_rtl = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"\u2068{text}\u2069" if is_rtl else text


def line(number: int) -> dict[str, Any]:
    """Return the look of the `number`-th line, counted from 0: no two of 16 look the same."""
    around = number // len(COLORS)
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": LINES[(number % len(COLORS) + around) % len(LINES)],
    }


def point(number: int) -> dict[str, Any]:
    """Return the look of the `number`-th kind of points: colours come again with other markers."""
    around = number // len(COLORS)
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[(number % len(COLORS) + around) % len(MARKERS)],
    }


@contextmanager
def drawing(width: float = 4.8, height: float = 3.4) -> Iterator["Figure"]:
    """Yield an empty figure to draw on and to save, all within this context.

    Args:
        width: Inches. Text is 9 points: at 4.8 inches it can still be read on a phone, which shows
            the figure at three quarters of its size.
        height: Inches.
    """
    import matplotlib as mpl  # here: half a second to import
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look: Any = _RC | {"axes.prop_cycle": cycler(linestyle=LINES) * cycler(color=COLORS)}
    with mpl.rc_context(look), _quiet():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def to_svg(figure: "Figure") -> bytes:
    """Save a figure without background, its text and axes dark or light as the reader's page is.

    It stays so in an `<img>`. Artists drawn with `rasterized=True` become one picture in it, which
    keeps thousands of points small.
    """
    _number_plainly(figure)
    buffer = io.BytesIO()
    metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, dpi=150, metadata=metadata)
    text = buffer.getvalue().decode("utf-8").replace(INK, "currentColor")
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', system-ui, sans-serif")
    return text.replace("<defs>", f"{_STYLE}<defs>", 1).encode()


def to_png(figure: "Figure") -> bytes:
    """Save a figure on white; equal figures, equal bytes."""
    _number_plainly(figure)
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", facecolor="white", dpi=PNG_DPI, metadata={"Software": None}
    )
    return buffer.getvalue()


def data_uri(content: bytes, media_type: str) -> str:
    """Encode content as a data URI, of a media type such as `image/svg+xml` or `image/webp`."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _number_plainly(figure: "Figure") -> None:
    """Label logarithmic axes `0.1`, as text isn't read as formulas here."""
    from matplotlib.ticker import LogFormatterSciNotation, NullFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter(NullFormatter())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings of letters that DejaVu lacks: in an SVG the reader's own fonts have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
