"""Show how the training images were split: stratified by class, duplicates grouped."""

import numpy as np
import pandas as pd

from pipeline.data.corrections import recorded_corrections
from pipeline.reports.page.blocks import Block, Chart, Hint, Paragraph, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import GREY, drawing, point, shorten

MAX_CLASSES = 40
MIN_DEVIATION = 0.001  # what deviates less can't be seen


def build(data: ReportData) -> list[Section]:
    """Show the fold table."""
    if data.folds is None:
        hint = Hint("The training images aren't split yet:", data.command("folds"))
        return [Section("folds", "Folds", [hint])]
    counts = pd.crosstab(data.folds["label"], data.folds["fold"])
    counts = counts.reindex(data.competition.classes, fill_value=0)
    shares = _relative_shares(counts)
    worst = float(np.nanmax(np.abs(shares.to_numpy() - 1)))
    text = (
        f"{_describe(data, data.folds)} The share of a class in a fold deviates from its "
        f"share in all by {worst:.1%} at most."
    )
    charts = [_chart(shares)] if worst >= MIN_DEVIATION else []
    blocks = [Paragraph(text), *charts, _sizes(data.folds), _table(counts)]
    return [Section("folds", "Folds", blocks)]


def _describe(data: ReportData, folds: pd.DataFrame) -> str:
    groups = folds.groupby("group")["fold"]
    clusters = groups.size() > 1
    crossing = int((groups.min() < groups.max()).sum())
    what = "clusters of copies"
    if data.competition.train.groups is not None:
        what = "groups of copies or of one subject"
    text = (
        f"{len(folds):,} training images in {folds['fold'].nunique()} folds. {clusters.sum():,} "
        f"{what}, {int(groups.size()[clusters].sum()):,} images; {crossing} of them "
        "cross folds."
    )
    corrections = recorded_corrections(data.paths)
    return f"{text} Corrections in effect: {corrections}." if corrections else text


def _relative_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Return each class's share in each fold, relative to its share in all."""
    by_fold = counts / counts.sum()
    shares: pd.DataFrame = by_fold.div(counts.sum(axis=1) / counts.to_numpy().sum(), axis=0)
    return shares


def _chart(shares: pd.DataFrame) -> Chart:
    shown = shares.loc[(shares - 1).abs().max(axis=1).sort_values().index].tail(MAX_CLASSES)
    with drawing(4.8, max(2.2, 1.0 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
        for place, fold in enumerate(shown.columns):
            deviations = 100 * (shown[fold] - 1)
            axes.scatter(deviations, range(len(shown)), s=16, label=f"{fold}", **point(place))
        axes.set_yticks(range(len(shown)), map(shorten, shown.index))
        axes.set(xlabel="share in the fold against share in all, difference in %", ylabel="class")
        axes.legend(title="fold", loc="center left", bbox_to_anchor=(1, 0.5))
        caption = "How level the folds are in classes: at 0, a fold has its share of the class."
        return chart(figure, "dot plot of the classes' shares in each fold", caption)


def _sizes(folds: pd.DataFrame) -> Block:
    rows = [
        [int(str(fold)), len(images), int(images["group"].nunique()), len(folds) - len(images)]
        for fold, images in folds.groupby("fold")
    ]
    headings = ["fold", "images held out", "clusters and single images", "images learned from"]
    return table("Sizes of the folds", headings, rows)


def _table(counts: pd.DataFrame) -> Block:
    pairs = zip(counts.index, counts.to_numpy(), strict=True)
    rows = [[str(name), *map(int, row)] for name, row in pairs]
    headings = ["class", *(f"fold {fold}" for fold in counts.columns)]
    return table("Images per class and fold", headings, rows, is_folded=True)
