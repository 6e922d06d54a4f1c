"""Linear discriminant analysis (Fisher 1936), its covariance shrunk so that few images do."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.calibration import best_temperature

Matrix = npt.NDArray[np.float64]

HELD_OUT = 5  # every fifth image of a class says how sure the head may be
SMALLEST_VARIANCE = 1e-6  # of features that are the same in all images


@dataclass(frozen=True)
class Moments:
    """All that the analysis needs of some rows; those of two sets of rows add up.

    Attributes:
        counts: Weight of each class, `(K,)`.
        sums: Weighted sums of its features, `(K, D)`.
        products: Weighted sum of the rows' outer products, `(D, D)`.
    """

    counts: Matrix
    sums: Matrix
    products: Matrix

    @classmethod
    def of(
        cls, features: FloatArray, targets: IntArray, num_classes: int, weights: FloatArray
    ) -> "Moments":
        """Sum up rows: `(N, D)` features, `(N,)` class indices, `(N,)` weights."""
        weighted = features * weights[:, None]
        members = np.eye(num_classes, dtype=np.float32)[targets]  # (N, K)
        sums, products = members.T @ weighted, weighted.T @ features
        counts = np.bincount(targets, weights, num_classes).astype(np.float64)
        return cls(counts, sums.astype(np.float64), products.astype(np.float64))

    def __add__(self, other: "Moments") -> "Moments":
        counts, sums = self.counts + other.counts, self.sums + other.sums
        return Moments(counts, sums, self.products + other.products)

    def discriminant(self, shrinkage: float) -> tuple[Matrix, Matrix]:
        """Return weight `(K, D)` and bias `(K,)` of the logits; a class without rows gets -inf.

        With the classes' means m, their shares p and the covariance S of all rows about their
        class's mean, logits are `x S⁻¹ m - m S⁻¹ m / 2 + log p`. S is shrunk towards a multiple of
        the identity with the same trace (Friedman 1989, "Regularized Discriminant Analysis",
        eq. 18).
        """
        shares = self.counts / self.counts.sum()
        means = self.sums / np.maximum(self.counts, 1e-12)[:, None]
        covariance = self.products / self.counts.sum() - (means * shares[:, None]).T @ means
        spread = max(float(np.trace(covariance)) / len(covariance), SMALLEST_VARIANCE)
        shrunk = (1 - shrinkage) * covariance + shrinkage * spread * np.eye(len(covariance))
        weight: Matrix = cho_solve(cho_factor(shrunk), means.T).T
        with np.errstate(divide="ignore"):
            return weight, np.log(shares) - (weight * means).sum(axis=1) / 2


def fit_discriminant(
    features: FloatArray,
    targets: IntArray,
    num_classes: int,
    shrinkage: float,
    weights: FloatArray,
    images: IntArray,
) -> tuple[Matrix, Matrix]:
    """Fit the analysis to all rows, as sure as it is right on images it didn't learn from.

    With about as many features as rows, its logits are several times too large. Their temperature
    is that of a fit to four fifths of the images, on the last fifth.

    Args:
        features: `(N, D)`, standardised.
        targets: `(N,)` class indices.
        num_classes: K.
        shrinkage: From 0, the covariance as it is, to 1, none but the features' common spread.
        weights: `(N,)`, what each row counts.
        images: `(N,)`, which image a row is a view of; all views of one are held out together.

    Returns:
        Weight `(K, D)` and bias `(K,)`; -inf for a class without rows.
    """
    is_held = _held_out(images, targets)
    learned, held = (
        Moments.of(features[rows], targets[rows], num_classes, weights[rows])
        for rows in (~is_held, is_held)
    )
    weight, bias = (learned + held).discriminant(shrinkage)
    is_told = is_held & (learned.counts[targets] > 0)  # a class it never saw says nothing of it
    if not is_told.any():
        return weight, bias
    known = np.flatnonzero(learned.counts)
    part_weight, part_bias = learned.discriminant(shrinkage)
    logits = features[is_told] @ part_weight[known].T + part_bias[known]
    own = logits[np.arange(len(logits)), np.searchsorted(known, targets[is_told])]
    temperature = best_temperature(logits - own[:, None], weights[is_told])
    return weight / temperature, bias / temperature


def _held_out(images: IntArray, targets: IntArray) -> npt.NDArray[np.bool_]:
    """Tell which rows are of every fifth image, the images in the order of their classes."""
    numbers, first, number_of = np.unique(images, return_index=True, return_inverse=True)
    places = np.empty(len(numbers), dtype=np.int64)
    places[np.argsort(targets[first], kind="stable")] = np.arange(len(numbers))
    held: npt.NDArray[np.bool_] = (places % HELD_OUT == HELD_OUT - 1)[number_of]
    return held
