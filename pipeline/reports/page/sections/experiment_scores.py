"""Show every current result with its scores, costs and settings."""

from typing import Any

import numpy as np

from pipeline.config.experiment import Experiment, ModelConfig
from pipeline.config.strict import parse
from pipeline.errors import PipelineError
from pipeline.reports.page.blocks import Block, Cell, Chart, Hint, Paragraph, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, drawing, shorten
from pipeline.store.paths import Paths
from pipeline.store.results import Result, all_members
from pipeline.store.tables import load_record

MAX_SHOWN = 30


def build(data: ReportData) -> list[Section]:
    """Show the results side by side."""
    blocks: list[Block] = []
    if data.results:
        blocks += [_intervals(data), _table(data)]
    else:
        blocks.append(Hint("Nothing is trained yet:", data.command("train")))
    blocks += [
        Paragraph(f"{name} is left out: {reason}") for name, reason in (data.left_out or {}).items()
    ]
    return [Section("experiments", "Experiments", blocks)]


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
        "log loss", "ECE", "parameters", "seconds", "differs from the defaults in",
    ]  # fmt: skip
    rows = [_row(data, one) for one in data.results]
    caption = (
        "Results, the best first. Spread: standard deviation of the folds' scores, the lowest and "
        "the highest. ECE: expected calibration error. Parameters: of the network, for an ensemble "
        "of all its members. Seconds: of all folds' training; cached features aren't counted again."
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
        float(metrics["log_loss"]),
        errors.get(one.name),
        _num_parameters(data, one),
        _seconds(data.paths, one),
        _settings(one),
    ]


def _parts(data: ReportData, one: Result) -> list[Result]:
    """Return the trained experiments that a result consists of."""
    names = {one.name, *all_members(data.paths, one.name)}
    return [part for part in data.results if part.name in names and not part.is_ensemble]


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


def _settings(one: Result) -> str:
    """Format the keys in which an experiment differs from the defaults, as `--set` takes them."""
    if one.is_ensemble:
        weights = ", ".join(
            f"{weight:.2f} {name}" for name, weight in one.config["members"].items()
        )
        return f"{one.config.get('method', 'blend')} of {weights}"
    defaults = Experiment(name="x", model=ModelConfig(name="")).model_dump(mode="json")
    own, usual = _flat(one.config), _flat(defaults)
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in own.items()
        if key not in ("name", "description") and value != usual.get(key)
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
