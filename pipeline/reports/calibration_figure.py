"""Draw a reliability diagram: accuracy over confidence, bin by bin."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.reports.style import COLORS, GREY, LINES, MARKERS, drawing, to_png
from pipeline.store.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_reliability_diagram(tables: Mapping[str, pd.DataFrame], title: str, path: Path) -> None:
    """Save a diagram as PNG; equal tables, equal bytes. See `draw_reliability`."""
    with drawing(4.8, 5.6) as figure:
        draw_reliability(figure, tables)
        figure.suptitle(title, fontsize="medium")
        write_bytes(path, to_png(figure))


def draw_reliability(figure: "Figure", tables: Mapping[str, pd.DataFrame]) -> None:
    """Draw accuracy over confidence, and below it the images counted.

    Args:
        figure: An empty one.
        tables: At most four, by their names in the legend; see `reliability_table`.
    """
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
    for (name, table), *look in zip(tables.items(), COLORS, MARKERS, LINES, strict=False):
        color, marker, line = look
        filled = table[table["count"] > 0]
        style = {"color": color, "linestyle": line}
        upper.plot(filled["confidence"], filled["accuracy"], marker=marker, label=name, **style)
        lower.stairs(table["count"], [*table["low"], 1], **style)
    upper.set(ylabel="accuracy", ylim=(0, 1.02))
    upper.legend()
    lower.set(xlabel="confidence (largest probability)", ylabel="images", xlim=(0, 1))
    lower.set(yscale="log", ylim=(0.8, None))  # most images lie in the last bin
