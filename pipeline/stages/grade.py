"""Score a submission against known labels."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.config.submission_table import OF_NUMBERS
from pipeline.data.training_table import warn_of_unreadable
from pipeline.errors import SubmissionError
from pipeline.scoring.measures import Values
from pipeline.scoring.metrics import (
    Score,
    confusion,
    evaluate,
    get_metric,
    macro_f1,
    score,
)
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray, Likeliest
from pipeline.store.tables import answered_ids, load_test
from pipeline.submission.answers import Answers, answers_of, read_bytes, remarks
from pipeline.submission.faults import READABLE, FaultKind, summary
from pipeline.submission.truth import Truth, load_truth
from pipeline.submission.validation import examine, refused
from pipeline.submission.writer import line_ids

MAX_MATRIX_CLASSES = 12  # classes; of more only the most confused pairs fit a terminal
MAX_PAIRS = 10


def run(paths: Paths, competition: Competition, csv: Path, truth: Path) -> None:
    """Print the metric with its 95 % interval, accuracy, macro F1 and the confusion counts.

    Of several labels an image there are no confusions.

    A submission of labels is graded by accuracy where the competition's metric takes probabilities:
    labels have none.

    Reads `csv`, `truth` and data/COMPETITION/test.csv.

    Writes nothing.

    Fails if the truth is unusable or the test table is missing (DataError), or the submission is
    missing or invalid (SubmissionError).
    """
    test = load_test(paths)
    warn_of_unreadable(test)
    image_ids = answered_ids(test)
    answers = _read(competition, csv, image_ids)
    known = load_truth(truth, competition, image_ids)
    targets = np.array(list(known.targets.values()))  # (N,), (N, K) labels or (N, 1) numbers
    probs = answers.of(list(known.targets))  # (N, K)
    what = "images" if competition.answers is None else "answers"
    num = len(set(known.subjects.values()))
    of_subjects = f", of {num:,} subjects" if num else ""
    graded = (f"{what} graded", f"{len(targets):,} of {len(image_ids):,}{of_subjects}")
    console.result(_summary_table([graded, *_scores(competition, known, targets, probs)]))
    if not competition.has_free_outputs:
        console.result(_confusion_table(competition, targets, probs.argmax(axis=1)))


def _metrics(competition: Competition) -> list[str]:
    """List the competition's metric, if the answers suffice for it, and the accuracy."""
    metric = competition.metric
    if competition.is_number:
        return list(dict.fromkeys([metric, *OF_NUMBERS]))
    if get_metric(metric).needs_probs and not competition.submission.has_probabilities:
        console.warn(f"labels can't be graded by {metric}, only by accuracy")
        return ["accuracy"]
    return list(dict.fromkeys([metric, "accuracy"]))


def _read(competition: Competition, csv: Path, image_ids: list[str]) -> Answers:
    """Read a submission, unless a fault puts in doubt what it answers."""
    content = read_bytes(csv, f"pipeline submit {competition.name}")
    expected_ids = line_ids(competition, image_ids)
    read = examine(competition, content, expected_ids)
    readable = READABLE
    if competition.submission.label == "probabilities":  # whose columns would be anybody's guess
        readable = READABLE - {FaultKind.HEADER}
    doubtful = [fault for fault in read.faults if fault.kind not in readable]
    if doubtful or len(read.ids) < len(expected_ids):
        listed = "; ".join(map(str, doubtful or read.faults))
        raise SubmissionError(
            f"{csv}: must tell every answer, has {summary(doubtful or read.faults)}: {listed}"
        )
    for fault in refused(competition, read.faults):
        console.warn(f"{csv}: graded, but the judge would refuse it: {fault}")
    answers = answers_of(competition, read)
    for remark in remarks(competition, answers):
        console.warn(f"{csv}: {remark}")
    return answers


def _summary_table(rows: list[tuple[str, str]]) -> Table:
    table = Table("measure", "value")
    for row in rows:
        table.add_row(*row)
    return table


def _scores(
    competition: Competition, truth: Truth, targets: IntArray, probs: Values | Likeliest
) -> list[tuple[str, str]]:
    """Score all images, and those of each part by the competition's metric alone."""
    metrics = _metrics(competition)
    subjects = _subjects(truth, list(truth.targets))
    rows = [
        (f"{metric} (95 % interval)", _in_five_decimals(evaluate(metric, targets, probs, subjects)))
        for metric in metrics
    ]
    usages = [truth.usage.get(judge_id, "") for judge_id in truth.targets]
    parts = sorted({usage for usage in usages if usage}, reverse=True)  # Public before Private
    for part in parts if len(parts) > 1 else []:
        is_part = np.array([usage == part for usage in usages])
        ours = _subjects(truth, list(compress(truth.targets, is_part)))
        found = evaluate(metrics[0], targets[is_part], probs[is_part], ours)
        rows.append((f"{metrics[0]}, {part} ({is_part.sum():,} images)", _in_five_decimals(found)))
    if competition.is_number:
        return rows
    if competition.has_several or isinstance(probs, Likeliest):
        f1 = score("macro_f1", targets, probs)
    else:
        f1 = macro_f1(targets, probs.argmax(axis=1))
    return [*rows, ("macro F1", f"{f1:.5f}")]


def _subjects(truth: Truth, judge_ids: Sequence[str]) -> IntArray | None:
    """Number the subjects that images are of; None where the truth tells none."""
    if not truth.subjects:
        return None
    named = [(truth.subjects.get(one), one not in truth.subjects and one) for one in judge_ids]
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(named))}
    return np.array([numbers[subject] for subject in named], dtype=np.int64)


def _in_five_decimals(score: Score) -> str:
    """Write a score as Kaggle's tables of scores do, so that the two can be compared."""
    return f"{score.value:.5f} [{score.low:.5f}, {score.high:.5f}]"


def _confusion_table(competition: Competition, targets: IntArray, predicted: IntArray) -> Table:
    if competition.num_classes > MAX_MATRIX_CLASSES:
        return _confused_pairs(competition, targets, predicted)
    counts = confusion(targets, predicted, competition.num_classes)
    table = Table("truth, by predicted", box=box.SIMPLE_HEAD, padding=0, title="confusion counts")
    for index in range(competition.num_classes):
        table.add_column(str(index), justify="right")
    for index, name in enumerate(competition.classes):
        table.add_row(f"{index} {name}", *map(str, counts[index].tolist()))
    return table


def _confused_pairs(competition: Competition, targets: IntArray, predicted: IntArray) -> Table:
    table = Table("truth", "predicted", "images", title="most confused")
    cells = targets * competition.num_classes + predicted
    wrong, counts = np.unique(cells[targets != predicted], return_counts=True)
    for place in np.lexsort((-wrong, -counts))[:MAX_PAIRS]:
        row, column = divmod(int(wrong[place]), competition.num_classes)
        names = competition.classes[row], competition.classes[column]
        table.add_row(*names, str(counts[place]))
    return table
