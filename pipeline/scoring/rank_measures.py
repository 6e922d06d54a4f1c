"""Measure how well probabilities put images, or the classes of an image, in order."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.scoring.measures import UNDEFINED, Measure, Probs, ShareMean, Values
from pipeline.store.predictions import IntArray

# ALASKA2's regions of the curve: where the true positive rate is at most the cut, area counts
# twice (https://www.kaggle.com/competitions/alaska2-image-steganalysis/overview/evaluation).
WEIGHTED_CUT = 0.4
LOW_WEIGHT = 2


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
