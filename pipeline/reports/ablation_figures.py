"""Draw an ablation's differences, curves, features and gaps; tabulate its numbers."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipeline.ablation.ablation_summary import AblationResult, Row, compared_metrics
from pipeline.config.competition import Competition
from pipeline.reports.style import COLORS, GREY, LINES, MARKERS, drawing, to_png
from pipeline.scoring.metrics import get_metric
from pipeline.store.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NUMBERS = {
    "roc_area": "area under ROC",
    "precision_recall_area": "area under precision and recall",
    "net_benefit_at_half": "net benefit at 0.5",
    "train_accuracy": "accuracy of what was learned from",
    "accuracy_gap": "accuracy lost on what wasn't",
    "train_log_loss": "log loss of what was learned from",
    "log_loss_gap": "log loss added on what wasn't",
    "silhouette": "silhouette of the classes",
    "scatter_ratio": "scatter between / within classes",
}


def comparison_table(rows: Sequence[Row], metric: str) -> Table:
    """Tabulate the metrics of every recipe, and its difference to the first one.

    Args:
        rows: As `summarise` makes them.
        metric: The competition's.
    """
    baseline = rows[0]["recipe"]
    table = Table("recipe", "metric", "mean", f"against {baseline}", "verdict")
    table.title = "out of fold, means over the seeds"
    table.caption = "the intervals hold all together with 95 %: images and seeds were drawn anew"
    for row in rows:
        for number, one in enumerate(compared_metrics(metric)):
            against = f"{format_difference(row, one)}" if row is not rows[0] else ""
            verdict = row.get(f"{one}_verdict") or ""
            name = "" if number else row["recipe"]
            table.add_row(name, one, _text(row[one]), against, verdict)
    return table


def numbers_table(rows: Sequence[Row]) -> Table:
    """Tabulate areas, the gap between train and val, and how far classes lie apart."""
    table = Table("", title="beside it, without an interval")
    for row in rows:
        table.add_column(row["recipe"], justify="right")
    for key, heading in NUMBERS.items():
        table.add_row(heading, *(_text(row[key]) for row in rows))
    return table


def format_verdicts(rows: Sequence[Row], metric: str) -> Iterator[str]:
    """Format a line per recipe but the first: is it better by the competition's metric?"""
    baseline = rows[0]["recipe"]
    for row in rows[1:]:
        verdict = row[f"{metric}_verdict"]
        text = f"{verdict} than {baseline}"
        if verdict == "can't tell":
            text = f"can't tell it from {baseline}"
        yield f"{row['recipe']}: {text}, {metric} {format_difference(row, metric)}"


def format_difference(row: Row, metric: str) -> str:
    """Format a difference with its interval, as `+0.0100 [-0.0020, +0.0220]`."""
    value, low, high = (row[f"{metric}_{part}"] for part in ("difference", "low", "high"))
    return f"{_signed(value)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"


def _text(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4f}"


CURVES = {
    "roc": ("ROC", "false positive rate", "true positive rate"),
    "precision_recall": ("precision and recall", "recall", "precision"),
    "net_benefit": ("decision curve", "probability from which one acts", "net benefit"),
}


def save_pictures(
    ablation: AblationResult, competition: Competition, place: Callable[[str], Path]
) -> list[Path]:
    """Save the pictures of an ablation.

    Args:
        ablation: Numbers and points.
        competition: Its metric and classes.
        place: Returns the file of a picture by its name.

    Returns:
        The files that were written.
    """
    pictures = {
        "differences": draw_differences(ablation.rows, competition.metric),
        "curves": draw_curves(ablation),
        "tsne": draw_layouts(ablation, competition.classes),
        "gaps": draw_gaps(ablation.rows),
    }
    for name, content in pictures.items():
        write_bytes(place(name), content)
    return [place(name) for name in pictures]


def draw_differences(rows: Sequence[Row], metric: str) -> bytes:
    """Draw each recipe's difference to the first one, a panel per metric; returns a PNG."""
    metrics, others = compared_metrics(metric), rows[1:]
    with drawing(2.6 * len(metrics) + 0.6, 0.45 * len(others) + 1.2) as figure:
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, one in zip(panels, metrics, strict=True):
            axes.axvline(0, color=GREY, linewidth=1)
            for y, row in enumerate(others):
                value, low, high = (row[f"{one}_{part}"] for part in ("difference", "low", "high"))
                verdict = row[f"{one}_verdict"]
                color = {"better": COLORS[0], "worse": COLORS[1]}.get(verdict, GREY)
                axes.plot([low, high], [y, y], color=color, linestyle="-", linewidth=2)
                axes.plot([value], [y], color=color, marker="o", linestyle="")
                axes.annotate(
                    verdict,
                    (value, y),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
            side = "right" if get_metric(one).greater_is_better else "left"
            axes.set(xlabel=f"difference, better to the {side}", title=metric_title(one))
            axes.margins(x=0.15, y=0.3)
            axes.tick_params(axis="x", labelsize=7)
        panels[0].set_yticks(range(len(others)), [row["recipe"] for row in others])
        panels[0].set_ylabel(f"against {rows[0]['recipe']}")
        panels[0].invert_yaxis()
        return to_png(figure)


def draw_curves(ablation: AblationResult) -> bytes:
    """Draw ROC, precision and recall, and the decision curve; returns a PNG."""
    areas = {row["recipe"]: row for row in ablation.rows}
    with drawing(11.5, 4.2) as figure:
        panels = figure.subplots(1, len(CURVES))
        for axes, (name, (title, x, y)) in zip(panels, CURVES.items(), strict=True):
            of_curve = ablation.points[ablation.points["curve"] == name]
            for number, recipe in enumerate(areas):
                own = of_curve[of_curve["recipe"] == recipe]
                area = areas[recipe].get(f"{name}_area")
                label = recipe if area is None else f"{recipe}, area {area:.4f}"
                axes.plot(own["x"], own["y"], **_line(number), label=label)
            axes.set(title=title, xlabel=x, ylabel=y)
        roc, _, decision = panels
        roc.set(xscale="log", xlabel=f"{CURVES['roc'][1]}, logarithmic", xlim=(1e-3, 1))
        roc.xaxis.set_major_formatter("{x:g}")
        benefits = ablation.points[ablation.points["curve"] == "net_benefit"]
        for name, label in (("all", "act on all"), ("none at all", "act on none")):
            own = benefits[benefits["recipe"] == name]
            style = "-" if name == "all" else ":"
            decision.plot(own["x"], own["y"], color=GREY, linestyle=style, label=label)
        highest = benefits["y"].max()
        decision.set_ylim(-0.15 * highest, 1.1 * highest)  # acting on all falls without end
        for axes in panels:
            axes.legend()
        return to_png(figure)


def draw_layouts(ablation: AblationResult, classes: Sequence[str]) -> bytes:
    """Draw held-out images' features by t-SNE, a panel per recipe; returns a PNG."""
    numbers = {row["recipe"]: row for row in ablation.rows}
    columns = min(2, len(ablation.layouts))
    lines = math.ceil(len(ablation.layouts) / columns)
    with drawing(4.4 * columns + 1.4, 4.2 * lines) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(ablation.layouts) :]:
            axes.set_visible(False)
        for axes, (recipe, points) in zip(panels, ablation.layouts.items(), strict=False):
            for index, name in enumerate(classes):
                own = points[ablation.layout_targets == index]
                axes.plot(own[:, 0], own[:, 1], **_points(index), label=name)
            row = numbers[recipe]
            axes.set(
                title=f"{recipe}: silhouette {_short(row['silhouette'])}, between / within "
                f"{_short(row['scatter_ratio'])}",
                xlabel="t-SNE, first axis",
                ylabel="t-SNE, second axis",
                xticks=[],
                yticks=[],
            )
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", title="class")
        return to_png(figure)


def draw_gaps(rows: Sequence[Row]) -> bytes:
    """Draw train against val of every recipe, for accuracy and log loss; returns a PNG."""
    with drawing(8, 0.45 * len(rows) + 1.4) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("accuracy", "log_loss"), strict=True):
            _draw_gap(axes, rows, metric)
        panels[0].set_yticks(range(len(rows)), [row["recipe"] for row in rows])
        panels[0].set_ylabel("recipe")
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2)
        return to_png(figure)


def _draw_gap(axes: "Axes", rows: Sequence[Row], metric: str) -> None:
    for y, row in enumerate(rows):
        ends = [row[f"train_{metric}"], row[f"val_{metric}"]]
        axes.plot(ends, [y, y], color=GREY, linestyle="-", zorder=1)
        for end, color, marker, label in zip(
            ends, COLORS, MARKERS, ("learned from, without augmentation", "held out"), strict=False
        ):
            axes.plot([end], [y], color=color, marker=marker, linestyle="", label=label)
        text = f"gap {row[f'{metric}_gap']:.4f}"
        middle = sum(ends) / 2
        axes.annotate(text, (middle, y), (0, 6), textcoords="offset points", ha="center")
    axes.set(xlabel=metric_title(metric))
    axes.margins(x=0.1, y=0.3)


def metric_title(metric: str) -> str:
    """Format a metric's name for people."""
    return metric.replace("_", " ").replace("f1", "F1").replace("auc", "AUC")


def _line(number: int) -> dict[str, str | float]:
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": LINES[number % len(LINES)],
        "linewidth": 1.3,
    }


def _points(index: int) -> dict[str, str | float]:
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": "",
        "markersize": 4,
        "alpha": 0.8,
    }


def _short(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
