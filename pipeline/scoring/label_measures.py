"""Measure predictions of images that have several labels each, and choose what counts as predicted.

Targets are `(N, K)`, 1 for a label that an image has and 0 for one that it hasn't; probabilities
are of each label by itself. What is above 1/2 is predicted; `Decisions` moves other thresholds
there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.scoring.measures import SMALLEST_PROB, ImageMean, Measure, Probs, ShareMean, Values
from pipeline.store.predictions import FloatArray, IntArray

HALF = 0.5
NUM_THRESHOLDS = 200
MOST_TIMES = 4

LabelMeasure = Callable[[IntArray, Probs], Measure]


def mean_log_loss(targets: IntArray, probs: Probs) -> Measure:
    """Measure log loss of each label, yes or no, averaged over labels and images."""
    wide = np.clip(probs.astype(np.float64), SMALLEST_PROB, 1 - SMALLEST_PROB)
    return ImageMean(-np.log(np.where(targets == 1, wide, 1 - wide)).mean(axis=1))


def all_right(targets: IntArray, probs: Probs) -> Measure:
    """Measure the share of images whose labels are predicted, all of them and no others."""
    return ShareMean(((probs > HALF) == (targets == 1)).all(axis=1).astype(np.float64))


class FBeta(Measure):
    """F-beta, `(1 + b²) TP / ((1 + b²) TP + b² FN + FP)`; 0 where nothing is true or predicted.

    Args:
        targets: `(N, K)`.
        probs: `(N, K)`.
        beta: How much more recall counts than precision.
        average: Whether counts are summed over all labels ("micro"), or F is averaged over the
            labels ("macro").
    """

    def __init__(self, targets: IntArray, probs: Probs, beta: float, average: str) -> None:
        super().__init__(np.arange(len(targets)), len(targets))
        hits, errors = _counts(targets, probs, beta)
        axis = 1 if average == "micro" else None
        self._hits = hits.sum(axis=1, keepdims=True) if axis else hits  # (N, 1) or (N, K)
        self._errors = errors.sum(axis=1, keepdims=True) if axis else errors

    def value(self, counts: IntArray) -> float:
        """Add the images up, then divide; see the class."""
        hits, errors = counts @ self._hits, counts @ self._errors
        return float(_share(hits, errors).mean())

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:
        """Take every label from a share of the images."""
        if self._errors.any() or not self._hits.any():
            return None
        return 1 - share_of(self.num_units)


def sample_f_beta(targets: IntArray, probs: Probs, beta: float) -> Measure:
    """Measure F-beta of each image's labels, averaged over the images."""
    hits, errors = _counts(targets, probs, beta)
    return ShareMean(_share(hits.sum(axis=1), errors.sum(axis=1)))


def _counts(targets: IntArray, probs: Probs, beta: float) -> tuple[Values, Values]:
    """Weigh right and wrong predictions as F-beta does, `(N, K)` each."""
    is_true, is_predicted = targets == 1, probs > HALF
    hits = (1 + beta**2) * (is_true & is_predicted)
    errors = beta**2 * (is_true & ~is_predicted) + 1.0 * (~is_true & is_predicted)
    return hits.astype(np.float64), errors.astype(np.float64)


def _share(hits: Values, errors: Values) -> Values:
    whole = hits + errors
    return np.divide(hits, whole, out=np.zeros_like(whole), where=whole > 0)


def f_beta(beta: float, average: str) -> LabelMeasure:
    """Make what measures F-beta; `average` is "sample", "micro" or "macro"."""
    if average == "sample":
        return partial(sample_f_beta, beta=beta)
    return partial(FBeta, beta=beta, average=average)


@dataclass(frozen=True)
class Decisions:
    """Which labels of an image are predicted: those above a threshold, and the likeliest always.

    Attributes:
        threshold: In (0, 1), the same for all labels.
    """

    threshold: float

    def apply(self, probs: Probs) -> FloatArray:
        """Return 1 for a label that is predicted, else 0, `(N, K)`; of equals the first wins."""
        decided: FloatArray = (probs > self.threshold).astype(np.float32)
        decided[np.arange(len(probs)), probs.argmax(axis=1)] = 1
        return decided


def fit_decisions(measure: LabelMeasure, targets: IntArray, probs: FloatArray) -> Decisions:
    """Choose the threshold with the highest score; of several the one in their middle.

    Tried are those between the likeliest labels, four times as many as there are true ones.

    Args:
        measure: Of which more is better.
        targets: `(N, K)`.
        probs: `(N, K)`, out of fold.
    """
    num_likely = min(probs.size, MOST_TIMES * max(int(targets.sum()), 1))
    likely = np.partition(probs.ravel(), probs.size - num_likely)[probs.size - num_likely :]
    steps = np.quantile(likely, np.linspace(0, 1, NUM_THRESHOLDS), method="nearest")
    values = np.unique(np.concatenate([[0.0, 1.0], steps.astype(np.float64)]))
    tried = (values[1:] + values[:-1]) / 2
    scores = [measure(targets, Decisions(float(one)).apply(probs)).of_sample() for one in tried]
    best = np.flatnonzero(np.array(scores) == max(scores))
    return Decisions(float(tried[best[len(best) // 2]]))


def decide_out_of_fold(
    measure: LabelMeasure, targets: IntArray, probs: FloatArray, folds: IntArray
) -> FloatArray:
    """Decide each fold's labels by the threshold that the other folds choose, `(N, K)` of 0 and 1.

    Args:
        measure: Of which more is better.
        targets: `(N, K)`.
        probs: `(N, K)`, out of fold.
        folds: `(N,)`.
    """
    decided = np.empty_like(probs)
    for fold in np.unique(folds):
        is_own: npt.NDArray[np.bool_] = folds == fold
        chosen = fit_decisions(measure, targets[~is_own], probs[~is_own])
        decided[is_own] = chosen.apply(probs[is_own])
    return decided
