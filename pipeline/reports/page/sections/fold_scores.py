"""How the training images were split: level in classes, copies together."""

import numpy as np
import pandas as pd

from pipeline.data.corrections import recorded_corrections
from pipeline.reports.page.blocks import Block, Chart, Hint, Paragraph, Section, chart, table
from pipeline.reports.page.report_data import Evidence
from pipeline.reports.style import GREY, brief, drawing, point

MOST_CLASSES = 40
LEVEL = 0.001  # what deviates less can't be seen


def build(evidence: Evidence) -> list[Section]:
    """Show the fold table."""
    if evidence.folds is None:
        hint = Hint("The training images aren't split yet:", evidence.command("folds"))
        return [Section("folds", "Folds", [hint])]
    counts = pd.crosstab(evidence.folds["label"], evidence.folds["fold"])
    counts = counts.reindex(evidence.competition.classes, fill_value=0)
    levels = _levels(counts)
    worst = float(np.nanmax(np.abs(levels.to_numpy() - 1)))
    text = (
        f"{_describe(evidence, evidence.folds)} The share of a class in a fold deviates from its "
        f"share in all by {worst:.1%} at most."
    )
    charts = [_chart(levels)] if worst >= LEVEL else []
    blocks = [Paragraph(text), *charts, _sizes(evidence.folds), _table(counts)]
    return [Section("folds", "Folds", blocks)]


def _describe(evidence: Evidence, folds: pd.DataFrame) -> str:
    groups = folds.groupby("group")["fold"]
    clusters = groups.size() > 1
    crossing = int((groups.min() < groups.max()).sum())
    text = (
        f"{len(folds):,} training images in {folds['fold'].nunique()} folds. {clusters.sum():,} "
        f"clusters of copies, {int(groups.size()[clusters].sum()):,} images; {crossing} of them "
        "cross folds."
    )
    corrections = recorded_corrections(evidence.paths)
    return f"{text} Corrections in effect: {corrections}." if corrections else text


def _levels(counts: pd.DataFrame) -> pd.DataFrame:
    """Return each class's share in each fold, relative to its share in all."""
    shares = counts / counts.sum()
    levels: pd.DataFrame = shares.div(counts.sum(axis=1) / counts.to_numpy().sum(), axis=0)
    return levels


def _chart(levels: pd.DataFrame) -> Chart:
    shown = levels.loc[(levels - 1).abs().max(axis=1).sort_values().index].tail(MOST_CLASSES)
    with drawing(4.8, max(2.2, 1.0 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
        for place, fold in enumerate(shown.columns):
            deviations = 100 * (shown[fold] - 1)
            axes.scatter(deviations, range(len(shown)), s=16, label=f"{fold}", **point(place))
        axes.set_yticks(range(len(shown)), map(brief, shown.index))
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
