"""Reliability diagram: how often predictions are right, by how sure they are."""

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.atomic import write_bytes

# Okabe & Ito's colours, told apart by colour-blind eyes, too; the markers differ as well.
STYLES = (("#D55E00", "o"), ("#0072B2", "s"))


def save_reliability_diagram(tables: Mapping[str, pd.DataFrame], title: str, path: Path) -> None:
    """Draw accuracy over confidence, and below it the images counted; equal tables, equal bytes.

    Args:
        tables: At most two, by their names in the legend; see `reliability_table`.
        title: What is shown.
        path: The PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: half a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.14, right=0.96, bottom=0.09, top=0.94, hspace=0.08)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as sure as right")
    for (name, table), (color, marker) in zip(tables.items(), STYLES, strict=False):
        filled = table[table["count"] > 0]
        upper.plot(filled["confidence"], filled["accuracy"], color=color, marker=marker, label=name)
        lower.stairs(table["count"], [*table["low"], 1], color=color)
    upper.set(ylabel="accuracy", title=title, ylim=(0, 1.02))
    upper.legend()
    lower.set(xlabel="confidence (largest probability)", ylabel="images", xlim=(0, 1))
    lower.set(yscale="log", ylim=(0.8, None))  # most images lie in the last bin
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
