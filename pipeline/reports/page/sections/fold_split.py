"""Show how the training images were split, and what is different about each fold."""

import numpy as np
import pandas as pd

from pipeline.data.corrections import recorded_corrections
from pipeline.reports.page.blocks import (
    Block,
    Cell,
    Chart,
    Fold,
    Hint,
    Paragraph,
    Section,
    chart,
    table,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import GREY, drawing, point, shorten
from pipeline.scoring.oof import find_suspects

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
    compared = [] if data.best is None else _compare(data, data.best, data.folds)
    level = Fold("How level the folds are", [*charts, _sizes(data.folds), _table(counts)])
    return [Section("folds", "Folds", [*compared, Paragraph(text), level])]


def _compare(data: ReportData, best: BestResult, folds: pd.DataFrame) -> list[Block]:
    """Show what is different about each fold: its mistakes, where they lie, and its labels."""
    fold = folds["fold"].to_numpy()
    is_wrong = best.probs.argmax(axis=1) != best.targets
    confidence = best.probs.max(axis=1)
    suspects = np.zeros(len(fold), dtype=bool)
    suspects[find_suspects(best.probs, best.targets)["row"].to_numpy(dtype=np.int64)] = True
    hardest = {int(one): _hardest(data, best, fold == one) for one in np.unique(fold)}
    scores = best.result.metrics["fold_scores"]
    rows = []
    for one, classes in hardest.items():
        own = fold == one
        rows.append(
            [
                one,
                scores[one] if one < len(scores) else None,
                int(own.sum()),
                int(is_wrong[own].sum()),
                float(is_wrong[own].mean()),
                Cell(f"{_deviation(is_wrong, own):+z.1f}", _deviation(is_wrong, own)),
                int(suspects[own].sum()),
                float(confidence[own].mean()),
                classes,
            ]
        )
    headings = [
        "fold", data.competition.metric, "images", "mistakes", "share of mistakes",
        "against the others, standard errors",
        "labels in doubt", "mean confidence", "more mistakes than in other folds in",
    ]  # fmt: skip
    text = _verdict(best, fold, is_wrong, suspects, hardest)
    text += (
        " Of a fold that you had in mind before you saw its score, about 2 standard errors in the "
        "table are more than chance. To see a fold's doubtful images, choose it above the cards of "
        "Review of labels."
    )
    return [Paragraph(text), table(f"The folds of {best.result.name}", headings, rows)]


def _hardest(data: ReportData, best: BestResult, own: np.ndarray) -> str:
    """Name the three classes with most mistakes beyond their usual number for so many images."""
    is_wrong = best.probs.argmax(axis=1) != best.targets
    num = data.competition.num_classes
    mistakes = np.bincount(best.targets[own & is_wrong], minlength=num)
    usual = np.bincount(best.targets[is_wrong], minlength=num) * (own.sum() / len(own))
    more = mistakes - usual
    shown = [index for index in np.argsort(-more, kind="stable")[:3] if more[index] >= 1]
    names = data.names
    return ", ".join(f"{names[i]} ({mistakes[i]} instead of {usual[i]:.0f})" for i in shown)


def _verdict(
    best: BestResult,
    fold: np.ndarray,
    is_wrong: np.ndarray,
    suspects: np.ndarray,
    hardest: dict[int, str],
) -> str:
    """Say which fold is the worst, whether that is more than chance, and what is odd about it."""
    worst = max(hardest, key=lambda one: float(is_wrong[fold == one].mean()))
    own = fold == worst
    share, rest = float(is_wrong[own].mean()), float(is_wrong[~own].mean())
    z = _deviation(is_wrong, own)
    # The worst of several folds lies further out than one that was chosen beforehand.
    from scipy.stats import norm  # here: a second to import

    limit = float(norm.ppf(1 - 0.025 / len(hardest)))
    chance = (
        f"more than chance ({z:.1f} standard errors, the worst of {len(hardest)} rarely passes "
        f"{limit:.1f})"
        if z > limit
        else f"no more than chance ({z:.1f} standard errors; the worst of {len(hardest)} often "
        f"comes near {limit:.1f})"
    )
    classes = hardest[worst]
    return (
        f"Fold {worst} is the hardest for {best.result.name}: {share:.1%} mistakes, {rest:.1%} in "
        f"the others, which is {chance}. Labels in doubt: {suspects[own].mean():.1%} of it, "
        f"{suspects[~own].mean():.1%} of the others."
        + (f" It has more mistakes in {classes}." if classes else "")
    )


def _deviation(is_wrong: np.ndarray, own: np.ndarray) -> float:
    """Return how much more of a fold is mistaken than of the others, in standard errors."""
    rest = float(is_wrong[~own].mean())
    noise = float(np.sqrt(rest * (1 - rest) * (1 / own.sum() + 1 / (~own).sum())))
    return (float(is_wrong[own].mean()) - rest) / noise if noise else 0.0


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
    if len(data.always_learned):
        text += f" {len(data.always_learned):,} more are learned from in every fold."
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
