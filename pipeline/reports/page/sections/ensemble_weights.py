"""Show each member's weight in the best ensemble, and its contribution."""

from typing import Any

import numpy as np

from pipeline.reports.page.blocks import Block, Cell, Chart, Charts, Hint, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, GREY, drawing, shorten
from pipeline.scoring.ensembling.selection import AUTO
from pipeline.store.results import Result


def build(data: ReportData) -> list[Section]:
    """Show the best ensemble."""
    if not data.results:
        return []
    found = [one for one in data.results if one.is_ensemble and "members" in one.metrics]
    if not found:
        hint = Hint("There is no ensemble yet. To blend what is trained:")
        hint = Hint(hint.text, data.command("ensemble"))
        return [Section("ensemble", "Ensemble", [hint])]
    one = found[0]
    members: list[dict[str, Any]] = one.metrics["members"]
    blocks: list[Block] = [
        Charts([_weights(members), _losses(members)]),
        _members(one, members),
        _methods(one),
    ]
    return [Section("ensemble", "Ensemble", blocks)]


def _weights(members: list[dict[str, Any]]) -> Chart:
    shown = members[::-1]
    with drawing(4.8, 1.0 + 0.3 * len(shown)) as figure:
        axes = figure.subplots()
        weights = [one["weight"] for one in shown]
        axes.barh(range(len(shown)), weights, color=COLORS[0], height=0.6)
        axes.set_yticks(range(len(shown)), [shorten(one["name"]) for one in shown])
        axes.set(xlabel="weight", ylabel="member")
        axes.grid(visible=False, axis="y")
        return chart(figure, "bar chart of the members' weights", "What each member weighs.")


def _losses(members: list[dict[str, Any]]) -> Chart:
    shown = [one for one in members if one["without"]][::-1]
    with drawing(4.8, 1.0 + 0.3 * max(1, len(shown))) as figure:
        axes = figure.subplots()
        changes = np.array([one["without"]["difference"] for one in shown])
        ends = np.array([one["without"]["interval"] for one in shown]).reshape(-1, 2).T
        places = range(len(shown))
        axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
        errors = np.abs(ends - changes)
        axes.errorbar(changes, places, xerr=errors, fmt="o", color=COLORS[1], capsize=3)
        axes.set_yticks(places, [shorten(one["name"]) for one in shown])
        axes.set(xlabel="log loss lost without it", ylabel="member")
        axes.set(ylim=(-0.6, max(1, len(shown)) - 0.4))
        caption = (
            "What each member adds: how much log loss grows when the ensemble is made without it, "
            "with 95 % intervals. Left of or across 0: it isn't missed beyond noise."
        )
        return chart(figure, "log loss lost without each member", caption)


def _members(one: Result, members: list[dict[str, Any]]) -> Block:
    rows = []
    for member in members:
        change = member["without"]
        interval = Cell("", 0.0)
        if change:
            low, high = change["interval"]
            interval = Cell(f"{low:+.4f} to {high:+.4f}", float(low))
        difference = Cell(f"{change['difference']:+.4f}", change["difference"]) if change else None
        verdict = "helps" if member["helps"] else "no help beyond noise"
        seeds = ", ".join(member["experiments"])
        rows.append([member["name"], seeds, member["weight"], difference, interval, verdict])
    headings = [
        "member", "experiments", "weight", "log loss lost without it", "95 % interval", "verdict",
    ]  # fmt: skip
    method = one.config.get("method", "blend")
    return table(f"Members of {one.name}, blended by '{method}'", headings, rows)


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
    headings = ["method", metric, "95 % interval", "log loss", "by log loss"]
    caption = "Ways to blend, each fitted for every fold on the other folds"
    return table(caption, headings, rows)
