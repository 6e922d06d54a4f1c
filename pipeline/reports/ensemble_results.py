"""Tabulate an ensemble's methods and members, draw its reliability; show the course of `run`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table

from pipeline.ladder.course import Course
from pipeline.reports.style import COLORS, GREY, LINES, MARKERS, drawing, shorten, to_png
from pipeline.scoring.ensembling.selection import AUTO, FALLBACK, MethodScore
from pipeline.scoring.metrics import get_metric
from pipeline.store.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE_LETTERS = 16  # of the terminal's curve of scores


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


def methods_table(scores: Sequence[MethodScore], metric: str, used: str) -> Table:
    """Tabulate the scores of each method.

    Args:
        scores: Of all methods that were tried.
        metric: The competition's.
        used: The method that was used, to be marked.
    """
    is_loss = metric == "log_loss"
    table = Table("method", title="methods, out of fold, with 95 % interval")
    for column in ["log loss"] if is_loss else [metric, "log loss"]:
        table.add_column(column, justify="right")
        table.add_column("if fitted", justify="right")
    compared = {one.against_fallback.metric for one in scores if one.against_fallback}
    by = " ".join(compared).replace("_", " ")
    table.add_column(f"{by} against {FALLBACK}", justify="right")
    for one in scores:
        cells = [str(one.log_loss), f"{one.fitted_log_loss:.4f}", str(one.against_fallback or "")]
        if not is_loss:
            cells = [str(one.score), f"{one.fitted_score:.4f}", *cells]
        name = f"{one.method} *" if one.method == used else one.method
        table.add_row("auto, nested" if one.method == AUTO else name, *cells)
    how = "both at their best temperature; " if compared == {"log_loss"} else ""
    table.caption = (
        f"* is used. if fitted: to the images that it is scored on. against {FALLBACK}: {how}the "
        "intervals hold all together"
    )
    return table


def members_table(members: Sequence[dict[str, Any]]) -> Table:
    """Tabulate each member's weight, and the loss by which it is missed.

    Args:
        members: The records of metrics.json.
    """
    table = Table("member", "weight", lost_heading(members), "", title="members")
    for column in table.columns[1:3]:
        column.justify = "right"
    for member in members:
        flag = "" if member["helps"] else "no help beyond noise"
        table.add_row(member["name"], f"{member['weight']:.2f}", _change(member["without"]), flag)
    return table


def lost_heading(members: Sequence[dict[str, Any]]) -> str:
    """Name what is lost without a member, by the metric that they were compared by, if any was."""
    found = [one["without"]["metric"] for one in members if one["without"]]
    return f"{found[0]} lost without it".replace("_", " ") if found else "lost without it"


def lost(comparison: dict[str, Any]) -> tuple[float, float, float]:
    """Return what is lost without a member, and the ends of its interval; below 0 it is gained."""
    low, high = comparison["interval"]
    values: tuple[float, float, float] = (comparison["difference"], low, high)
    if get_metric(comparison["metric"]).greater_is_better:
        return 0.0 - values[0], 0.0 - high, 0.0 - low  # 0 keeps its sign
    return values


def _change(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    value, low, high = lost(comparison)
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"


def draw_course(figure: "Figure", course: Course) -> None:
    """Draw the score over the minutes of work: the blend of every rung, and the best so far.

    Args:
        figure: An empty one.
        course: With a rung that was reached at least.
    """
    axes = figure.subplots()
    minutes = [one.seconds / 60 for one in course.reached]
    scores = [one.score for one in course.reached]
    # Resamples lack rare labels, so an interval of theirs may lie beside the score.
    errors = [
        [max(0.0, one.score - one.interval[0]), max(0.0, one.interval[1] - one.score)]
        for one in course.reached
    ]
    axes.errorbar(
        minutes,
        scores,
        yerr=list(zip(*errors, strict=True)),
        fmt=MARKERS[0],
        color=COLORS[0],
        label="each rung, with 95 % interval",
    )
    kept = [one for one in course.reached if one.sha256]
    axes.step(
        [*(one.seconds / 60 for one in kept), max(minutes)],
        [*(one.score for one in kept), kept[-1].score],
        where="post",
        color=GREY,
        label="run.csv",
    )
    for minute, one in zip(minutes, course.reached, strict=True):
        name, place = shorten(one.rung), (minute, one.score)
        axes.annotate(name, place, xytext=(4, 4), textcoords="offset points", fontsize="small")
    axes.set(xlabel="minutes", ylabel=f"{course.metric}, out of fold", xlim=(0, None))
    axes.legend(loc="lower right")


def course_table(course: Course) -> Table:
    """Tabulate the rungs of a run with their scores, drawn beside each other.

    Args:
        course: With a rung that was reached at least.
    """
    scores = [one.score for one in course.reached]
    low, high = min(scores), max(scores)
    table = Table("rung", "minutes", course.metric, "", "experiments")
    table.title, table.caption = "run: score over time", "* is run.csv"
    table.columns[1].justify = "right"
    table.columns[0].overflow = table.columns[4].overflow = "fold"
    for one in course.reached:
        place = round((one.score - low) / (high - low) * _CURVE_LETTERS) if high > low else 0
        table.add_row(
            one.rung + (" *" if one == course.best else ""),
            f"{one.seconds / 60:.1f}",
            f"{one.score:.4f} [{one.interval[0]:.4f}, {one.interval[1]:.4f}]",
            " " * place + "●",
            str(len(one.members)),
        )
    return table
