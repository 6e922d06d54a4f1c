"""Show how well classes are recognised: confusions with images, precision, recall and F1."""

import numpy as np

from pipeline.reports.page.blocks import (
    Block,
    Card,
    Chart,
    Charts,
    Gallery,
    Paragraph,
    Section,
    chart,
    table,
    thumbnails,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import COLORMAP, drawing, point, shorten
from pipeline.scoring.metrics import confusion
from pipeline.store.predictions import IntArray

MAX_NUMBERED = 20  # classes whose cells can hold a number that one can read
MAX_NAMED = 45
MAX_TABLED = 60
MAX_PAIRS = 6
MAX_ROWS = 30
MAX_PLOTTED = 40
MEASURES = ("precision", "recall", "F1")


def build(data: ReportData) -> list[Section]:
    """Show the confusions and the scores of the classes, of the best result."""
    if data.best is None:
        return []
    return [_confusion(data, data.best), _class_scores(data, data.best)]


def _confusion(data: ReportData, best: BestResult) -> Section:
    names = list(data.competition.classes)
    counts = confusion(best.targets, best.probs.argmax(axis=1), len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = int(counts.sum() - counts.diagonal().sum())
    text = f"{best.result.name}, out of fold: {wrong:,} of {counts.sum():,} images are mistaken."
    blocks: list[Block] = [
        Paragraph(text),
        Charts([_matrix(counts, names, "images"), _matrix(shares, names, "share of the class")]),
        *_pairs(data, best, counts),
    ]
    if len(names) <= MAX_TABLED:
        rows = [[name, *map(int, row)] for name, row in zip(names, counts, strict=True)]
        caption = "Confusion matrix: images by true class (rows) and predicted class (columns)"
        blocks.append(table(caption, ["true class", *names], rows, is_folded=True))
    return Section("confusion", "Confusion", blocks)


def _matrix(values: np.ndarray, names: list[str], what: str) -> Chart:
    num = len(names)
    from matplotlib.colors import PowerNorm

    is_share = values.dtype.kind == "f"
    side = min(7.0, max(3.2, 1.6 + 0.27 * num))
    with drawing(side + 0.7, side) as figure:
        axes = figure.subplots()
        # The square root of the values is coloured, else rare confusions can't be seen.
        largest = 1 if is_share else max(1, values.max())
        image = axes.imshow(values, cmap=COLORMAP, norm=PowerNorm(0.5, 0, largest))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel="true class")
        figure.colorbar(image, ax=axes, label=what, shrink=0.75)
        if num <= MAX_NAMED:
            labels = list(map(shorten, names))
            is_narrow = num > 3 or max(map(len, labels)) > 8
            axes.set_xticks(range(num), labels, rotation=90 if is_narrow else 0)
            axes.set_yticks(range(num), labels)
        if num <= MAX_NUMBERED:
            for row, column in np.argwhere(values > 0):
                value = values[row, column]
                text = f"{value:.2f}".lstrip("0") if is_share and value < 0.995 else f"{value:.0f}"
                color = "black" if value > largest / 4 else "white"
                axes.text(
                    column,
                    row,
                    text,
                    color=color,
                    ha="center",
                    va="center",
                    fontsize=7 if num > 4 else 10,
                )
        kind = "normalised: each row sums to 1" if is_share else "raw: images"
        caption = f"Confusion matrix, {kind}; right predictions lie on the diagonal."
        return chart(figure, f"confusion matrix, {what}", caption, is_wide=num > 3)


def _pairs(data: ReportData, best: BestResult, counts: IntArray) -> list[Block]:
    """Show the most frequent confusions: a mistaken image beside one that it was taken for."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    flat = np.argsort(-off, axis=None, kind="stable")[: int((off > 0).sum())]
    found = [(int(index) // len(off), int(index) % len(off)) for index in flat]
    if not found:
        return []
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
    return [Gallery(caption, cards), table("Confusions, the most frequent first", headings, rows)]


def _pair(data: ReportData, best: BestResult, true: int, wrong: int, count: int) -> Card:
    names = data.competition.classes
    predicted = best.probs.argmax(axis=1)
    sure = best.probs[:, wrong]
    mistaken = (best.targets == true) & (predicted == wrong)
    right = (best.targets == wrong) & (predicted == wrong)
    candidates = [mask for mask in (mistaken, right) if mask.any()]
    rows = [int(np.where(mask, sure, -1).argmax()) for mask in candidates]
    pictures = thumbnails(data.paths, data.train.iloc[rows])
    lines = [
        f"{names[best.targets[row]]}, {sure[row]:.1%} {names[wrong]}: "
        f"{data.train['image_id'].iloc[row]}"
        for row in rows
    ]
    return Card(pictures, f"{names[true]} taken for {names[wrong]}: {count:,} images", lines)


def _class_scores(data: ReportData, best: BestResult) -> Section:
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
    blocks = [_dot_plot(values[order], [names[i] for i in order]), table(caption, headings, rows)]
    return Section("classes", "Classes", blocks)


def _dot_plot(values: np.ndarray, names: list[str]) -> Chart:
    shown, labels = values[:MAX_PLOTTED][::-1], names[:MAX_PLOTTED][::-1]
    with drawing(4.8, max(2.2, 1.1 + 0.24 * len(shown))) as figure:
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
