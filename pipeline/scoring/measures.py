"""Measures of predictions, in a form in which resampling the images costs little.

A measure keeps its images as units that can't be told apart by it (single images, or cells of the
confusion matrix) and gives its value for any number of images per unit: those of the sample
itself, or those of a bootstrap resample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.predictions import IntArray

SMALLEST_PROB = 1e-15  # keeps the log finite; the clip that judges use

Probs = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]
UNDEFINED = float("nan")


class Measure(ABC):
    """A measure of one sample of images.

    Attributes:
        units: The unit of each image, `(N,)`, counted from 0.
        num_units: U, the number of units.
    """

    def __init__(self, units: IntArray, num_units: int) -> None:
        self.units = units
        self.num_units = num_units

    def of_sample(self) -> float:
        """Give the value for the sample as it is; NaN where it isn't defined."""
        return self.value(self._counts(self.units))

    def of_resample(self, rng: np.random.Generator) -> float:
        """Give the value for as many images drawn from the sample with replacement."""
        drawn = rng.integers(0, len(self.units), len(self.units))
        return self.value(self._counts(self.units[drawn]))

    def _counts(self, units: IntArray) -> IntArray:
        return np.bincount(units, minlength=self.num_units)

    @abstractmethod
    def value(self, counts: IntArray) -> float:
        """Give the value for `counts` images of each unit, `(U,)`; NaN where it isn't defined."""


class MeanOfImages(Measure):
    """The mean of one value per image."""

    def __init__(self, values: Values) -> None:
        super().__init__(np.arange(len(values)), len(values))
        self._values = values

    def value(self, counts: IntArray) -> float:
        """Average the values."""
        return float((counts * self._values).sum() / counts.sum())


class OfConfusion(Measure):
    """A measure of the confusion matrix alone; its cells are the units.

    Args:
        targets: True class indices, `(N,)`.
        predicted: Predicted ones, `(N,)`.
        num_classes: K.
        of_cells: Gives the value from true class, predicted class and count of the cells that
            hold images.
    """

    def __init__(
        self,
        targets: IntArray,
        predicted: IntArray,
        num_classes: int,
        of_cells: Callable[[IntArray, IntArray, IntArray], float],
    ) -> None:
        super().__init__(targets * num_classes + predicted, num_classes**2)
        self._num_classes = num_classes
        self._of_cells = of_cells

    def value(self, counts: IntArray) -> float:
        """Hand the cells that hold images to the formula."""
        cells = np.flatnonzero(counts)
        true, predicted = np.divmod(cells, self._num_classes)
        return self._of_cells(true, predicted, counts[cells])


class MeanColumnAuc(Measure):
    """The area under the ROC curve of each class against the rest, averaged over the classes.

    A class that all or none of the images belong to has no such curve and is left out of the
    mean. Of two classes one is enough, as the other has the same area.

    The curve's area is the share of pairs of an image of the class and another one that the
    class's probability puts in order, ties counting half (Hanley and McNeil 1982). Images are
    sorted once, so that a resample takes a few passes over them: scikit-learn's `roc_auc_score`,
    which sorts each time, would need minutes for the interval of 200,000 images.
    """

    def __init__(self, targets: IntArray, probs: Probs) -> None:
        super().__init__(np.arange(len(targets)), len(targets))
        num_classes = probs.shape[1]
        classes = range(1, 2) if num_classes == 2 else range(num_classes)
        self._columns = [_Ranking(targets == index, probs[:, index]) for index in classes]

    def value(self, counts: IntArray) -> float:
        """Average over the classes that have a curve."""
        areas = [area for column in self._columns if (area := column.area(counts)) is not None]
        return float(np.mean(areas)) if areas else UNDEFINED


class _Ranking:
    """The images of a class and the others, each in ascending order of its probability."""

    def __init__(self, is_positive: npt.NDArray[np.bool_], scores: Probs) -> None:
        order = np.argsort(scores, kind="stable")
        self._positive = order[is_positive[order]]  # (P,)
        self._negative = order[~is_positive[order]]  # (N - P,)
        ranked, others = scores[self._positive], scores[self._negative]
        self._num_below = np.searchsorted(others, ranked, side="left")  # (P,) images
        self._num_not_above = np.searchsorted(others, ranked, side="right")

    def area(self, counts: IntArray) -> float | None:
        positive = counts[self._positive]
        negative = np.concatenate(([0], counts[self._negative].cumsum()))
        num_pairs = int(positive.sum()) * int(negative[-1])
        in_order_twice = positive @ (negative[self._num_below] + negative[self._num_not_above])
        return float(in_order_twice / 2 / num_pairs) if num_pairs else None


def hits(targets: IntArray, probs: Probs) -> Measure:
    """Share of images whose most probable class is the true one."""
    return MeanOfImages((probs.argmax(axis=1) == targets).astype(np.float64))


def log_loss(targets: IntArray, probs: Probs) -> Measure:
    """Mean negative log of the true class's probability, rows rescaled to sum to 1 first."""
    wide = probs.astype(np.float64)
    chosen = wide[np.arange(len(targets)), targets] / np.maximum(wide.sum(axis=1), SMALLEST_PROB)
    return MeanOfImages(-np.log(np.clip(chosen, SMALLEST_PROB, 1.0)))


def macro_f1_of(targets: IntArray, probs: Probs) -> Measure:
    """F1 averaged over the classes that occur in either."""
    return OfConfusion(targets, probs.argmax(axis=1), probs.shape[1], _macro_f1)


def quadratic_kappa(targets: IntArray, probs: Probs) -> Measure:
    """Cohen's kappa, a mistake weighted by the square of how many classes lie between.

    Not defined where all images are of one class and predicted to be.
    """
    num_classes = probs.shape[1]
    of_cells = partial(_quadratic_kappa, num_classes)
    return OfConfusion(targets, probs.argmax(axis=1), num_classes, of_cells)


def _macro_f1(true: IntArray, predicted: IntArray, counts: IntArray) -> float:
    from sklearn.metrics import f1_score  # here: a stage that is up to date needn't wait for it

    return float(f1_score(true, predicted, sample_weight=counts, average="macro", zero_division=0))


def _quadratic_kappa(
    num_classes: int, true: IntArray, predicted: IntArray, counts: IntArray
) -> float:
    from sklearn.metrics import cohen_kappa_score

    if len(true) == 1 and true[0] == predicted[0]:
        return UNDEFINED
    labels = range(num_classes)  # all: a class that doesn't occur still lies between others
    kappa = cohen_kappa_score(
        true, predicted, labels=labels, weights="quadratic", sample_weight=counts
    )
    return float(kappa)
