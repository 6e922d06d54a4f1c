"""Tabulate an ensemble's methods and members for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from pipeline.scoring.ensembling.selection import AUTO, FALLBACK, MethodScore


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
    table.add_column(f"log loss against {FALLBACK}", justify="right")
    for one in scores:
        cells = [str(one.log_loss), f"{one.fitted_log_loss:.4f}", str(one.against_fallback or "")]
        if not is_loss:
            cells = [str(one.score), f"{one.fitted_score:.4f}", *cells]
        name = f"{one.method} *" if one.method == used else one.method
        table.add_row("auto, nested" if one.method == AUTO else name, *cells)
    table.caption = (
        f"* is used. if fitted: to the images that it is scored on. against {FALLBACK}: both at "
        "their best temperature; the intervals hold all together"
    )
    return table


def members_table(members: Sequence[dict[str, Any]]) -> Table:
    """Tabulate each member's weight, and the log loss that is lost without it.

    Args:
        members: The records of metrics.json.
    """
    table = Table("member", "weight", "log loss lost without it", "", title="members")
    for column in table.columns[1:3]:
        column.justify = "right"
    for member in members:
        flag = "" if member["helps"] else "no help beyond noise"
        table.add_row(member["name"], f"{member['weight']:.2f}", _change(member["without"]), flag)
    return table


def _change(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    low, high = comparison["interval"]
    return f"{comparison['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
