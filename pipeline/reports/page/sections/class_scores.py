"""Show how well classes are recognised: confusions with images, precision, recall and F1."""

from typing import Any

import numpy as np

from pipeline.reports.page.blocks import (
    Block,
    Card,
    Chart,
    Fold,
    Gallery,
    Paragraph,
    Row,
    Section,
    chart,
    table,
)
from pipeline.reports.page.pictures import thumbnails
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import COLORMAP, apart, drawing, point, shorten
from pipeline.scoring.metrics import confusion
from pipeline.store.predictions import IntArray

MAX_NUMBERED = 16  # classes whose cells can hold a number that one can read
MAX_TABLED = 60
MAX_PAIRS = 6
PAIR_PX = 120
MAX_ROWS = 100
MAX_PLOTTED = 20
MEASURES = ("precision", "recall", "F1")


def build(data: ReportData) -> list[Section]:
    """Show the confusions and the scores of the classes, of the best result."""
    if data.best is None:
        return []
    return [_confusion(data, data.best)]


def _confusion(data: ReportData, best: BestResult) -> Section:
    names = list(data.competition.classes)
    counts = confusion(best.targets, best.probs.argmax(axis=1), len(names))
    wrong = int(counts.sum() - counts.diagonal().sum())
    text = f"{best.result.name}, out of fold: {wrong:,} of {counts.sum():,} images are mistaken."
    if data.competition.is_ordered:
        text += " What counts here is the likeliest class; what is answered goes by thresholds."
    plot, scores = _class_scores(data, best)
    pictures, pairs = _pairs(data, best, counts)
    blocks: list[Block] = [
        Paragraph(text),
        Row([_matrix(counts, names), *pictures]),
        *pairs,
        Fold("Scores of each class", [plot, scores]),
    ]
    if len(names) <= MAX_TABLED:
        rows = [[name, *map(int, row)] for name, row in zip(names, counts, strict=True)]
        caption = "Confusion matrix: images by true class (rows) and predicted class (columns)"
        blocks.append(table(caption, ["true class", *names], rows, is_folded=True))
    return Section("confusion", "Mistakes", blocks)


def _most_confused(counts: IntArray) -> IntArray:
    """Return the classes of the most frequent confusions, at most MAX_NUMBERED, in their order."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    chosen: list[int] = []
    for index in np.argsort(-off, axis=None, kind="stable").tolist():
        pair = [one for one in divmod(index, len(off)) if one not in chosen]
        if len(chosen) + len(pair) > MAX_NUMBERED:
            break
        chosen += pair
    return np.array(sorted(chosen), dtype=np.int64)


def _matrix(counts: IntArray, names: list[str]) -> Chart:
    """Draw the images of each pair of classes, where there are many those most confused."""
    from matplotlib.colors import PowerNorm

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    caption = "Images by true and predicted class, coloured by their share of the true class."
    if len(names) > MAX_NUMBERED:
        chosen = _most_confused(counts)
        counts, shares = counts[np.ix_(chosen, chosen)], shares[np.ix_(chosen, chosen)]
        caption += f" The {len(chosen)} classes of the most frequent confusions, of {len(names):,}."
        names = [names[index] for index in chosen]
    num = len(names)
    side = min(5.0, max(2.5, 1.4 + 0.24 * num))
    with drawing(side + 0.2, side) as figure:
        axes = figure.subplots()
        # The square root of the values is coloured, else rare confusions can't be seen.
        axes.imshow(shares, cmap=COLORMAP, norm=PowerNorm(0.5, 0, 1))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel="true class")
        labels = list(map(shorten, names))
        is_narrow = num > 3 or max(map(len, labels)) > 8
        axes.set_xticks(range(num), labels, rotation=90 if is_narrow else 0)
        axes.set_yticks(range(num), labels)
        for row, column in np.argwhere(counts > 0):
            color = "black" if shares[row, column] > 0.25 else "white"
            where: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "fontsize": 7 if num > 4 else 10,
            }
            axes.text(column, row, f"{counts[row, column]}", color=color, **where)
        return chart(figure, "confusion matrix", caption, is_wide=num > 3)


def _pairs(data: ReportData, best: BestResult, counts: IntArray) -> tuple[list[Block], list[Block]]:
    """Show the most frequent confusions: a mistaken image beside one that it was taken for."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    flat = np.argsort(-off, axis=None, kind="stable")[: int((off > 0).sum())]
    found = [(int(index) // len(off), int(index) % len(off)) for index in flat]
    if not found:
        return [], []
    names = data.competition.classes
    rows = [
        [names[true], names[wrong], int(off[true, wrong]), off[true, wrong] / counts[true].sum()]
        for true, wrong in found[:MAX_ROWS]
    ]
    cards = [_pair(data, best, *pair, int(off[pair])) for pair in found[:MAX_PAIRS]]
    caption = (
        "The most frequent confusions: on the left the image that was mistaken most surely, on "
        "the right the surest right one of the class that it was taken for."
    )
    headings = ["true class", "predicted class", "images", "share of the true class"]
    pairs = table("Confusions, the most frequent first", headings, rows, is_folded=True)
    return [Gallery(caption, cards, is_small=True)], [pairs]


def _pair(data: ReportData, best: BestResult, true: int, wrong: int, count: int) -> Card:
    names = data.names
    predicted = best.probs.argmax(axis=1)
    sure = best.probs[:, wrong]
    mistaken = (best.targets == true) & (predicted == wrong)
    right = (best.targets == wrong) & (predicted == wrong)
    candidates = [mask for mask in (mistaken, right) if mask.any()]
    rows = [int(np.where(mask, sure, -1).argmax()) for mask in candidates]
    pictures = thumbnails(data.paths, data.train.iloc[rows], PAIR_PX)
    lines = [
        f"{names[best.targets[row]]}, {sure[row]:.1%} {names[wrong]}: "
        f"{apart(str(data.train['image_id'].iloc[row]))}"
        for row in rows
    ]
    title = f"{names[true]} taken for {names[wrong]}: {count:,} image{'s' * (count > 1)}"
    return Card(pictures, title, lines)


def _class_scores(data: ReportData, best: BestResult) -> tuple[Chart, Block]:
    """Show precision, recall and F1 of each class, the worst first."""
    from sklearn.metrics import precision_recall_fscore_support

    names = data.competition.classes
    predicted = best.probs.argmax(axis=1)
    measured = precision_recall_fscore_support(
        best.targets, predicted, labels=range(len(names)), zero_division=0
    )
    values = np.stack(measured[:3], axis=1)  # (K, 3)
    order = np.argsort(values[:, 2], kind="stable")
    num_predicted = np.bincount(predicted, minlength=len(names))
    rows = [
        [names[i], *map(float, values[i]), int(measured[3][i]), int(num_predicted[i])]
        for i in order
    ]
    headings = ["class", *MEASURES, "images", "predicted"]
    caption = (
        f"{best.result.name}, out of fold. Precision: share of the images predicted as the class "
        "that are of it. Recall: share of the class's images that are found. F1: their harmonic "
        "mean."
    )
    plot = _dot_plot(values[order], [names[i] for i in order])
    return plot, table(caption, headings, rows)


def _dot_plot(values: np.ndarray, names: list[str]) -> Chart:
    shown, labels = values[:MAX_PLOTTED][::-1], names[:MAX_PLOTTED][::-1]
    with drawing(4.8, max(2.2, 1.1 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        for place, measure in enumerate(MEASURES):
            axes.scatter(shown[:, place], range(len(shown)), s=22, label=measure, **point(place))
        axes.set_yticks(range(len(shown)), map(shorten, labels))
        axes.set(xlabel="value", ylabel="class")
        figure.legend(loc="outside upper right", ncols=3)
        caption = "Precision, recall and F1 of each class, the worst at the top."
        if len(shown) < len(values):
            caption += f" The {len(shown)} worst of {len(values):,} classes."
        return chart(figure, "dot plot of precision, recall and F1 per class", caption)
