"""Fit a linear head, standardised features → class logits: logistic regression, or LDA.

More features than memory holds are fitted part by part, to the same optima: the sums of the
discriminant add up, and the loss of the regression is a sum, so that L-BFGS reads all features in
every step. Parts are summed in another order than all rows at once, which changes the last digits.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.config.experiment import HeadConfig
from pipeline.errors import ArtifactError
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.checkpoint import Tensors, load_checkpoint
from pipeline.training.discriminant import Matrix, Parts, fit_discriminant
from pipeline.training.predictor import average_probs

LOWEST_LOGIT = -100.0
TOLERANCE = 1e-4  # scikit-learn's own


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

    def predict(self, views: npt.NDArray[np.float16], *, has_several: bool = False) -> FloatArray:
        """Average the probabilities over views: `(V, N, D)` → `(N, K)`; see `average_probs`."""
        logits = [self.logits(view.astype(np.float32)) for view in views]
        return average_probs(logits, axis=0, has_several=has_several)

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
    groups: IntArray | None = None,
) -> tuple[LinearHead, int]:
    """Fit a linear head to features and their classes.

    There is one optimum, so the result doesn't depend on a seed. A class without rows keeps a
    logit of minus infinity's stand-in and is never predicted.

    Args:
        features: `(N, D)` float32; standardised in place, so that they needn't fit in memory twice.
        targets: `(N,)` class indices; or `(N, K)`, 1 and 0 for each of several labels, of which
            each gets a regression of its own; or `(N, 1)` float64 from 0 to 1, of numbers.
        num_classes: K.
        config: Which head, and how simple it is to be.
        groups: `(N,)`, which rows are held out together, as views of one image are; None for a
            row each.

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
        if targets.ndim > 1:
            fit = _fit_labels if targets.dtype.kind == "i" else _fit_shares
            weight, bias, num_steps = fit(features, targets, config)
            return LinearHead(mean, std, weight, bias), num_steps
        if config.kind == "logistic":
            weight, bias, num_steps = _fit_logistic(features, targets, num_classes, config)
            return LinearHead(mean, std, weight, bias), num_steps
        own = np.arange(len(features)) if groups is None else groups
        found = fit_discriminant(lambda: [features], targets, num_classes, config.shrinkage, own)
    return discriminant_head(mean, std, *found), 1


def discriminant_head(
    mean: FloatArray, std: FloatArray, weight: Matrix, bias: Matrix
) -> LinearHead:
    """Make a head of what `fit_discriminant` found."""
    finite = np.maximum(bias, LOWEST_LOGIT).astype(np.float32)
    return LinearHead(mean, std, weight.astype(np.float32), finite)


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


def fit_head_in_parts(
    load: Parts,
    targets: IntArray,
    num_classes: int,
    config: HeadConfig,
    groups: IntArray,
) -> tuple[LinearHead, int]:
    """Fit a linear head to features that are loaded part by part, several times.

    Args:
        load: Loads the features as they are, `(n, D)` float32 each, N rows altogether and always
            in the same order; what it yields may be changed.
        targets: `(N,)` class indices, or `(N, K)` of several labels; as of `fit_head`.
        num_classes: K.
        config: Which head, and how simple it is to be.
        groups: `(N,)`, which rows are held out together, as views of one image are.

    Returns:
        The head and the number of L-BFGS steps taken; 1 of what is solved directly.
    """
    mean, std = _mean_and_std(load, len(targets))

    def standardised() -> Iterator[FloatArray]:
        for part in load():
            part -= mean
            part /= std
            yield part

    with threadpool_limits(1):  # as in `fit_head`
        if targets.ndim > 1:
            weight, bias, num_steps = _fit_labels_in_parts(standardised, targets, config)
            return LinearHead(mean, std, weight, bias), num_steps
        if config.kind == "logistic":
            weight, bias, num_steps = _fit_in_parts(standardised, targets, num_classes, config)
            return LinearHead(mean, std, weight, bias), num_steps
        found = fit_discriminant(standardised, targets, num_classes, config.shrinkage, groups)
    return discriminant_head(mean, std, *found), 1


def _mean_and_std(load: Parts, count: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the rows, `(D,)` each."""
    total = sum(part.sum(axis=0, dtype=np.float64) for part in load())
    mean: FloatArray = np.asarray(total / count, dtype=np.float32)
    squares = sum(np.square(part - mean).sum(axis=0, dtype=np.float64) for part in load())
    std: FloatArray = np.maximum(np.sqrt(squares / count), 1e-6).astype(np.float32)
    return mean, std


def _fit_in_parts(
    parts: Parts, targets: IntArray, num_classes: int, config: HeadConfig
) -> tuple[FloatArray, FloatArray, int]:
    """Fit multinomial logistic regression; classes without rows get no logit."""
    present, places = np.unique(targets, return_inverse=True)
    dim = next(iter(parts())).shape[1]
    # Of two classes scikit-learn fits one weight; each gets half of it, at half of the penalty.
    l2 = config.l2 * (2 if len(present) == 2 else 1)
    found = _minimum(_LogisticLoss(parts, places, len(present), l2), dim, config)
    solved = found.x.reshape(len(present), dim + 1)
    weight = np.zeros((num_classes, dim), dtype=np.float32)
    bias = np.full(num_classes, LOWEST_LOGIT, dtype=np.float32)
    weight[present], bias[present] = solved[:, :-1], solved[:, -1]
    return weight, bias, int(found.nit)


def _fit_labels_in_parts(
    parts: Parts, targets: IntArray, config: HeadConfig
) -> tuple[FloatArray, FloatArray, int]:
    """Fit the regressions of all labels together, which are as many problems of their own."""
    weight, bias = _certain_labels(targets, next(iter(parts())).shape[1])
    varied = _varied_labels(targets)
    if not len(varied):
        return weight, bias, 1
    loss = _LabelLoss(parts, targets[:, varied], len(varied), config.l2)
    found = _minimum(loss, weight.shape[1], config)
    solved = found.x.reshape(len(varied), -1)
    weight[varied], bias[varied] = solved[:, :-1], solved[:, -1]
    return weight, bias, int(found.nit)


def _minimum(loss: "_LogisticLoss", dim: int, config: HeadConfig) -> OptimizeResult:
    return minimize(
        loss,
        np.zeros(loss.num_classes * (dim + 1)),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": config.max_steps,
            "maxls": 50,
            "gtol": TOLERANCE,
            "ftol": 64 * np.finfo(np.float64).eps,
        },
    )


class _LogisticLoss:
    """Mean log loss and its gradient, with a penalty on the weights and none on the biases."""

    def __init__(self, parts: Parts, targets: IntArray, num_classes: int, l2: float) -> None:
        self._parts = parts
        self._targets = targets
        self.num_classes = num_classes
        self._l2 = l2

    def __call__(self, flat: Matrix) -> tuple[float, Matrix]:
        """Return both at weights and biases, `(K * (D + 1),)`."""
        solved = flat.reshape(self.num_classes, -1)
        weight, bias = solved[:, :-1].astype(np.float32), solved[:, -1].astype(np.float32)
        loss, start = 0.0, 0
        gradient = np.zeros_like(solved)
        for part in self._parts():
            own = self._targets[start : start + len(part)]
            start += len(part)
            added, slopes = self._of_rows(part @ weight.T + bias, own)
            loss += added
            gradient[:, :-1] += slopes.T @ part
            gradient[:, -1] += slopes.sum(axis=0)
        gradient /= start
        gradient[:, :-1] += self._l2 * solved[:, :-1]
        penalty = self._l2 / 2 * float(np.square(solved[:, :-1]).sum())
        return loss / start + penalty, gradient.ravel()

    def _of_rows(self, logits: FloatArray, own: IntArray) -> tuple[float, FloatArray]:
        """Return the sum of the losses of `(n, K)` logits, and their slopes."""
        log_probs = logits - logsumexp(logits, axis=1, keepdims=True)
        loss = -float(log_probs[np.arange(len(own)), own].sum(dtype=np.float64))
        slopes: FloatArray = np.exp(log_probs)
        slopes[np.arange(len(own)), own] -= 1
        return loss, slopes


class _LabelLoss(_LogisticLoss):
    """The same of several labels, each there or not: targets are `(N, K)`, losses are added up."""

    def _of_rows(self, logits: FloatArray, own: IntArray) -> tuple[float, FloatArray]:
        losses = np.logaddexp(0, logits) - own * logits
        slopes: FloatArray = (expit(logits) - own).astype(np.float32)
        return float(losses.sum(dtype=np.float64)), slopes


def _fit_labels(
    features: FloatArray, targets: IntArray, config: HeadConfig
) -> tuple[FloatArray, FloatArray, int]:
    """Fit a regression per label; one that all or no rows have is as sure as these say."""
    weight, bias = _certain_labels(targets, features.shape[1])
    num_steps = 1
    for label in _varied_labels(targets):
        both, biases, steps = _fit_logistic(features, targets[:, label], 2, config)
        weight[label], bias[label] = both[1] - both[0], biases[1] - biases[0]
        num_steps = max(num_steps, steps)
    return weight, bias, num_steps


def _fit_shares(
    features: FloatArray, targets: IntArray, config: HeadConfig
) -> tuple[FloatArray, FloatArray, int]:
    """Fit a regression to shares from 0 to 1, as of labels that are there in part.

    Its optimum predicts their mean (Papke and Wooldridge 1996, "Econometric methods for fractional
    response variables"), and never leaves the range. scikit-learn's takes classes alone.
    """
    return _fit_labels_in_parts(lambda: [features], targets, config)


def _certain_labels(targets: IntArray, dim: int) -> tuple[FloatArray, FloatArray]:
    """Return weight `(K, D)` and bias `(K,)` that are sure of every label that doesn't vary."""
    weight = np.zeros((targets.shape[1], dim), dtype=np.float32)
    bias = np.where(targets.any(axis=0), -LOWEST_LOGIT, LOWEST_LOGIT)
    return weight, bias.astype(np.float32)


def _varied_labels(targets: IntArray) -> IntArray:
    """List the labels that some rows have and others don't."""
    varied: IntArray = np.flatnonzero(targets.min(axis=0) < targets.max(axis=0))
    return varied
