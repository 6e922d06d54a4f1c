"""Compute measures of predictions in a form that makes bootstrap resamples cheap.

A measure keeps its images as units that it can't tell apart (single images, or cells of the
confusion matrix) and gives its value for any number of images per unit: those of the sample
itself, or those of a resample with replacement. The resamples show how far a value would move on
other images of the same kind.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.store.predictions import IntArray

SMALLEST_PROB = 1e-15  # keeps the log finite; the clip that competitions use

Probs = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Values = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.int64] | npt.NDArray[np.float64]
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
        """Compute the value for the sample itself; NaN where it isn't defined."""
        return self.value(np.bincount(self.units, minlength=self.num_units))

    def of(self, drawn: IntArray) -> float:
        """Compute the value for images drawn from the sample, `(n,)`, some more than once."""
        return self.value(np.bincount(self.units[drawn], minlength=self.num_units))

    @abstractmethod
    def value(self, counts: IntArray) -> float:
        """Compute the value for `counts` images per unit, `(U,)`; NaN where it isn't defined."""

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:  # noqa: ARG002
        """Compute the value as if some images were wrong, of a sample in which none is.

        Args:
            share_of: The share of wrong images that as many right ones may hide.

        Returns:
            The value; None where an image is wrong, or the measure has no use for it.
        """
        return None


class ImageMean(Measure):
    """The mean of one value per image, `values`, `(N,)`."""

    def __init__(self, values: Values) -> None:
        super().__init__(np.arange(len(values)), len(values))
        self.values = values

    def value(self, counts: IntArray) -> float:
        """Average the values."""
        return float((counts * self.values).sum() / counts.sum())


class ShareMean(ImageMean):
    """The mean of one value per image, `(N,)`, of which 1 is faultless and 0 worthless."""

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:
        """Take a share of the images for worthless."""
        return 1 - share_of(len(self.values)) if (self.values == 1).all() else None


class MeanAbsoluteError(ImageMean):
    """The mean distance of numbers, `(N, 1)` each, from the true ones."""

    def __init__(self, targets: IntArray, numbers: Probs) -> None:
        super().__init__(np.abs(targets[:, 0] - numbers[:, 0].astype(np.float64)))


class RootMeanSquaredError(ImageMean):
    """The root of the mean squared distance of numbers, `(N, 1)` each, from the true ones."""

    def __init__(self, targets: IntArray, numbers: Probs) -> None:
        super().__init__(np.square(targets[:, 0] - numbers[:, 0].astype(np.float64)))

    def value(self, counts: IntArray) -> float:
        """Take the root of the mean."""
        return float(np.sqrt(super().value(counts)))


class LogLoss(ImageMean):
    """The mean negative log of the true class's probability, rows rescaled to sum to 1."""

    def __init__(self, targets: IntArray, probs: Probs) -> None:
        wide = probs.astype(np.float64)
        wide = wide / np.maximum(wide.sum(axis=1, keepdims=True), SMALLEST_PROB)
        rows = np.arange(len(targets))
        super().__init__(-np.log(np.clip(wide[rows, targets], SMALLEST_PROB, 1.0)))
        self._is_faultless = bool((wide.argmax(axis=1) == targets).all())
        wide[rows, targets] = 0
        self._runner_up = wide.max(axis=1)  # (N,)

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:
        """Take the likeliest of the other classes for the true one in a share of the images."""
        if not self._is_faultless:
            return None
        share = share_of(len(self.values))
        losses = -np.log(np.clip(self._runner_up, SMALLEST_PROB, 1.0))
        return float((1 - share) * self.values.mean() + share * losses.mean())


class ConfusionMeasure(Measure):
    """A measure of the confusion matrix alone; its cells are the units.

    scikit-learn's measures give the same and take a millisecond each, a second per interval.

    Args:
        targets: True class indices, `(N,)`.
        probs: Probabilities, `(N, K)`.
        of_matrix: Computes the value from the counts by true and predicted class, `(K, K)`.
    """

    def __init__(
        self, targets: IntArray, probs: Probs, of_matrix: Callable[[Matrix], float]
    ) -> None:
        self._num_classes = probs.shape[1]
        cells = targets * self._num_classes + probs.argmax(axis=1)
        super().__init__(cells, self._num_classes**2)
        self._of_matrix = of_matrix

    def value(self, counts: IntArray) -> float:
        """Apply the formula to the matrix."""
        return self._of_matrix(counts.reshape(self._num_classes, self._num_classes))

    def with_unseen_errors(self, share_of: Callable[[int], float]) -> float | None:
        """Spread a share of each class over the other classes that occur; if any does."""
        counts = np.bincount(self.units, minlength=self.num_units)
        matrix = counts.reshape(self._num_classes, self._num_classes)
        right = matrix.diagonal()
        if right.sum() != len(self.units):
            return None
        share = share_of(len(self.units))
        if np.count_nonzero(right) == 1:
            return 1 - share
        others = (right > 0) & ~np.eye(len(right), dtype=np.bool_)  # (K, K)
        wrong = share * right[:, None] * others / (np.count_nonzero(right) - 1)
        return self._of_matrix(np.diag((1 - share) * right) + wrong)


def accuracy(targets: IntArray, probs: Probs) -> Measure:
    """Measure the share of images whose most probable class is the true one."""
    return ImageMean((probs.argmax(axis=1) == targets).astype(np.float64))


def macro_f1_measure(targets: IntArray, probs: Probs) -> Measure:
    """Measure F1, `2 TP / (2 TP + FP + FN)`, averaged over the classes that occur in either."""
    return ConfusionMeasure(targets, probs, _macro_f1)


def quadratic_kappa(targets: IntArray, probs: Probs) -> Measure:
    """Measure Cohen's kappa with mistakes weighted by their squared distance (Cohen 1968).

    Not defined where all images are of one class and predicted to be.
    """
    return ConfusionMeasure(targets, probs, _quadratic_kappa)


def _macro_f1(matrix: Matrix) -> float:
    num_either = matrix.sum(axis=0) + matrix.sum(axis=1)  # (K,)
    occurs = num_either > 0
    return float((2 * matrix.diagonal()[occurs] / num_either[occurs]).mean())


def _quadratic_kappa(matrix: Matrix) -> float:
    classes = np.arange(len(matrix))
    weights = (classes[:, None] - classes) ** 2  # (K, K)
    by_chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()
    expected = (weights * by_chance).sum()
    return float(1 - (weights * matrix).sum() / expected) if expected else UNDEFINED


NUM_RESAMPLES = 2000
BATCH = 2**15  # values drawn at a time: what fits a core's cache, not 2,000 times the table


def bootstrap(values: Values, summary: Callable[[Values], Values]) -> Values:
    """Summarise resamples of values, one per image, drawn with a seed (Efron 1979).

    Args:
        values: One value per image, `(N,)`, or per prediction and image, `(C, N)`: resampled
            together, so that differences between predictions are paired.
        summary: Reduces the last axis.

    Returns:
        One value per resample, `(NUM_RESAMPLES,)` or `(C, NUM_RESAMPLES)`.
    """
    rng = np.random.default_rng(0)
    num = values.shape[-1]
    per_batch = max(1, BATCH // num)
    batches = []
    for start in range(0, NUM_RESAMPLES, per_batch):
        size = min(per_batch, NUM_RESAMPLES - start)
        drawn = rng.integers(0, num, (size, num))
        batches.append(summary(np.take(values, drawn, axis=-1)))  # of (..., size, N)
    return np.concatenate(batches, axis=-1)


def bootstrap_measures(measures: Sequence[Measure], groups: IntArray | None = None) -> Values:
    """Compute measures for resamples of the images, drawn with a seed.

    Args:
        measures: C of them, of the same N images: resampled together, so that differences between
            them are paired.
        groups: The group of each image, `(N,)`, counted from 0: they are drawn, as new images come
            of new groups; None where each image stands for itself.

    Returns:
        `(C, NUM_RESAMPLES)`; NaN where a measure isn't defined for a resample.
    """
    means = [
        measure.values
        for measure in measures
        # One that computes its value in another way isn't the mean of them.
        if isinstance(measure, ImageMean) and type(measure).value is ImageMean.value
    ]
    if groups is not None:
        return _bootstrap_groups(measures, means, groups)
    if len(means) == len(measures):
        return bootstrap(np.stack(means), lambda drawn: np.asarray(drawn.mean(axis=-1)))
    rng = np.random.default_rng(0)
    num = len(measures[0].units)
    draws = (rng.integers(0, num, num) for _ in range(NUM_RESAMPLES))
    return np.array([[measure.of(drawn) for measure in measures] for drawn in draws]).T


def _bootstrap_groups(
    measures: Sequence[Measure], means: Sequence[Values], groups: IntArray
) -> Values:
    """Draw groups; the images of one that comes twice count twice."""
    sizes = np.bincount(groups).astype(np.float64)
    if len(means) == len(measures):
        sums = [np.bincount(groups, values) for values in means]
        drawn = bootstrap(np.stack([*sums, sizes]), lambda one: np.asarray(one.sum(axis=-1)))
        return np.asarray(drawn[:-1] / drawn[-1])
    rng = np.random.default_rng(0)
    values = np.empty((len(measures), NUM_RESAMPLES))
    for number in range(NUM_RESAMPLES):
        times = np.bincount(rng.integers(0, len(sizes), len(sizes)), minlength=len(sizes))[groups]
        for place, measure in enumerate(measures):
            counts = np.bincount(measure.units, times, measure.num_units).astype(np.int64)
            values[place, number] = measure.value(counts)
    return values


def num_independent(values: Values, groups: IntArray | None) -> float:
    """Count the independent images that would tell a share as well as images in groups do.

    It is their number by the design effect (Kish 1965, "Survey Sampling"): the variance of the
    share, groups drawn, over that of as many images drawn by themselves. Where all values are the
    same, images of a group are taken for one and the same.

    Args:
        values: 1 or 0 for each image, `(N,)`.
        groups: As of `bootstrap_measures`.

    Returns:
        From 1 to N.
    """
    num, share = len(values), float(values.mean())
    if groups is None:
        return num
    sizes = np.bincount(groups)
    if not 0 < share < 1:
        return float(num**2 / np.square(sizes).sum())
    variance = float(np.square(np.bincount(groups, values - share)).sum()) / num**2
    return float(np.clip(share * (1 - share) / max(variance, 1e-12), 1, num))


def interval_quantiles(confidence: float) -> tuple[float, float]:
    """Return the two quantiles between which the given share lies, as (0.025, 0.975) for 0.95."""
    return (1 - confidence) / 2, (1 + confidence) / 2
