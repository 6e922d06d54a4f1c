"""A linear head: standardised features → class logits."""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.config import HeadConfig
from pipeline.errors import ArtifactError
from pipeline.predictions import FloatArray, IntArray
from pipeline.training.checkpoint import Tensors, load_checkpoint
from pipeline.training.discriminant import fit_discriminant

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
        probs = [softmax(self.logits(view.astype(np.float32)), axis=1) for view in views]
        averaged: FloatArray = np.mean(probs, axis=0, dtype=np.float32)
        return averaged

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
    weights: FloatArray | None = None,
    images: IntArray | None = None,
) -> tuple[LinearHead, int]:
    """Fit a head.

    There is one optimum, so the result doesn't depend on a seed. A class without rows keeps a
    logit of minus infinity's stand-in and is never predicted.

    Args:
        features: `(N, D)` float32; standardised in place, so that they needn't fit in memory twice.
        targets: `(N,)` class indices.
        num_classes: K.
        config: Which head, and how simple it is to be.
        weights: `(N,)`, what each row counts; None for 1 each.
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
            weight, bias, num_steps = _fit_logistic(features, targets, num_classes, config, weights)
            return LinearHead(mean, std, weight, bias), num_steps
        counted = np.ones(len(features), dtype=np.float32) if weights is None else weights
        own = np.arange(len(features)) if images is None else images
        found = fit_discriminant(features, targets, num_classes, config.shrinkage, counted, own)
    bias = np.maximum(found[1], LOWEST_LOGIT).astype(np.float32)
    return LinearHead(mean, std, found[0].astype(np.float32), bias), 1


def _fit_logistic(
    features: FloatArray,
    targets: IntArray,
    num_classes: int,
    config: HeadConfig,
    weights: FloatArray | None,
) -> tuple[FloatArray, FloatArray, int]:
    total = len(features) if weights is None else float(weights.sum())
    model = LogisticRegression(C=1 / (config.l2 * total), max_iter=config.max_steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_steps is the user's own limit
        model.fit(features, targets, sample_weight=weights)
    weight = np.zeros((num_classes, features.shape[1]), dtype=np.float32)
    bias = np.full(num_classes, LOWEST_LOGIT, dtype=np.float32)
    if len(model.classes_) == 2:  # one logit for the second class; symmetric halves say the same
        weight[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weight, bias, int(model.n_iter_[0])
