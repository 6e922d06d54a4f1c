"""Show the classes predicted for the test images beside those of the training images."""

import numpy as np

from pipeline.data.training_table import is_readable
from pipeline.errors import ArtifactError
from pipeline.reports.page.blocks import Block, Cell, Chart, Charts, Hint, Section, chart, table
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import COLORS, drawing, line, point, shorten
from pipeline.store.predictions import FloatArray
from pipeline.store.results import load_probs

MAX_SHOWN = 40


def build(data: ReportData) -> list[Section]:
    """Show the class shares and the confidence of the best result's test predictions."""
    best = data.best
    if best is None:
        return []
    title = "Test predictions"
    name = best.result.name
    ids = data.test["image_id"].tolist()
    try:
        probs = load_probs(data.paths, data.competition, name, "test", ids)
    except ArtifactError as error:
        return [Section("test", title, [Hint(f"They can't be shown: {error}")])]
    probs = probs[is_readable(data.test).to_numpy()]
    if not len(probs):
        return []
    num_classes = data.competition.num_classes
    prior = np.bincount(best.targets, minlength=num_classes) / len(best.targets)
    shares = np.bincount(probs.argmax(axis=1), minlength=num_classes) / len(probs)
    charts = [_shares(data, prior, shares), _confidence(best, probs)]
    return [Section("test", title, [Charts(charts), _table(data, prior, shares, len(probs))])]


def _shares(data: ReportData, prior: np.ndarray, shares: np.ndarray) -> Chart:
    order = np.argsort(np.abs(shares - prior), kind="stable")[-MAX_SHOWN:]
    names = [shorten(data.competition.classes[index]) for index in order]
    with drawing(4.8, max(2.0, 1.1 + 0.24 * len(order))) as figure:
        axes = figure.subplots()
        for place, (label, values) in enumerate((("training", prior), ("test", shares))):
            axes.scatter(values[order], range(len(order)), s=26, label=label, **point(place))
        axes.hlines(range(len(order)), prior[order], shares[order], color=COLORS[1], linewidth=1)
        axes.set_yticks(range(len(order)), names)
        axes.set(xlabel="share of the images", ylabel="class")
        axes.set_xlim(left=0)
        figure.legend(loc="outside upper right", ncols=2)
        distance = np.abs(shares - prior).sum() / 2
        caption = (
            f"Shares of the classes: {distance:.1%} of the test images would have to change "
            "class for the shares to equal those of the training images."
        )
        return chart(figure, "shares of classes, training labels and test predictions", caption)


def _confidence(best: BestResult, probs: FloatArray) -> Chart:
    with drawing(4.8, 3.2) as figure:
        axes = figure.subplots()
        for place, (label, one) in enumerate((("out of fold", best.probs), ("test", probs))):
            confidence = np.clip(one.max(axis=1), 0, 1)
            weights = np.full(len(one), 1 / len(one))
            look = line(place) | {"histtype": "step", "label": label, "weights": weights}
            axes.hist(confidence, bins=25, range=(0, 1), **look)
        axes.set(xlabel="confidence (largest probability)", ylabel="share of the images")
        axes.legend(loc="upper left")
        means = [float(one.max(axis=1).mean()) for one in (best.probs, probs)]
        caption = (
            f"How sure the predictions are: mean confidence {means[0]:.4f} out of fold, "
            f"{means[1]:.4f} on the test images. Test images that are much less sure are of "
            "another kind than the training images."
        )
        return chart(figure, "histogram of confidence, out of fold and test", caption)


def _table(data: ReportData, prior: np.ndarray, shares: np.ndarray, num_test: int) -> Block:
    rows = []
    for name, before, share in zip(data.competition.classes, prior, shares, strict=True):
        noise = np.sqrt(before * (1 - before) / num_test)
        z = float((share - before) / noise) if noise else 0.0
        predicted = round(float(share) * num_test)
        rows.append([name, float(before), float(share), predicted, Cell(f"{z:+.1f}", z)])
    headings = [
        "class", "share in training", "share of test predictions", "test images",
        "difference in standard errors",
    ]  # fmt: skip
    caption = (
        "Class shares of the test predictions against the training images; beyond about 3 "
        "standard errors a difference is more than chance"
    )
    return table(caption, headings, rows)
