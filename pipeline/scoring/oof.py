"""Assemble out-of-fold predictions, score them, and find labels that they contradict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.submission_table import OF_NUMBERS
from pipeline.errors import ArtifactError
from pipeline.scoring.measures import Values
from pipeline.scoring.metrics import decided, evaluate, macro_f1, score
from pipeline.store.paths import ExperimentPaths
from pipeline.store.predictions import FloatArray, IntArray, load_predictions
from pipeline.store.tables import ANSWER, held_out


def class_indices(competition: Competition, images: pd.DataFrame) -> IntArray:
    """Turn the column `label` into class indices, `(N,)`.

    Where images have several labels, into 1 for each that one has and 0 for the others, `(N, K)`;
    where the target is a number, into float64, `(N, 1)`.
    """
    index = {name: number for number, name in enumerate(competition.classes)}
    if competition.is_number:
        numbers: Any = images["label"].to_numpy(dtype=np.float64)[:, None]
        return np.asarray(numbers)
    if competition.has_several:
        marks = np.zeros((len(images), competition.num_classes), dtype=np.int64)
        for row, label in enumerate(images["label"]):
            marks[row, [index[name] for name in competition.labels_in(label)]] = 1
        return marks
    return np.array([index[label] for label in images["label"]], dtype=np.int64)


def image_groups(images: pd.DataFrame) -> IntArray | None:
    """Number the groups of images that new images don't come from, as copies or one patient's.

    Args:
        images: Column group.

    Returns:
        `(N,)`, counted from 0 in the order of their first rows; None where each image is alone.
    """
    groups: IntArray = pd.factorize(images["group"])[0].astype(np.int64)
    return groups if len(groups) > 1 + groups.max(initial=-1) else None


def to_shares(competition: Competition, numbers: IntArray) -> IntArray:
    """Turn numbers into their places in the target's range, from 0 to 1; other targets stay.

    Models learn and predict these: a logit each, whatever the numbers are.
    """
    if not competition.is_number:
        return numbers
    low, high = competition.range
    shares: Any = (numbers - low) / (high - low)
    return np.asarray(shares)


def to_numbers(competition: Competition, shares: FloatArray) -> FloatArray:
    """Turn places in the target's range into numbers, `(..., 1)`; other probabilities stay."""
    if not competition.is_number:
        return shares
    low, high = competition.range
    numbers: FloatArray = (low + (high - low) * shares.astype(np.float64)).astype(np.float32)
    return numbers


def pooled(
    competition: Competition, images: pd.DataFrame, probs: FloatArray
) -> tuple[pd.DataFrame, FloatArray]:
    """Pool the probabilities of images that are answered together, as the competition's file says.

    Of two classes that of the positive one is pooled. Unreadable images count only where an answer
    has no others.

    Args:
        competition: How to pool.
        images: Rows of `test.csv`, or of the fold table; N of them.
        probs: `(N, K)`.

    Returns:
        A row per answer, in the order of `images`, with what its first image has and the answer as
        `image_id`; and probabilities `(A, K)`. Both as given where each image is an answer.
    """
    if competition.answers is None:
        return images, probs
    answers = images[ANSWER]
    if "width" in images:
        is_read = images["width"] > 0
        counts = (is_read | ~answers.isin(answers[is_read])).to_numpy()
        images, probs, answers = images[counts], probs[counts], answers[counts]
    owners, names = pd.factorize(answers)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(len(names)))
    positive = competition.submission.positive
    column = slice(None) if positive is None else [competition.classes.index(positive)]
    values = probs[order][:, column].astype(np.float64)
    found = _POOLS[competition.answers.pool](values, starts)
    if positive is not None:
        found = np.hstack([found, 1 - found] if column == [0] else [1 - found, found])
    firsts = images.iloc[order[starts]].assign(image_id=names)
    return firsts.reset_index(drop=True), found.astype(np.float32)


def _mean(values: Values, starts: IntArray) -> Values:
    counts = np.diff(np.append(starts, len(values)))[:, None]
    mean: Values = np.add.reduceat(values, starts) / counts
    return mean


def _noisy_or(values: Values, starts: IntArray) -> Values:
    none: Values = np.multiply.reduceat(1 - values, starts)
    return 1 - none


_POOLS: dict[str, Callable[[Values, IntArray], Values]] = {
    "mean": _mean,
    "max": np.maximum.reduceat,
    "noisy_or": _noisy_or,
}


@dataclass(frozen=True)
class Judged:
    """Out-of-fold predictions as the judge scores them: pooled, and decided where a metric asks.

    Attributes:
        competition: Says how.
        images: The fold table, of the rows that `held_out` keeps.
    """

    competition: Competition
    images: pd.DataFrame

    def of(
        self, probs: FloatArray, *, is_raw: bool = False
    ) -> tuple[IntArray, FloatArray, IntArray | None]:
        """Return targets, probabilities and groups of the A answers.

        Args:
            probs: Of the images, `(N, K)`.
            is_raw: Whether to leave them undecided.

        Returns:
            Targets `(A,)` or `(A, K)`, see `class_indices`; probabilities `(A, K)`; and groups
            `(A,)`, see `image_groups`: those of patients, not of the images of one answer.
        """
        images, probs = pooled(self.competition, self.images, probs)
        targets, groups = class_indices(self.competition, images), image_groups(images)
        if not is_raw:
            probs = decided(self.competition, targets, probs, images["fold"].to_numpy())
        return targets, probs, groups


def assemble_oof(fold_probs: Mapping[int, FloatArray], folds: pd.DataFrame) -> FloatArray:
    """Put each fold's validation probabilities at its rows of the fold table.

    Every image that is held out is predicted exactly once, by the model that never saw it, so the
    result may be scored, tuned on and blended as if it were a prediction for unseen images.

    Args:
        fold_probs: Probabilities by fold number, each of shape `(num_fold, K)`, its rows in
            the order of `folds` restricted to that fold.
        folds: The fold table, one row per training image; column `fold` counts from 0.

    Returns:
        OOF probabilities of shape `(num_held, K)`, of the rows that `held_out` keeps; every row
        sums to 1.

    Raises:
        ArtifactError: A fold has no predictions, or not one row per image.
    """
    num_classes = next(iter(fold_probs.values())).shape[1]
    folds = held_out(folds)
    oof_probs = np.full((len(folds), num_classes), np.nan, dtype=np.float32)
    for fold, rows in folds.groupby("fold").indices.items():
        probs = fold_probs.get(int(str(fold)))
        found = 0 if probs is None else len(probs)
        if probs is None or found != len(rows):
            raise ArtifactError(
                f"fold {fold}: expected {len(rows)} rows of predictions, got {found}; the fold "
                f"table changed since training; run 'pipeline train' with --fold {fold}"
            )
        oof_probs[rows] = probs
    return oof_probs


def pool_folds(
    competition: Competition, files: ExperimentPaths, folds: pd.DataFrame, test_ids: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Read what each fold of an experiment predicted, and pool it.

    Args:
        competition: Named in errors.
        files: The experiment's; every fold is there.
        folds: The fold table.
        test_ids: The test images in their order, M of them.

    Returns:
        OOF probabilities `(num_held, K)`, see `assemble_oof`; probabilities of the test images
        `(M, K)`, the mean over the folds' models.

    Raises:
        ArtifactError: Predictions are missing, damaged or of other images.
    """
    again = f"pipeline train {competition.name} --experiment {files.experiment_dir.name}"
    fold_probs, test_probs = {}, []
    folds = held_out(folds)
    for fold, rows in folds.groupby("fold").indices.items():
        one = files.fold(int(str(fold)))
        ids = folds["image_id"].iloc[rows].tolist()
        oof, test = load_predictions(one.oof, again), load_predictions(one.test, again)
        fold_probs[int(str(fold))] = oof.reordered(ids, str(one.oof))
        test_probs.append(test.reordered(list(test_ids), str(one.test)))
    mean_probs: FloatArray = np.mean(test_probs, axis=0, dtype=np.float32)
    return assemble_oof(fold_probs, folds), mean_probs


def describe_oof(
    competition: Competition, folds: pd.DataFrame, oof_probs: FloatArray
) -> dict[str, Any]:
    """Score OOF predictions for `metrics.json`.

    Args:
        competition: Names the metric and the classes.
        folds: The fold table.
        oof_probs: `(num_held, K)`, of the rows that `held_out` keeps of it, in their order.

    Returns:
        `oof_score` with its 95 % interval, `cv_score` and the scores per fold, and beside the
        competition's metric accuracy, log loss and macro F1. Labels of several are decided by
        thresholds of the other folds where the metric takes decisions, else by 1/2, and so are
        ordered classes; of numbers there are RMSE and MAE. Images that are answered together are
        scored as one; `num_answers` counts these. A score that
        isn't defined, as an area under the ROC curve is not for a fold of one class, is None and
        not in the mean. Where images are always learned from and so in no score,
        `num_always_learned` counts them.

    Raises:
        ArtifactError: The metric isn't defined for these images, or a probability isn't finite.
    """
    num_learned = len(folds)
    folds = held_out(folds)
    num_learned -= len(folds)
    num_images = len(folds)
    folds, raw_probs = pooled(competition, folds, oof_probs)
    targets = class_indices(competition, folds)
    oof_probs = decided(competition, targets, raw_probs, folds["fold"].to_numpy())
    whole = evaluate(competition.metric, targets, oof_probs, image_groups(folds))
    if math.isnan(whole.value):
        raise ArtifactError(
            f"{competition.metric}: must be measured on images of several classes, the "
            f"{len(folds):,} images here are of {len(np.unique(targets))}; train on more of them"
        )
    rows_by_fold = folds.groupby("fold").indices.values()
    fold_scores = [
        score(competition.metric, targets[rows], oof_probs[rows]) for rows in rows_by_fold
    ]
    return {
        "metric": competition.metric,
        "oof_score": round(whole.value, 6),
        "oof_interval_95": [round(whole.low, 6), round(whole.high, 6)],
        "cv_score": _round_for_json(_mean_of_defined(fold_scores)),
        "fold_scores": [_round_for_json(value) for value in fold_scores],
        **_others(competition, targets, oof_probs, raw_probs),
        "num_images": num_images,
        **({"num_answers": len(folds)} if competition.answers is not None else {}),
        **({"num_always_learned": num_learned} if num_learned else {}),
    }


def _others(
    competition: Competition, targets: IntArray, probs: FloatArray, raw_probs: FloatArray
) -> dict[str, float]:
    """Score by what is told beside the competition's metric."""
    if competition.is_number:
        return {name: round(score(name, targets, probs), 6) for name in OF_NUMBERS}
    return {
        "accuracy": round(score("accuracy", targets, probs), 6),
        "log_loss": round(score("log_loss", targets, raw_probs), 6),
        "macro_f1": round(_macro_f1(targets, probs), 6),
    }


def _macro_f1(targets: IntArray, probs: FloatArray) -> float:
    if targets.ndim > 1:
        return score("macro_f1", targets, probs)
    return macro_f1(targets, probs.argmax(axis=1))


def _mean_of_defined(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _round_for_json(value: float) -> float | None:
    """Round for a file of JSON, which has no NaN."""
    return None if math.isnan(value) else round(value, 6)


def find_suspects(probs: FloatArray, targets: IntArray) -> pd.DataFrame:
    """List the images whose label is probably wrong, the most contradicted first.

    It is confident learning (Northcutt et al. 2021). A class counts for an image where the image's
    probability of it is at least its threshold: the mean probability that images with this label
    get for it (section 3.1). So a class that the models are never sure of isn't suspected wherever
    they hesitate. An image is suspect where the likeliest class that counts isn't its label (off
    the diagonal of the confident joint, eq. 1) and is likelier than the label.

    Args:
        probs: OOF probabilities, `(N, K)`; in-sample ones have learned the wrong labels, too.
        targets: Given class indices, `(N,)`.

    Returns:
        Columns `row` (of `probs`), `suggested` (class index), `prob_label` and `prob_suggested`,
        by descending margin between the two.
    """
    num_classes = probs.shape[1]
    own = probs[np.arange(len(targets)), targets].astype(np.float64)
    counts = np.bincount(targets, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(targets, own, num_classes) / counts  # NaN, no class without images
    confident = np.where(probs >= thresholds, probs, 0).astype(np.float64)
    margins = confident.max(axis=1) - own  # (N,), 0 where it is the label that counts most
    rows = np.argsort(-margins, kind="stable")[: np.count_nonzero(margins > 0)]
    return pd.DataFrame(
        {
            "row": rows,
            "suggested": confident[rows].argmax(axis=1),
            "prob_label": own[rows],
            "prob_suggested": confident[rows].max(axis=1),
        }
    )
