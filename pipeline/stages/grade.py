"""Score a submission against known labels."""

from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.data.priors import warn_of_unreadable
from pipeline.errors import SubmissionError
from pipeline.scoring.metrics import Score, confusion, evaluate, get_metric, macro_f1
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray
from pipeline.store.tables import load_test
from pipeline.submission.answers import Answers, decode, read_bytes
from pipeline.submission.faults import summary
from pipeline.submission.judge_ids import ordered_ids
from pipeline.submission.truth import load_truth
from pipeline.submission.validation import find_faults

MAX_MATRIX_CLASSES = 12  # classes; of more only the most confused pairs fit a terminal
MAX_PAIRS = 10


def run(paths: Paths, competition: Competition, csv: Path, truth: Path) -> None:
    """Print the metric with its 95 % interval, accuracy, macro F1 and the confusion counts.

    A submission of labels is graded by accuracy where the competition's metric takes probabilities:
    labels have none.

    Reads `csv`, `truth` and data/COMPETITION/test.csv.

    Writes nothing.

    Fails if the truth is unusable or the test table is missing (DataError), or the submission is
    missing or invalid (SubmissionError).
    """
    test = load_test(paths)
    warn_of_unreadable(test)
    image_ids = test["image_id"].tolist()
    answers = _read_valid(competition, csv, image_ids)
    truth_by_id = load_truth(truth, competition, image_ids)
    targets = np.array(list(truth_by_id.values()), dtype=np.int64)  # (N,)
    probs = answers.of(list(truth_by_id))  # (N, K)
    predicted = probs.argmax(axis=1)
    graded = f"{len(targets):,} of {len(image_ids):,}"
    scores = [evaluate(metric, targets, probs) for metric in _metrics(competition)]
    console.result(_summary_table(graded, scores, macro_f1(targets, predicted)))
    console.result(_confusion_table(competition, targets, predicted))


def _metrics(competition: Competition) -> list[str]:
    """List the competition's metric, if the answers suffice for it, and the accuracy."""
    metric = competition.metric
    if get_metric(metric).needs_probs and not competition.submission.has_probabilities:
        console.warn(f"labels can't be graded by {metric}, only by accuracy")
        return ["accuracy"]
    return list(dict.fromkeys([metric, "accuracy"]))


def _read_valid(competition: Competition, csv: Path, image_ids: list[str]) -> Answers:
    content = read_bytes(csv, f"pipeline submit {competition.name}")
    faults = find_faults(competition, content, ordered_ids(competition.submission, image_ids))
    if faults:
        listed = "; ".join(map(str, faults))
        raise SubmissionError(f"{csv}: must be valid, has {summary(faults)}: {listed}")
    return decode(competition, content)


def _summary_table(graded: str, scores: list[Score], f1: float) -> Table:
    table = Table("measure", "value")
    table.add_row("images graded", graded)
    for score in scores:
        table.add_row(f"{score.metric} (95 % interval)", str(score))
    table.add_row("macro F1", f"{f1:.4f}")
    return table


def _confusion_table(competition: Competition, targets: IntArray, predicted: IntArray) -> Table:
    counts = confusion(targets, predicted, competition.num_classes)
    if competition.num_classes > MAX_MATRIX_CLASSES:
        return _confused_pairs(competition, counts)
    table = Table("truth, by predicted", box=box.SIMPLE_HEAD, padding=0, title="confusion counts")
    for index in range(competition.num_classes):
        table.add_column(str(index), justify="right")
    for index, name in enumerate(competition.classes):
        table.add_row(f"{index} {name}", *map(str, counts[index].tolist()))
    return table


def _confused_pairs(competition: Competition, counts: IntArray) -> Table:
    table = Table("truth", "predicted", "images", title="most confused")
    wrong = counts - np.diag(np.diag(counts))
    largest = np.argsort(wrong, axis=None, kind="stable")[::-1][:MAX_PAIRS]
    for row, column in zip(*np.unravel_index(largest, wrong.shape), strict=True):
        if wrong[row, column]:
            names = competition.classes[row], competition.classes[column]
            table.add_row(*names, str(wrong[row, column]))
    return table
