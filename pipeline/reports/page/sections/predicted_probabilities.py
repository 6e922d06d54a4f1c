"""Show the best result's probabilities: ROC, precision and recall, calibration, test images."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.training_table import is_readable
from pipeline.errors import ArtifactError
from pipeline.reports.ensemble_results import draw_reliability
from pipeline.reports.page.blocks import (
    Block,
    Cell,
    Chart,
    Charts,
    Hint,
    Paragraph,
    Row,
    Section,
    chart,
    table,
)
from pipeline.reports.page.report_data import BestResult, ReportData
from pipeline.reports.style import COLORS, GREY, drawing, line, point, shorten
from pipeline.scoring.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability_table,
)
from pipeline.scoring.metrics import score
from pipeline.store.predictions import FloatArray
from pipeline.store.results import load_probs

MAX_SHOWN = 20
MAX_CURVES = 4
NUM_DRAWS = 200
AREA_METRICS = ("roc_auc", "mean_column_auc", "weighted_auc")
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def build(data: ReportData) -> list[Section]:
    """Show curves where a threshold matters, calibration, and the test images' predictions."""
    best = data.best
    if best is None:
        return []
    text, charts, numbers = _calibration(best)
    if data.competition.num_classes == 2 or data.competition.metric in AREA_METRICS:
        curves, thresholds = _curves(data, best)
        charts, numbers = [*curves, *charts], [*thresholds, *numbers]
    words = Paragraph(text)
    shown: list[Block] = [Charts(charts), words] if charts[1:] else [Row([*charts, words])]
    blocks = [*shown, *numbers]
    return [Section("reliability", "Probabilities", blocks), *_test(data, best)]


def _curves(data: ReportData, best: BestResult) -> tuple[list[Chart], list[Block]]:
    """Draw ROC, and precision over recall, of the second of two classes or of the worst ones."""
    from sklearn.metrics import roc_auc_score

    names = data.competition.classes
    columns = [1] if len(names) == 2 else list(range(len(names)))
    present = [one for one in columns if 0 < (best.targets == one).sum() < len(best.targets)]
    areas = {one: roc_auc_score(best.targets == one, best.probs[:, one]) for one in present}
    shown = sorted(areas, key=areas.__getitem__)[:MAX_CURVES]
    if not shown:
        return [], []
    which = f" The {len(shown)} hardest classes." if len(shown) < len(areas) else ""
    captions = (
        f"ROC with the area below it; the mark is where probability 0.5 decides.{which}",
        f"Precision over recall; the mark is where probability 0.5 decides.{which}",
    )
    charts = []
    for caption, is_roc in zip(captions, (True, False), strict=True):
        with drawing(3.5, 3.1) as figure:
            axes = figure.subplots()
            for place, one in enumerate(shown):
                x, y, mark = _points(best.targets == one, best.probs[:, one], is_roc=is_roc)
                area = f"{shorten(names[one])}, {areas[one]:.4f}" if is_roc else shorten(names[one])
                axes.plot(x, y, label=area, **line(place))
                axes.scatter([mark[0]], [mark[1]], s=36, zorder=3, **point(place))
            if is_roc:
                axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
                axes.set(xlabel="false positive rate", ylabel="true positive rate")
            else:
                axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
            axes.legend(loc="lower right" if is_roc else "lower left")
            kind = "ROC" if is_roc else "precision and recall"
            charts.append(chart(figure, f"{kind} curve, out of fold", caption))
    return charts, [_thresholds(data.names[shown[0]], best, shown[0])]


def _points(is_it: np.ndarray, probs: np.ndarray, *, is_roc: bool) -> tuple[Any, Any, Any]:
    """Return the curve's x and y, and the place of the threshold 0.5."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    rates = _rates(is_it, probs, 0.5)
    if is_roc:
        x, y, _ = roc_curve(is_it, probs)
        return x, y, (rates["false positive rate"], rates["recall"])
    y, x, _ = precision_recall_curve(is_it, probs)
    return x, y, (rates["recall"], rates["precision"])


def _rates(is_it: np.ndarray, probs: np.ndarray, threshold: float) -> dict[str, float]:
    taken = probs >= threshold
    hits = float((taken & is_it).sum())
    return {
        "precision": hits / taken.sum() if taken.any() else 1.0,
        "recall": hits / is_it.sum(),
        "false positive rate": float((taken & ~is_it).sum()) / (~is_it).sum(),
        "accuracy": float((taken == is_it).mean()),
    }


def _thresholds(name: str, best: BestResult, column: int) -> Block:
    is_it, probs = best.targets == column, best.probs[:, column]
    rows = [[Cell(f"{one:.2f}", one), *_rates(is_it, probs, one).values()] for one in THRESHOLDS]
    headings = ["threshold", *_rates(is_it, probs, 0.5)]
    caption = f"What each threshold on the probability of {name} would do"
    return table(caption, headings, rows, is_folded=True)


def _calibration(best: BestResult) -> tuple[str, list[Chart], list[Block]]:
    calibration = fit_temperature(best.probs, best.targets)
    both = {
        "as predicted": best.probs,
        "at its best temperature": calibration.apply(best.probs),
    }
    tables = {name: reliability_table(probs, best.targets) for name, probs in both.items()}
    scores = [
        f"{name}: ECE {expected_calibration_error(tables[name]):.4f}, log loss "
        f"{score('log_loss', best.targets, probs):.4f}"
        for name, probs in both.items()
    ]
    text = (
        f"{best.result.name}, out of fold, {'; '.join(scores)}. The temperature is "
        f"{calibration.temperature:.3f}: above 1 the predictions were surer than right, below 1 "
        "less sure. No class changes by it; it is fitted on these images."
    )
    before = tables["as predicted"]
    rows = [
        [f"{one['low']:.2f} to {one['high']:.2f}", int(one["count"]), *_means(one)]
        for one in before.to_dict("records")
    ]
    headings = ["confidence", "images", "mean confidence", "accuracy"]
    numbers = table("Reliability as predicted, bin by bin", headings, rows, is_folded=True)
    return text, [_chart(tables)], [numbers]


def _means(one: dict[Hashable, Any]) -> list[Any]:
    return [one["confidence"], one["accuracy"]]


def _chart(tables: dict[str, pd.DataFrame]) -> Chart:
    with drawing(3.5, 3.1) as figure:
        draw_reliability(figure, tables)
        caption = (
            "Reliability diagram: images are sorted by how sure the prediction is; on the dashed "
            "line it is right as often as it is sure."
        )
        return chart(figure, "accuracy by confidence, and the images per bin", caption)


def _test(data: ReportData, best: BestResult) -> list[Section]:
    """Show the class shares and the confidence of the best result's test predictions."""
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
    by_chance = np.random.default_rng(0).multinomial(len(probs), prior, NUM_DRAWS) / len(probs)
    charts = [_shares(data, prior, shares, by_chance), _confidence(best, probs)]
    return [Section("test", title, [Charts(charts), _table(data, prior, shares, len(probs))])]


def _shares(
    data: ReportData, prior: np.ndarray, shares: np.ndarray, by_chance: np.ndarray
) -> Chart:
    """Draw both shares; `by_chance` are those of as many images drawn like the training ones."""
    order = np.argsort(np.abs(shares - prior), kind="stable")[-MAX_SHOWN:]
    names = [shorten(data.competition.classes[index]) for index in order]
    with drawing(4.8, max(2.0, 1.1 + 0.2 * len(order))) as figure:
        axes = figure.subplots()
        for place, (label, values) in enumerate((("training", prior), ("test", shares))):
            axes.scatter(values[order], range(len(order)), s=26, label=label, **point(place))
        axes.hlines(range(len(order)), prior[order], shares[order], color=COLORS[1], linewidth=1)
        axes.set_yticks(range(len(order)), names)
        axes.set(xlabel="share of the images", ylabel="class")
        axes.set_xlim(left=0)
        figure.legend(loc="outside upper right", ncols=2)
        distance = np.abs(shares - prior).sum() / 2
        usual = np.abs(by_chance - prior).sum(axis=1).mean() / 2
        caption = (
            f"Shares of the classes: {distance:.1%} of the test images would have to change "
            "class for the shares to equal those of the training images. Where test images are "
            f"drawn as those were, so many are {usual:.1%} by chance."
        )
        return chart(figure, "shares of classes, training labels and test predictions", caption)


def _confidence(best: BestResult, probs: FloatArray) -> Chart:
    with drawing(4.8, 2.2) as figure:
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
    return table(caption, headings, rows, is_folded=True)
