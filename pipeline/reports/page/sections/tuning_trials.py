"""Show how searches went, and which parameters mattered."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.reports.page.blocks import (
    Block,
    Cell,
    Chart,
    Charts,
    Hint,
    Paragraph,
    Section,
    chart,
    table,
)
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, drawing, shorten
from pipeline.scoring.metrics import get_metric
from pipeline.store.tables import load_record

MAX_STUDIES = 3
MAX_PARAMETERS = 8
MAX_TRIALS = 20
FIXED = ("trial", "state", "value", "seconds", "reason")


def build(data: ReportData) -> list[Section]:
    """Show the trials of every search."""
    if not data.results:
        return []
    found = [one for one in data.results if data.paths.experiment(one.name).tuning_stamp.is_file()]
    if not found:
        hint = Hint("Nothing was searched yet:", data.command("tune"))
        return [Section("tuning", "Tuning", [hint])]
    blocks = [block for one in found[:MAX_STUDIES] for block in _study(data, one.name)]
    return [Section("tuning", "Tuning", blocks)]


def _study(data: ReportData, name: str) -> list[Block]:
    files = data.paths.experiment(name)
    trials = load_record(files.trials)
    complete = trials[trials["state"] == "complete"]
    metric = data.competition.metric
    keys = [str(key) for key in trials.columns if key not in FIXED]
    states = ", ".join(
        f"{count} {state}" for state, count in trials["state"].value_counts().items()
    )
    text = (
        f"{name}: {len(trials):,} trials ({states}), judged by {metric} out of fold. The best was "
        "chosen on these folds, which flatters it a little."
    )
    charts = [
        _history(complete, metric),
        *(_slice(complete, key, metric) for key in keys[:MAX_PARAMETERS]),
    ]
    rows = [
        [int(row["trial"]), float(row["value"]), *(_plain(row[key]) for key in ("seconds", *keys))]
        for row in complete.head(MAX_TRIALS).to_dict("records")
    ]
    caption = f"The best trials of {name}; all of them stand in {data.below_root(files.trials)}"
    return [
        Paragraph(text),
        Charts(charts),
        table(caption, ["trial", metric, "seconds", *keys], rows),
    ]


def _history(trials: pd.DataFrame, metric: str) -> Chart:
    ordered = trials.sort_values("trial")
    greater = get_metric(metric).greater_is_better
    best = ordered["value"].cummax() if greater else ordered["value"].cummin()
    with drawing(4.2, 3.0) as figure:
        axes = figure.subplots()
        axes.scatter(ordered["trial"], ordered["value"], s=16, color=COLORS[0], label="a trial")
        axes.step(ordered["trial"], best, where="post", color=COLORS[1], label="best so far")
        axes.set(xlabel="trial", ylabel=metric)
        axes.legend()
        caption = f"The search's way: best value {best.iloc[-1]:.4f}."
        return chart(figure, f"{metric} of each trial in order", caption)


def _slice(trials: pd.DataFrame, key: str, metric: str) -> Chart:
    shown = trials[trials[key].notna()]
    values = shown[key]
    with drawing(4.2, 3.0) as figure:
        axes = figure.subplots()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers = values.to_numpy(dtype=np.float64)
            axes.scatter(numbers, shown["value"], s=16, color=COLORS[0], alpha=0.8)
            if numbers.size and numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
                axes.set_xscale("log")
        else:
            axes.scatter(
                values.astype(str).map(shorten), shown["value"], s=16, color=COLORS[0], alpha=0.8
            )
        axes.set(xlabel=key, ylabel=metric)
        return chart(figure, f"{metric} by {key}", f"What {key} changes.")


def _plain(value: Any) -> Any:
    """Return a value as a table shows it: numbers no longer than they need be."""
    if isinstance(value, bool):
        return str(value)
    return Cell(f"{value:.4g}", value) if isinstance(value, float) and value == value else value
