"""Fit a linear head, standardised features → class logits: logistic regression, or LDA.

Linear discriminant analysis is Fisher's (1936), its covariance shrunk so that few images do.
"""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.config.experiment import HeadConfig
from pipeline.errors import ArtifactError
from pipeline.scoring.calibration import best_temperature
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.checkpoint import Tensors, load_checkpoint
from pipeline.training.predictor import average_probs

Matrix = npt.NDArray[np.float64]

HELD_OUT = 5  # every fifth image of a class says how sure the head may be
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
        members = np.eye(num_classes, dtype=np.float32)[targets]  # (N, K)
        sums, products = members.T @ features, features.T @ features
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
    features: FloatArray,
    targets: IntArray,
    num_classes: int,
    shrinkage: float,
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
        images: `(N,)`, which image a row is a view of; all views of one are held out together.

    Returns:
        Weight `(K, D)` and bias `(K,)`; -inf for a class without rows.
    """
    is_held = _held_out(images, targets)
    learned, held = (
        Moments.of(features[rows], targets[rows], num_classes) for rows in (~is_held, is_held)
    )
    weight, bias = (learned + held).discriminant(shrinkage)
    is_known = is_held & (learned.counts[targets] > 0)  # a class it never saw says nothing of it
    if not is_known.any():
        return weight, bias
    known = np.flatnonzero(learned.counts)
    part_weight, part_bias = learned.discriminant(shrinkage)
    logits = features[is_known] @ part_weight[known].T + part_bias[known]
    own = logits[np.arange(len(logits)), np.searchsorted(known, targets[is_known])]
    temperature = best_temperature(logits - own[:, None])
    return weight / temperature, bias / temperature


def _held_out(images: IntArray, targets: IntArray) -> npt.NDArray[np.bool_]:
    """Tell which rows are of every fifth image, the images in the order of their classes."""
    numbers, first, number_of = np.unique(images, return_index=True, return_inverse=True)
    places = np.empty(len(numbers), dtype=np.int64)
    places[np.argsort(targets[first], kind="stable")] = np.arange(len(numbers))
    held: npt.NDArray[np.bool_] = (places % HELD_OUT == HELD_OUT - 1)[number_of]
    return held


LOWEST_LOGIT = -100.0


@dataclass(frozen=True)
class LinearHead:
    """Standardised features → class logits.

    Attributes:
        mean: `(D,)` float32, subtracted from the features.
        std: `(D,)` float32, then divided by.
        weight: `(K, D)` float32.
        bias: `(K,)` float32.
    """

    mean: FloatArray
    std: FloatArray
    weight: FloatArray
    bias: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        """Return `(N, K)` logits of `(N, D)` features."""
        standardised = (features - self.mean) / self.std
        logits: FloatArray = np.asarray(standardised @ self.weight.T + self.bias, dtype=np.float32)
        return logits

    def linear(self) -> tuple[FloatArray, FloatArray]:
        """Fold the standardisation in: weight `(K, D)` and bias `(K,)` for features as they are."""
        weight: FloatArray = self.weight / self.std
        bias: FloatArray = self.bias - weight @ self.mean
        return weight, bias

    def predict(self, views: npt.NDArray[np.float16]) -> FloatArray:
        """Average the probabilities over views: `(V, N, D)` → `(N, K)`, rows sum to 1."""
        logits = [self.logits(view.astype(np.float32)) for view in views]
        return average_probs(logits, axis=0)

    def tensors(self) -> Tensors:
        """Return what a checkpoint holds of the head."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def load(cls, path: Path) -> "LinearHead":
        """Read a head from its checkpoint.

        Raises:
            ArtifactError: The file is missing, damaged or no head's.
        """
        tensors: dict[str, Any] = dict(load_checkpoint(path))
        if tensors.keys() != {field.name for field in fields(cls)}:
            raise ArtifactError(
                f"{path}: must be a linear head, holds {list(tensors)}; train again"
            )
        return cls(**tensors)


def fit_head(
    features: FloatArray,
    targets: IntArray,
    num_classes: int,
    config: HeadConfig,
    images: IntArray | None = None,
) -> tuple[LinearHead, int]:
    """Fit a linear head to features and their classes.

    There is one optimum, so the result doesn't depend on a seed. A class without rows keeps a
    logit of minus infinity's stand-in and is never predicted.

    Args:
        features: `(N, D)` float32; standardised in place, so that they needn't fit in memory twice.
        targets: `(N,)` class indices.
        num_classes: K.
        config: Which head, and how simple it is to be.
        images: `(N,)`, which image a row is a view of; None for an image each.

    Returns:
        The head and the number of L-BFGS steps taken; 1 of what is solved directly.
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    features -= mean
    # A feature that never varies stays 0 instead of dividing by 0.
    std = np.maximum(np.sqrt(np.square(features).mean(axis=0)), 1e-6)
    features /= std
    # The matrices are small: more threads only wait for each other, and one gives the same bits
    # on every machine.
    with threadpool_limits(1):
        if config.kind == "logistic":
            weight, bias, num_steps = _fit_logistic(features, targets, num_classes, config)
            return LinearHead(mean, std, weight, bias), num_steps
        own = np.arange(len(features)) if images is None else images
        found = fit_discriminant(features, targets, num_classes, config.shrinkage, own)
    bias = np.maximum(found[1], LOWEST_LOGIT).astype(np.float32)
    return LinearHead(mean, std, found[0].astype(np.float32), bias), 1


def _fit_logistic(
    features: FloatArray,
    targets: IntArray,
    num_classes: int,
    config: HeadConfig,
) -> tuple[FloatArray, FloatArray, int]:
    model = LogisticRegression(C=1 / (config.l2 * len(features)), max_iter=config.max_steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_steps is the user's own limit
        model.fit(features, targets)
    weight = np.zeros((num_classes, features.shape[1]), dtype=np.float32)
    bias = np.full(num_classes, LOWEST_LOGIT, dtype=np.float32)
    if len(model.classes_) == 2:  # one logit for the second class; symmetric halves say the same
        weight[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weight, bias, int(model.n_iter_[0])
