"""Show the way to the results: the run's scores over time, learning curves, and searches."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.ladder.course import load_course
from pipeline.reports.ensemble_results import draw_course
from pipeline.reports.page.blocks import (
    Block,
    Cell,
    Chart,
    Charts,
    Fold,
    Hint,
    Paragraph,
    Row,
    Section,
    chart,
    table,
    without_empty_columns,
)
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import COLORS, drawing, line, shorten
from pipeline.scoring.metrics import get_metric
from pipeline.store.freshness import read_stamp
from pipeline.store.results import Result
from pipeline.store.tables import load_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CHARTS = 8
NUM_OPEN = 2  # charts of a kind that need no click
MAX_STUDIES = 3
MAX_PARAMETERS = 8
MAX_TRIALS = 100
FEW_TRIALS = 12  # too few to say what a parameter changes
FIXED = ("trial", "state", "value", "seconds", "reason")
SPLITS = ("train", "val")


def build(data: ReportData) -> list[Section]:
    """Show the run, the histories of the trained experiments, and the trials of every search."""
    if not data.results:
        return []
    blocks = [*_run(data), *_trainings(data)]
    course = [Section("curves", "Course", blocks)] if blocks else []
    return [*course, Section("tuning", "Tuning", _searches(data))]


def _run(data: ReportData) -> list[Block]:
    """Show what `pipeline run` reached when, and what trainings took against what was expected."""
    course = load_course(data.paths)
    if course is None:
        return []
    blocks: list[Block] = []
    if course.best is not None:
        with drawing(6.4, 3.0) as figure:
            draw_course(figure, course)
            alt, caption = f"{course.metric} over the minutes of the run", "What the run had when."
            blocks.append(chart(figure, alt, caption, is_wide=True))
    rows = [
        [one.experiment, one.rung, one.outcome, _minutes(one.predicted_seconds),
         _minutes(one.seconds), one.why]
        for one in course.attempts
    ]  # fmt: skip
    headings = ["experiment", "rung", "outcome", "minutes predicted", "minutes taken", "why"]
    caption = "The run's trainings: minutes as predicted and as they were"
    return [*blocks, table(caption, headings, rows)] if rows else blocks


def _minutes(seconds: float | None) -> Cell | None:
    return None if seconds is None else Cell(f"{seconds / 60:.1f}", seconds)


def _trainings(data: ReportData) -> list[Block]:
    histories = {one.name: _histories(data, one) for one in data.results if not one.is_ensemble}
    histories = {name: folds for name, folds in histories.items() if folds}
    if not histories:
        return []
    curved = {name: folds for name, folds in histories.items() if len(folds[0]) > 1}
    charts = [_chart(name, folds) for name, folds in list(curved.items())[:MAX_CHARTS]]
    blocks: list[Block] = _partly_open(charts, "Learning curves of more experiments")
    note = ""
    if len(curved) < len(histories):
        note = (
            "A probe fits its head in one go, so it has no curve: its last line in the table "
            "below is all there is. "
        )
    note += (
        "Much less loss in training than in validation means that images were learned by heart: "
        "more head.l2 or views.num_augmented, or fewer epochs, help."
    )
    return [*blocks, Paragraph(note), _table(histories)]


def _partly_open(charts: list[Chart], title: str) -> list[Block]:
    """Lay the first charts beside each other, and fold the others."""
    blocks: list[Block] = [Charts(charts[:NUM_OPEN])] if charts else []
    rest = charts[NUM_OPEN:]
    return [*blocks, Fold(f"{title}: {len(rest)}", [Charts(rest)])] if rest else blocks


def _histories(data: ReportData, one: Result) -> list[pd.DataFrame]:
    folder = data.paths.experiment(one.name).experiment_dir
    return [load_record(path) for path in sorted(folder.glob("fold*/history.csv"))]


def _chart(name: str, folds: list[pd.DataFrame]) -> Chart:
    shown = [one for one in ("loss", "accuracy") if f"val_{one}" in folds[0]]
    with drawing(4.8, 2.7) as figure:
        panels = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
        for axes, what in zip(panels, shown, strict=True):
            for place, split in enumerate(SPLITS):
                _lines(axes, folds, f"{split}_{what}", place)
            axes.set(ylabel=what)
        axes.set(xlabel="epoch")
        figure.axes[0].legend()
        last = ", ".join(f"{fold.iloc[-1][f'val_{shown[-1]}']:.4f}" for fold in folds)
        named = {"loss": "losses", "accuracy": "accuracies"}[shown[-1]]
        caption = f"{name}: thin lines are folds, thick ones their mean. Last {named}: {last}."
        what = " and ".join(shown)
        return chart(figure, f"learning curves of {name}, {what} by epoch", caption)


def _lines(axes: "Axes", folds: list[pd.DataFrame], column: str, place: int) -> None:
    if column not in folds[0]:
        return
    courses = [fold.set_index("epoch")[column].dropna() for fold in folds]  # of validated epochs
    for course in courses:
        axes.plot(course.index, course, linewidth=0.6, alpha=0.6, **line(place))
    mean = pd.concat(courses, axis=1).mean(axis=1)
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
    caption = "The end of each training, mean over the folds"
    return table(caption, *without_empty_columns(headings, rows))


def _searches(data: ReportData) -> list[Block]:
    found = [one for one in data.results if data.paths.experiment(one.name).tuning_stamp.is_file()]
    if not found:
        return [Hint("Nothing was searched yet:", data.command("tune"))]
    return [block for one in found[:MAX_STUDIES] for block in _study(data, one.name)]


def _study(data: ReportData, name: str) -> list[Block]:
    files = data.paths.experiment(name)
    trials = load_record(files.trials)
    complete = trials[trials["state"] == "complete"]
    stamp = read_stamp(files.tuning_stamp)
    metric = str((stamp or {}).get("inputs", {}).get("metric", data.competition.metric))
    keys = [str(key) for key in trials.columns if key not in FIXED]
    states = ", ".join(
        f"{count} {state}" for state, count in trials["state"].value_counts().items()
    )
    is_little = len(complete) < FEW_TRIALS
    text = f"{name}: {len(trials):,} trials ({states}), judged by {metric} out of fold."
    if len(complete) < 2:
        text += " All others ended early, behind the best after the first folds."
    else:
        text += " The best was chosen on these folds, which flatters it a little."
        text += " They are too few to say what each parameter changes." * is_little
    slices = [] if is_little else [_slice(complete, key, metric) for key in keys[:MAX_PARAMETERS]]
    charts = [_history(complete, metric), *slices] if len(complete) > 1 else []
    rows = [
        [int(row["trial"]), float(row["value"]), *(_plain(row[key]) for key in ("seconds", *keys))]
        for row in complete.head(MAX_TRIALS).to_dict("records")
    ]
    caption = f"The best trials of {name}; all of them stand in {data.below_root(files.trials)}"
    return [
        *_tuning_charts(Paragraph(text), charts),
        table(caption, ["trial", metric, "seconds", *keys], rows, is_folded=True),
    ]


def _tuning_charts(text: Paragraph, charts: list[Chart]) -> list[Block]:
    """Lay one chart beside the text; more of them below it."""
    if len(charts) == 1:
        return [Row([*charts, text])]
    return [text, *_partly_open(charts, "What other parameters change")]


def _history(trials: pd.DataFrame, metric: str) -> Chart:
    ordered = trials.sort_values("trial")
    greater = get_metric(metric).greater_is_better
    best = ordered["value"].cummax() if greater else ordered["value"].cummin()
    with drawing(4.2, 2.6) as figure:
        axes = figure.subplots()
        axes.scatter(ordered["trial"], ordered["value"], s=16, color=COLORS[0], label="a trial")
        axes.step(ordered["trial"], best, where="post", color=COLORS[1], label="best so far")
        axes.set(xlabel="trial", ylabel=metric)
        axes.locator_params(axis="x", integer=True)
        axes.legend()
        caption = f"The search's way: best value {best.iloc[-1]:.4f}."
        return chart(figure, f"{metric} of each trial in order", caption)


def _slice(trials: pd.DataFrame, key: str, metric: str) -> Chart:
    shown = trials[trials[key].notna()]
    values = shown[key]
    with drawing(4.2, 2.6) as figure:
        axes = figure.subplots()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers = values.to_numpy(dtype=np.float64)
            axes.scatter(numbers, shown["value"], s=16, color=COLORS[0], alpha=0.8)
            if numbers.size and numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
                axes.set_xscale("log")
        else:
            axes.scatter(
                values.astype(str).map(shorten), shown["value"], s=16, color=COLORS[0], alpha=0.8
            )
        axes.set(xlabel=key, ylabel=metric)
        return chart(figure, f"{metric} by {key}", f"What {key} changes.")


def _plain(value: Any) -> Any:
    """Return a value as a table shows it: numbers no longer than they need be."""
    if isinstance(value, bool):
        return str(value)
    return Cell(f"{value:.4g}", value) if isinstance(value, float) and value == value else value
