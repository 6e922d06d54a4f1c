"""Show every current result with scores, costs and settings, and the submissions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.config.experiment import Experiment
from pipeline.config.strict import parse
from pipeline.errors import PipelineError
from pipeline.reports.page.blocks import (
    Block,
    Cell,
    Chart,
    Hint,
    Paragraph,
    Row,
    Section,
    chart,
    table,
    without_empty_columns,
)
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, drawing, shorten
from pipeline.store.freshness import digest
from pipeline.store.paths import Paths
from pipeline.store.results import Result, all_members
from pipeline.store.tables import load_record
from pipeline.submission.submission_log import Entry, load_log

MAX_SHOWN = 20
MAX_COMPARED = 12


def build(data: ReportData) -> list[Section]:
    """Show the results side by side."""
    blocks: list[Block] = []
    if data.results:
        blocks += [Row([_intervals(data), Paragraph(_meaning(data))]), _table(data)]
    else:
        blocks.append(Hint("Nothing is trained yet:", data.command("train")))
    blocks += [
        Paragraph(f"{name} is left out: {reason}") for name, reason in (data.left_out or {}).items()
    ]
    blocks += [
        Paragraph(
            f"{name} was made when {before} was the metric; its scores here are of today's. What "
            "was chosen by the other one, as ways to blend, is chosen anew once it is made again."
        )
        for name, before in data.rescored.items()
    ]
    # Ensembles have other settings than what is trained: they come last.
    compared = sorted(data.results, key=lambda one: one.is_ensemble)[:MAX_COMPARED]
    blocks += [*_differences(compared), *_submissions(data)]
    return [Section("experiments", "Results", blocks)]


def _meaning(data: ReportData) -> str:
    """Say what the best score means, and why the file may do better."""
    best = data.results[0]
    text = (
        "Out of fold: every training image was predicted by a model that didn't learn from it, nor "
        "from a copy of it; the interval is for other images of this kind."
    )
    if len(data.results) > 1:
        text += f" The best of {len(data.results)} results is flattered a little by the choice."
        text += " An ensemble's score is nested: for every fold it was fitted on the others." * (
            best.is_ensemble and bool(best.metrics.get("methods"))
        )
    num_folds = len(best.metrics["fold_scores"])
    return (
        f"{text} The file may do better than {best.metrics['oof_score']:.4f}: it averages the "
        f"{num_folds} models of the folds, each of which is scored alone here, and wrong labels "
        "among the training images count against this score (on the cat-dog photos 0.9915 out of "
        "fold became 0.9960 on held-back answers)."
    )


def _intervals(data: ReportData) -> Chart:
    metric = data.competition.metric
    shown = data.results[:MAX_SHOWN][::-1]
    scores = np.array([one.metrics["oof_score"] for one in shown])
    ends = np.array([one.metrics["oof_interval_95"] for one in shown]).T
    with drawing(4.8, max(1.8, 1.0 + 0.26 * len(shown))) as figure:
        axes = figure.subplots()
        errors = np.abs(ends - scores)
        places = range(len(shown))
        axes.errorbar(scores, places, xerr=errors, fmt="o", color=COLORS[0], capsize=3)
        axes.set_yticks(places, [shorten(one.name) for one in shown])
        axes.set(xlabel=f"{metric}, out of fold", ylabel="result", ylim=(-0.6, len(shown) - 0.4))
        caption = (
            "Out-of-fold scores with 95 % intervals. Two results saw the same images, so they can "
            "differ for certain though their intervals overlap."
        )
        return chart(figure, f"{metric} of each result with its interval", caption)


def _table(data: ReportData) -> Block:
    headings = [
        "result", f"{data.competition.metric}, 95 % interval", "spread of the folds",
        "log loss", "ECE", "parameters", "seconds",
    ]  # fmt: skip
    rows = [_row(data, one) for one in data.results]
    caption = (
        "Results, the best first. Spread: standard deviation of the folds' scores, the lowest and "
        "the highest. "
    )
    headings, rows = without_empty_columns(headings, rows)
    caption += "ECE: expected calibration error. " * ("ECE" in headings)
    caption += (
        "Parameters: of the network, for an ensemble of all its members. Seconds: of all folds' "
        "training; cached features aren't counted again."
    )
    return table(caption, headings, rows)


def _row(data: ReportData, one: Result) -> list[Any]:
    metrics = one.metrics
    low, high = metrics["oof_interval_95"]
    folds = [value for value in metrics["fold_scores"] if value is not None]
    spread = float(np.std(folds, ddof=1)) if len(folds) > 1 else None
    text = f"{spread:.4f} ({min(folds):.3f} to {max(folds):.3f})" if spread is not None else ""
    errors = data.calibration_errors or {}
    score = float(metrics["oof_score"])
    return [
        one.name,
        Cell(f"{score:.4f} [{low:.4f}, {high:.4f}]", score),
        Cell(text, spread or 0.0),
        metrics.get("log_loss"),
        errors.get(one.name),
        _num_parameters(data, one),
        _seconds(data.paths, one),
    ]


def _parts(data: ReportData, one: Result) -> list[Result]:
    """Return the trained experiments that a result consists of, of equal ones the first."""
    names = {one.name, *all_members(data.paths, one.name)}
    parts = [part for part in data.results if part.name in names]
    members = [member for part in parts for member in part.metrics.get("members", [])]
    again = {name for member in members for name in member.get("copies", [])}
    return [part for part in parts if not part.is_ensemble and part.name not in again]


def _num_parameters(data: ReportData, one: Result) -> Cell:
    from pipeline.models.profile import num_parameters  # here: torch takes seconds to import

    total = 0
    for part in _parts(data, one):
        try:
            config = parse(Experiment, part.config, part.name)
            classes, size = data.competition.num_classes, config.images.size_px
            total += num_parameters(config.model, classes, size)
        except PipelineError:  # of a network that this installation doesn't know
            return Cell("", 0.0)
    return Cell(f"{total / 1e6:.2f} M" if total else "", float(total))


def _seconds(paths: Paths, one: Result) -> Cell:
    if one.is_ensemble:
        return Cell("", 0.0)
    files = sorted(paths.experiment(one.name).experiment_dir.glob("fold*/history.csv"))
    seconds = sum(float(load_record(path)["seconds"].iloc[-1]) for path in files)
    return Cell(f"{seconds:,.0f}", seconds)


def _differences(results: Sequence[Result]) -> list[Block]:
    """Show the settings in which results differ, a column each; ensembles by their members."""
    if len(results) < 2:
        return []
    settings = [_settings(one) for one in results]
    keys = list(dict.fromkeys(key for one in settings for key in one))
    rows = [[key, *(one.get(key, "") for one in settings)] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    caption = "What changed between two results: the settings in which they differ"
    headings = ["setting", *(one.name for one in results)]
    return [table(caption, headings, rows, is_folded=True, compares=True)] if rows else []


def _settings(one: Result) -> dict[str, str]:
    """Return an experiment's settings as `--set` takes them; an ensemble's method and weights."""
    if one.is_ensemble:
        weights = {f"weight of {name}": f"{weight:.3g}" for name, weight in
                   one.config["members"].items()}  # fmt: skip
        return {"method": str(one.config.get("method", "blend")), **weights}
    flat = _flat(one.config)
    hidden = ("name", "description")
    return {
        key: f"{value:.4g}" if isinstance(value, float) else str(value)
        for key, value in flat.items()
        if key not in hidden
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _submissions(data: ReportData) -> list[Block]:
    log = load_log(data.paths.submission_log)
    if not log:
        return []
    current = {digest(path) for path in data.paths.list_submissions()}
    headings = ["experiment", "file", "written, UTC", "metric", "OOF", "public", "private", "state"]
    rows = [_entry(entry, is_current=entry.sha256 in current) for entry in reversed(log)]
    caption = "Submissions: our score out of fold beside the judge's"
    return [table(caption, headings, rows)]


def _entry(entry: Entry, *, is_current: bool) -> list[Any]:
    sent = "not sent by us" if entry.sent is None else f"sent {entry.sent:%Y-%m-%d %H:%M}"
    return [
        entry.experiment,
        entry.file,
        f"{entry.time:%Y-%m-%d %H:%M}",
        entry.metric,
        entry.oof_score,
        entry.public_score,
        entry.private_score,
        f"{'there now' if is_current else 'replaced'}, {sent}",
    ]
