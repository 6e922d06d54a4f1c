"""Show how trainings went: curves of fine-tuned networks, and overfitting of heads."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.reports.page.blocks import Block, Chart, Charts, Paragraph, Section, chart, table
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import drawing, line
from pipeline.store.results import Result
from pipeline.store.tables import load_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CHARTS = 8
SPLITS = ("train", "val")


def build(data: ReportData) -> list[Section]:
    """Show the histories of the trained experiments."""
    histories = {one.name: _histories(data, one) for one in data.results if not one.is_ensemble}
    histories = {name: folds for name, folds in histories.items() if folds}
    if not histories:
        return []
    curved = {name: folds for name, folds in histories.items() if len(folds[0]) > 1}
    blocks: list[Block] = []
    charts = [_chart(name, folds) for name, folds in list(curved.items())[:MAX_CHARTS]]
    if charts:
        blocks.append(Charts(charts))
    if len(curved) < len(histories):
        blocks.append(
            Paragraph(
                "A probe fits its head in one go, so it has no curve: its last line in the table "
                "below is all there is. Much less loss in training than in validation means that "
                "the head learned its images by heart (more head.l2 or views.num_augmented help)."
            )
        )
    return [Section("curves", "Learning curves", [*blocks, _table(histories)])]


def _histories(data: ReportData, one: Result) -> list[pd.DataFrame]:
    folder = data.paths.experiment(one.name).experiment_dir
    return [load_record(path) for path in sorted(folder.glob("fold*/history.csv"))]


def _chart(name: str, folds: list[pd.DataFrame]) -> Chart:
    with drawing(4.8, 4.4) as figure:
        for axes, what in zip(figure.subplots(2, sharex=True), ("loss", "accuracy"), strict=True):
            for place, split in enumerate(SPLITS):
                _lines(axes, folds, f"{split}_{what}", place)
            axes.set(ylabel=what)
        axes.set(xlabel="epoch")
        figure.axes[0].legend()
        last = ", ".join(f"{fold.iloc[-1]['val_accuracy']:.4f}" for fold in folds)
        caption = f"{name}: thin lines are folds, thick ones their mean. Last accuracies: {last}."
        return chart(figure, f"learning curves of {name}, loss and accuracy by epoch", caption)


def _lines(axes: "Axes", folds: list[pd.DataFrame], column: str, place: int) -> None:
    if column not in folds[0]:
        return
    for fold in folds:
        axes.plot(fold["epoch"], fold[column], linewidth=0.6, alpha=0.6, **line(place))
    mean = pd.concat([fold.set_index("epoch")[column] for fold in folds], axis=1).mean(axis=1)
    axes.plot(mean.index, mean, linewidth=2, label=column.partition("_")[0], **line(place))


def _table(histories: dict[str, list[pd.DataFrame]]) -> Block:
    headings = [
        "experiment", "epochs or steps", "train loss", "val loss", "train accuracy", "val accuracy",
        "train - val accuracy",
    ]  # fmt: skip
    columns = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    rows = []
    for name, folds in histories.items():
        last = pd.DataFrame([fold.iloc[-1] for fold in folds])
        means = [float(last[key].mean()) if key in last else None for key in columns]
        gap = None if means[2] is None or means[3] is None else means[2] - means[3]
        length = last["epoch"] + 1 if "epoch" in last else last["step"]
        rows.append([name, round(float(np.mean(length))), *means, gap])
    return table("The end of each training, mean over the folds", headings, rows)
