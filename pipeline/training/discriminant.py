"""Linear discriminant analysis: Fisher's (1936), its covariance shrunk so that few images do.

It needs sums alone, so it is fitted to rows that come part by part.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from pipeline.config.competition import MOST_DENSE
from pipeline.scoring.calibration import best_temperature
from pipeline.store.predictions import FloatArray, IntArray

Matrix = npt.NDArray[np.float64]

# Loads rows, `(n, D)` float32, part by part: as often as it is called, in the same order.
Parts = Callable[[], Iterable[FloatArray]]

HELD_OUT = 5  # every fifth group of a class says how sure the head may be
MOST_CELLS = 2**24  # rows times classes whose logits are held
SMALLEST_VARIANCE = 1e-6  # of features that are the same in all images


@dataclass(frozen=True)
class Moments:
    """The sums that the analysis needs of some rows; those of two sets of rows add up.

    Attributes:
        counts: Rows of each class, `(K,)`.
        sums: Sums of their features, `(K, D)`.
        products: Sum of all rows' outer products, `(D, D)`.
    """

    counts: Matrix
    sums: Matrix
    products: Matrix

    @classmethod
    def of(cls, features: FloatArray, targets: IntArray, num_classes: int) -> "Moments":
        """Sum up rows: `(N, D)` features, `(N,)` class indices."""
        if num_classes > MOST_DENSE:
            num = len(targets)
            ones = np.ones(num, dtype=np.float32)
            sums = csr_array((ones, (targets, np.arange(num))), (num_classes, num)) @ features
        else:
            members = np.eye(num_classes, dtype=np.float32)[targets]  # (N, K)
            sums = members.T @ features
        products = features.T @ features
        counts = np.bincount(targets, minlength=num_classes).astype(np.float64)
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
    parts: Parts,
    targets: IntArray,
    num_classes: int,
    shrinkage: float,
    groups: IntArray,
) -> tuple[Matrix, Matrix]:
    """Fit the analysis to all rows, as sure as it is right on images it didn't learn from.

    With about as many features as rows, its logits are several times too large. Their temperature
    is that of a fit to four fifths of the groups, on the last fifth.

    Args:
        parts: The features, `(N, D)` altogether, standardised.
        targets: `(N,)` class indices.
        num_classes: K.
        shrinkage: From 0, the covariance as it is, to 1, none but the features' common spread.
        groups: `(N,)`, which rows are held out together: views of an image, images of a subject.

    Returns:
        Weight `(K, D)` and bias `(K,)`; -inf for a class without rows.
    """
    is_held = _held_out(groups, targets)
    learned, held = (_moments(parts, targets, rows, num_classes) for rows in (~is_held, is_held))
    weight, bias = (learned + held).discriminant(shrinkage)
    is_known = is_held & (learned.counts[targets] > 0)  # a class it never saw says nothing of it
    if not is_known.any():
        return weight, bias
    known = np.flatnonzero(learned.counts)
    most = max(1, MOST_CELLS // len(known))  # of very many classes fewer images tell it
    told = np.flatnonzero(is_known)
    is_known[:] = False
    is_known[told[:: -(-len(told) // most)]] = True
    part_weight, part_bias = learned.discriminant(shrinkage)
    logits = np.concatenate(
        [
            part[is_known[rows]] @ part_weight[known].T + part_bias[known]
            for rows, part in _numbered(parts)
        ]
    )
    own = logits[np.arange(len(logits)), np.searchsorted(known, targets[is_known])]
    temperature = best_temperature(logits - own[:, None])
    return weight / temperature, bias / temperature


def _numbered(parts: Parts) -> Iterator[tuple[slice, FloatArray]]:
    """Yield parts with the rows that they are."""
    start = 0
    for part in parts():
        yield slice(start, start + len(part)), part
        start += len(part)


def _moments(
    parts: Parts, targets: IntArray, is_wanted: npt.NDArray[np.bool_], num_classes: int
) -> Moments:
    """Sum up some of the rows, `(N,)`, part by part."""
    sums = (
        Moments.of(part[is_wanted[rows]], targets[rows][is_wanted[rows]], num_classes)
        for rows, part in _numbered(parts)
    )
    return functools.reduce(operator.add, sums)


def _held_out(groups: IntArray, targets: IntArray) -> npt.NDArray[np.bool_]:
    """Tell which rows are of every fifth group, the groups in the order of their classes."""
    numbers, first, number_of = np.unique(groups, return_index=True, return_inverse=True)
    places = np.empty(len(numbers), dtype=np.int64)
    places[np.argsort(targets[first], kind="stable")] = np.arange(len(numbers))
    held: npt.NDArray[np.bool_] = (places % HELD_OUT == HELD_OUT - 1)[number_of]
    return held
