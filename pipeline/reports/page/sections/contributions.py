"""Show what parts contribute: members to the ensemble, recipes of augmentation to an experiment."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.reports.ensemble_results import lost, lost_heading
from pipeline.reports.page.blocks import (
    PX_PER_INCH,
    Block,
    Cell,
    Chart,
    Charts,
    Fold,
    Hint,
    Paragraph,
    Picture,
    Section,
    chart,
    table,
)
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, GREY, PNG_DPI, data_uri, drawing, shorten
from pipeline.scoring.ensembling.selection import AUTO
from pipeline.store.paths import AblationPaths
from pipeline.store.results import Result

MAX_SHOWN = 3
PICTURES = {
    "differences": "Differences to the first recipe, with intervals that hold all together.",
    "curves": "ROC, precision and recall, and net benefit, means over the seeds.",
    "tsne": "Features of held-out images by t-SNE, all from the same start.",
    "gaps": "How much better the recipes do on the images that they learned from.",
}
WAYS = {
    "mean": "every member has the same weight; nothing was fitted",
    "rank": "every member has the same weight, and counts by the order of its probabilities",
    "weighted": "the weights are those with which the mean loses least on held-out images",
    "calibrated": "each member is calibrated, and the weights lose least on held-out images",
    "stack": "a logistic regression on the members' log-probabilities found the weights",
}
VERY_HEAVY = 0.9  # a weight beside which the others hardly count


def build(data: ReportData) -> list[Section]:
    """Show the best ensemble, and every ablation."""
    if not data.results:
        return []
    ablations = _ablations(data) if data.competition.is_by_class else []
    return [Section("ensemble", "Ensemble", _ensemble(data)), *ablations]


def _ensemble(data: ReportData) -> list[Block]:
    found = [one for one in data.results if one.is_ensemble and "members" in one.metrics]
    if not found:
        hint = "There is no ensemble yet. To blend what is trained:"
        return [Hint(hint, data.command("ensemble"))]
    one = found[0]
    members: list[dict[str, Any]] = one.metrics["members"]
    blocks: list[Block] = [Paragraph(_why(one, members))] if members else []
    if members:
        is_compared = any(member["without"] for member in members)
        losses = [_losses(members)] if is_compared else []  # a lone member is missed by nobody
        blocks.append(Charts([_weights(members), *losses]))
    methods = [_methods(one)] if one.metrics.get("methods") else []
    return [*blocks, _members(one, members), *methods]


def _why(one: Result, members: list[dict[str, Any]]) -> str:
    """Say in a sentence why members have their weights."""
    method = one.config.get("method", "blend")
    ranked = sorted(members, key=lambda member: -member["weight"])
    first, silent = ranked[0], [member["name"] for member in ranked if not member["helps"]]
    how = f"Blended by '{method}': {WAYS.get(method, 'see docs/ensembles.md')}.{_choice(one)}"
    if method not in ("mean", "rank"):
        how += " So a member weighs what it knows that the others don't, not what it scores alone."
    if first["weight"] >= VERY_HEAVY and len(ranked) > 1:
        how += f" Beside {first['name']} the others hardly add anything."
    elif method not in ("mean", "rank"):
        how += f" {first['name']} weighs most, {first['weight']:.2f}."
    for member in members:
        if member.get("copies"):
            how += f" {', '.join(member['copies'])}: the same as {member['name']}, counted once."
    if silent and len(ranked) > 1:
        how += f" Not missed beyond noise: {', '.join(silent)}."
    return how


def _choice(one: Result) -> str:
    """Say why the way to blend was taken, where it was chosen among several."""
    tried = {entry["method"]: entry["against_fallback"] for entry in one.metrics.get("methods", [])}
    method = one.config.get("method")
    if method not in tried or "--method" in one.config.get("options", ""):
        return ""
    against = tried[method]
    if against is None:
        return " It is the baseline, and no other way was better beyond noise."
    baseline = next((name for name in tried if tried[name] is None and name != AUTO), "another")
    low, high = against["interval"]
    metric = against["metric"].replace("_", " ")
    by = "log loss at their best temperatures" if metric == "log loss" else metric
    return (
        f" It was chosen of {len(set(tried) - {AUTO})} ways, as it beats '{baseline}', the "
        f"baseline, on held-out images: {by} {against['difference']:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]."
    )


def _weights(members: list[dict[str, Any]]) -> Chart:
    shown = members[::-1]
    with drawing(4.8, 1.0 + 0.26 * len(shown)) as figure:
        axes = figure.subplots()
        weights = [one["weight"] for one in shown]
        axes.barh(range(len(shown)), weights, color=COLORS[0], height=0.6)
        axes.set_yticks(range(len(shown)), [shorten(one["name"]) for one in shown])
        axes.set(xlabel="weight", ylabel="member")
        axes.grid(visible=False, axis="y")
        return chart(figure, "bar chart of the members' weights", "What each member weighs.")


def _losses(members: list[dict[str, Any]]) -> Chart:
    shown = [one for one in members if one["without"]][::-1]
    with drawing(4.8, 1.0 + 0.26 * max(1, len(shown))) as figure:
        axes = figure.subplots()
        changes, *ends = np.array([lost(one["without"]) for one in shown]).reshape(-1, 3).T
        places = range(len(shown))
        axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
        errors = np.abs(ends - changes)
        axes.errorbar(changes, places, xerr=errors, fmt="o", color=COLORS[1], capsize=3)
        axes.set_yticks(places, [shorten(one["name"]) for one in shown])
        heading = lost_heading(members)
        what = heading.removesuffix(" lost without it")
        axes.set(xlabel=heading, ylabel="member")
        axes.set(ylim=(-0.6, max(1, len(shown)) - 0.4))
        caption = (
            f"What each member adds: how much worse {what} gets when the ensemble is made without "
            "it, with 95 % intervals. Left of or across 0: it isn't missed beyond noise."
        )
        return chart(figure, f"{what} lost without each member", caption)


def _members(one: Result, members: list[dict[str, Any]]) -> Block:
    rows = []
    for member in members:
        change = member["without"]
        interval = Cell("", 0.0)
        difference = None
        if change:
            value, low, high = lost(change)
            difference = Cell(f"{value:+.4f}", value)
            interval = Cell(f"{low:+.4f} to {high:+.4f}", low)
        verdict = ("helps" if member["helps"] else "no help beyond noise") if change else ""
        seeds = ", ".join(member["experiments"])
        rows.append([member["name"], seeds, member["weight"], difference, interval, verdict])
    headings = [
        "member", "experiments", "weight", lost_heading(members), "95 % interval",
        "verdict",
    ]  # fmt: skip
    method = one.config.get("method", "blend")
    caption = f"Members of {one.name}, blended by '{method}'"
    return table(caption, headings, rows, is_folded=True)


def _methods(one: Result) -> Block:
    metric = one.metrics["metric"]
    rows = []
    for tried in one.metrics.get("methods", []):
        low, high = tried["oof_interval_95"]
        against = tried["against_fallback"]
        is_auto = tried["method"] == AUTO
        baseline = "" if is_auto else "the baseline"
        rows.append(
            [
                "auto, nested" if is_auto else tried["method"],
                float(tried["oof_score"]),
                Cell(f"{low:.4f} to {high:.4f}", float(low)),
                float(tried["log_loss"]),
                against["verdict"] if against else baseline,
            ]
        )
    found = [one["against_fallback"] for one in one.metrics.get("methods", [])]
    compared = next((against["metric"] for against in found if against), "log_loss")
    by = f"by {compared.replace('_', ' ')}"
    headings = ["method", metric, "95 % interval", "log loss", by]
    caption = "Ways to blend, each fitted for every fold on the other folds"
    return table(caption, headings, rows, is_folded=True)


def _ablations(data: ReportData) -> list[Section]:
    """Show every ablation's numbers and pictures."""
    if data.best is None:
        return []
    stamps = sorted(data.paths.artifacts_dir.glob("ablations/*/stamp.json"))
    if not stamps:
        trained = data.best.trained
        options = f"--experiment {trained.name if trained else 'NAME'}"
        hint = Hint("Which augmentation helps wasn't tried:", data.command("ablate", options))
        return [Section("ablations", "Augmentation", [hint])]
    blocks: list[Block] = []
    for stamp in stamps[:MAX_SHOWN]:
        blocks += _ablation(data.paths.ablation(stamp.parent.name))
    return [Section("ablations", "Augmentation", blocks)]


def _ablation(files: AblationPaths) -> list[Block]:
    record: dict[str, Any] = json.loads(files.record.read_text(encoding="utf-8"))
    rows = [_row(row, record["metric"]) for row in record["recipes"]]
    baseline = record["recipes"][0]["recipe"]
    headings = [
        "recipe", record["metric"], f"against {baseline}", "interval", "verdict", "log loss",
        "accuracy gap, train - val",
    ]  # fmt: skip
    caption = (
        f"Recipes of augmentation for {files.ablation_dir.name}, out of fold: means over "
        f"{record['num_seeds']} seeds and {record['num_folds']} folds. All intervals hold together "
        "with 95 %."
    )
    charts = [
        _picture(files.picture(name), caption)
        for name, caption in PICTURES.items()
        if files.picture(name).is_file()
    ]
    more = [Fold(f"More pictures of it: {len(charts) - 1}", charts[1:])] if charts[1:] else []
    return [table(caption, headings, rows), *charts[:1], *more]


def _row(row: dict[str, Any], metric: str) -> list[Any]:
    difference = row.get(f"{metric}_difference")
    interval = Cell("", 0.0)
    if difference is not None:
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        interval = Cell(f"{low:+.4f} to {high:+.4f}", float(low))
    return [
        row["recipe"],
        row[metric],
        None if difference is None else Cell(f"{difference:+.4f}", float(difference)),
        interval,
        row.get(f"{metric}_verdict", ""),
        row.get("log_loss"),
        row.get("accuracy_gap"),
    ]


def _picture(path: Path, caption: str) -> Chart:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = (round(px / PNG_DPI * PX_PER_INCH) for px in image.size)
    picture = Picture(data_uri(content, "image/png"), caption, width, height)
    return Chart(picture, caption, is_wide=True)
