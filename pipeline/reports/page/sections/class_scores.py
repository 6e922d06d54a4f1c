"""How well each class is recognised: precision, recall and F1."""

import numpy as np

from pipeline.reports.page.blocks import Chart, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import drawing, point, shorten

MAX_SHOWN = 40
MEASURES = ("precision", "recall", "F1")


def build(data: ReportData) -> list[Section]:
    """Show the classes, the worst first."""
    best = data.best
    if best is None:
        return []
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
    blocks = [_chart(values[order], [names[i] for i in order]), table(caption, headings, rows)]
    return [Section("classes", "Classes", blocks)]


def _chart(values: np.ndarray, names: list[str]) -> Chart:
    shown, labels = values[:MAX_SHOWN][::-1], names[:MAX_SHOWN][::-1]
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
