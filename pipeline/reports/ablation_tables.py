"""An ablation's numbers as tables for the terminal, and its verdicts as sentences."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from pipeline.ablation.summary import Row, metrics_of

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
        for number, one in enumerate(metrics_of(metric)):
            against = f"{difference(row, one)}" if row is not rows[0] else ""
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


def verdicts(rows: Sequence[Row], metric: str) -> Iterator[str]:
    """Say of every recipe but the first whether it is better by the competition's metric."""
    baseline = rows[0]["recipe"]
    for row in rows[1:]:
        verdict = row[f"{metric}_verdict"]
        told = f"{verdict} than {baseline}"
        if verdict == "can't tell":
            told = f"can't tell it from {baseline}"
        yield f"{row['recipe']}: {told}, {metric} {difference(row, metric)}"


def difference(row: Row, metric: str) -> str:
    """Write a difference with its interval, as `+0.0100 [-0.0020, +0.0220]`."""
    value, low, high = (row[f"{metric}_{part}"] for part in ("difference", "low", "high"))
    return f"{_signed(value)} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"


def _text(value: Any) -> str:
    return "undefined" if value is None else f"{value:.4f}"
