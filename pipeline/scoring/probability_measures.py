"""Measure how probabilities put images or classes in order, and the several labels of an image.

Of several labels targets are `(N, K)`, 1 for a label that an image has and 0 for one that it
hasn't; probabilities are of each label by itself. What is above 1/2 is predicted; `Decisions`
moves other thresholds there.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.scoring.measures import (
    SMALLEST_PROB,
    UNDEFINED,
    ImageMean,
    Measure,
    Probs,
    ShareMean,
    Values,
)
from pipeline.store.predictions import IntArray, Likeliest

# ALASKA2's regions of the curve: where the true positive rate is at most the cut, area counts
# twice (https://www.kaggle.com/competitions/alaska2-image-steganalysis/overview/evaluation).
WEIGHTED_CUT = 0.4
LOW_WEIGHT = 2
HALF = 0.5

LabelMeasure = Callable[[IntArray, Probs], Measure]


class MeanColumnAuc(Measure):
    """The area under the ROC curve of each class against the rest, averaged over the classes.

    A class that all or none of the images belong to has no such curve and is left out of the
    mean. Of two classes one is enough, as the other has the same area; not so of two labels, where
    images may have several.

    The curve's area is the share of pairs of an image of the class and another one that the
    class's probability puts in order, ties counting half (Hanley and McNeil 1982). Images are
    sorted once, so that a resample takes a few passes over them: scikit-learn's `roc_auc_score`,
    which sorts each time, would need minutes for the interval of 200,000 images.
    """

    def __init__(self, targets: IntArray, probs: Probs) -> None:
        super().__init__(np.arange(len(targets)), len(targets))
        num_classes = probs.shape[1]
        has_several = targets.ndim > 1
        classes = range(1, 2) if num_classes == 2 and not has_several else range(num_classes)
        self._columns = [
            _Ranking(targets[:, index] == 1 if has_several else targets == index, probs[:, index])
            for index in classes
        ]

    def value(self, counts: IntArray) -> float:
        """Average over the classes that have a curve."""
        areas = [area for column in self._columns if (area := column.area(counts)) is not None]
        return float(np.mean(areas)) if areas else UNDEFINED

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:
        """Put a share of the smaller side of each curve, the class or the rest, in wrong order."""
        sizes = [column.smaller_side for column in self._columns if column.smaller_side]
        if self.of_sample() != 1.0:  # NaN, too
            return None
        return float(np.mean([1 - share_of(size) for size in sizes]))


class _Ranking:
    """The images of a class and the others, each in ascending order of its probability."""

    def __init__(self, is_positive: npt.NDArray[np.bool_], scores: Probs) -> None:
        order = np.argsort(scores, kind="stable")
        steps = np.unique(-scores, return_inverse=True)[1]
        self._steps, self._num_steps = steps, int(steps.max()) + 1  # of each image, from the top
        self._positive = order[is_positive[order]]  # (P,)
        self._negative = order[~is_positive[order]]  # (N - P,)
        ranked, others = scores[self._positive], scores[self._negative]
        self._num_below = np.searchsorted(others, ranked, side="left")  # (P,) images
        self._num_not_above = np.searchsorted(others, ranked, side="right")

    @property
    def smaller_side(self) -> int:
        """The number of images of the class or of the others, whatever is less."""
        return min(len(self._positive), len(self._negative))

    def curve(self, counts: IntArray) -> tuple[Values, Values] | None:
        """Return false and true positive rates, `(G + 1,)` each, from strict to lax; None for none.

        Equal probabilities are one step, which goes straight from its begin to its end.
        """
        steps = self._steps
        positives, negatives = (
            np.bincount(steps[rows], counts[rows], self._num_steps)
            for rows in (self._positive, self._negative)
        )
        if not positives.sum() or not negatives.sum():
            return None
        false, true = (
            np.concatenate(([0.0], side.cumsum() / side.sum())) for side in (negatives, positives)
        )
        return false, true

    def area(self, counts: IntArray) -> float | None:
        positive = counts[self._positive]
        negative = np.concatenate(([0], counts[self._negative].cumsum()))
        num_pairs = int(positive.sum()) * int(negative[-1])
        in_order_twice = positive @ (negative[self._num_below] + negative[self._num_not_above])
        return float(in_order_twice / 2 / num_pairs) if num_pairs else None


class WeightedAuc(MeanColumnAuc):
    """The area under the ROC curve of two classes, twice as dear at low true positive rates.

    It is that of the horizontal slices of the plane, right of the curve: the one up to a true
    positive rate of 0.4 counts twice, the other once, and the best possible sum is 1. ALASKA2 uses
    it, where few false alarms matter most.
    """

    def value(self, counts: IntArray) -> float:
        """Add up the slices; NaN where all images are of one class."""
        curve = self._columns[0].curve(counts)
        if curve is None:
            return UNDEFINED
        false, true = curve
        after = int(np.searchsorted(true, WEIGHTED_CUT, side="right"))  # where the cut is passed
        share = (WEIGHTED_CUT - true[after - 1]) / (true[after] - true[after - 1])
        at_cut = false[after - 1] + share * (false[after] - false[after - 1])
        false, true = np.insert(false, after, at_cut), np.insert(true, after, WEIGHTED_CUT)
        slices = np.diff(true) * (1 - (false[1:] + false[:-1]) / 2)
        best = LOW_WEIGHT * WEIGHTED_CUT + 1 - WEIGHTED_CUT
        low, high = slices[:after].sum(), slices[after:].sum()
        return float((LOW_WEIGHT * low + high) / best)


class ProbabilisticF1(Measure):
    """F1 of the second class, of probabilities: 2 Σ p of the class / (Σ p + its images).

    It is the RSNA's of 2023, with precision Σ p of the class / Σ p, and recall Σ p of the class /
    its images (Yacouby and Axman 2020, "Probabilistic Extension of Precision, Recall, and F1
    Score", eq. 4 to 6, without a threshold); 0 where there is no image or no probability of it.
    """

    def __init__(self, targets: IntArray, probs: Probs) -> None:
        super().__init__(np.arange(len(targets)), len(targets))
        self._is_positive = (targets == 1).astype(np.float64)
        self._probs = np.clip(probs[:, 1].astype(np.float64), 0, 1)

    def value(self, counts: IntArray) -> float:
        """Add up the images, then divide."""
        found = float((counts * self._probs * self._is_positive).sum())
        whole = float((counts * (self._probs + self._is_positive)).sum())
        return 2 * found / whole if found > 0 else 0.0


class MapAtK(ShareMean):
    """The mean of 1 / r, where r is the true class's place among an image's likeliest k; else of 0.

    Mean average precision at k is that where an image has one class. Of equal probabilities the
    first class comes first, and a probability of 0 has no place: a list may be shorter than k.
    """

    def __init__(self, targets: IntArray, probs: Probs, k: int) -> None:
        own = probs[np.arange(len(targets)), targets][:, None]  # (N, 1)
        is_earlier = np.arange(probs.shape[1]) < targets[:, None]
        places = ((probs > own) | ((probs == own) & is_earlier)).sum(axis=1)  # (N,) from 0
        has_place = (places < k) & (own[:, 0] > 0)
        super().__init__(has_place / (places + 1.0))


def map_at(k: int) -> Callable[[IntArray, Probs], Measure]:
    """Make what measures mean average precision at k; see `MapAtK`."""
    return partial(MapAtK, k=k)


# Very many classes, of which each image's likeliest are known.


class MacroF1OfMany(Measure):
    """F1 averaged over the classes that occur, with no table of true and predicted classes."""

    def __init__(self, targets: IntArray, predicted: IntArray, num_classes: int) -> None:
        cells, units = np.unique(targets * num_classes + predicted, return_inverse=True)
        super().__init__(units, len(cells))
        self._true, self._predicted = np.divmod(cells, num_classes)
        self._num_classes = num_classes

    def value(self, counts: IntArray) -> float:
        """Count right ones, true ones and predicted ones of each class."""
        right, true, predicted = (
            np.bincount(owner, number, self._num_classes)
            for owner, number in (
                (self._true, counts * (self._true == self._predicted)),
                (self._true, counts),
                (self._predicted, counts),
            )
        )
        occurs = true + predicted > 0
        return float((2 * right[occurs] / (true + predicted)[occurs]).mean())


def likeliest_measure(metric: str, targets: IntArray, likeliest: Likeliest) -> Measure | None:
    """Make a measure of the likeliest classes; None of a metric that needs more than these."""
    if metric == "macro_f1":
        return MacroF1OfMany(targets, likeliest.argmax(), likeliest.num_classes)
    if metric in ("accuracy", "micro_f1"):
        values = (likeliest.argmax() == targets).astype(np.float64)
    elif metric == "log_loss":
        own = likeliest.of_classes(targets).astype(np.float64)
        values = -np.log(np.clip(own, SMALLEST_PROB, 1))
    elif metric.startswith("map_at_"):
        is_it = likeliest.classes[:, : int(metric.rpartition("_")[2])] == targets[:, None]
        values = np.where(is_it.any(axis=1), 1 / (1 + is_it.argmax(axis=1)), 0.0)
    else:
        return None
    return ImageMean(values)


# Several labels an image.


def mean_log_loss(targets: IntArray, probs: Probs) -> Measure:
    """Measure log loss of each label, yes or no or in between, averaged over labels and images."""
    return ImageMean(_label_losses(targets, probs).mean(axis=1))


def _label_losses(targets: IntArray, probs: Probs) -> Values:
    """Compute the negative log of what each label, yes or no or in between, was given."""
    wide = np.clip(probs.astype(np.float64), SMALLEST_PROB, 1 - SMALLEST_PROB)
    losses = -(targets * np.log(wide) + (1 - targets) * np.log(1 - wide))
    return np.asarray(losses, dtype=np.float64)


def weighted_log_loss(targets: IntArray, probs: Probs) -> Measure:
    """Measure log loss of labels by RSNA's weights, averaged over images.

    The first label, which says that any is there, counts as much as all others together, and a
    label that is there twice as much as one that isn't; the losses of an image are divided by the
    sum of its weights (RSNA 2022 Cervical Spine Fracture Detection,
    https://www.kaggle.com/competitions/rsna-2022-cervical-spine-fracture-detection/discussion/341854).
    """
    weights = np.ones(probs.shape[1])
    weights[0] = len(weights) - 1
    weights = weights * (1 + targets)  # (N, K)
    losses = (weights * _label_losses(targets, probs)).sum(axis=1)
    return ImageMean(losses / weights.sum(axis=1))


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
