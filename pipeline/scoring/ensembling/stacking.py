"""Stacking (Wolpert 1992): a logistic regression on the members' log-probabilities."""

from dataclasses import dataclass

import numpy as np

from pipeline.scoring.calibration import log_probs, log_ratios, softmax_loss
from pipeline.scoring.ensembling.blending import Weights, equal_weights
from pipeline.store.predictions import FloatArray, IntArray

L2 = 0.01


@dataclass(frozen=True)
class Stack:
    """A logarithmic pool: the product of the probabilities, each to the power of its weight.

    Attributes:
        weights: `(M,)`, at least 0. Their sum is free: above 1 it sharpens, below it softens.
    """

    weights: Weights

    def apply(self, members: FloatArray) -> FloatArray:
        """Map `(M, N, K)` to `(N, K)`; rows sum to 1."""
        _, probs = softmax_loss(np.tensordot(self.weights, log_probs(members), axes=1))
        return probs.astype(np.float32)


def fit_stack(members: FloatArray, targets: IntArray) -> Stack:
    """Fit a multinomial logistic regression with one coefficient per member.

    All classes share a member's coefficient. A coefficient for each pair of classes, K² times as
    many, overfits the few thousand images of a competition (EXPERIMENTS.md). The L2 penalty pulls
    towards equal weights with sum 1, so that the optimum is unique even for identical members.

    Args:
        members: Probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
    """
    from scipy.optimize import minimize

    ratios = log_ratios(members, targets)  # (M, N, K)
    equal = equal_weights(members)

    def loss_and_gradient(weights: Weights) -> tuple[float, Weights]:
        losses, probs = softmax_loss(np.tensordot(weights, ratios, axes=1))  # (N,), (N, K)
        gradient = np.tensordot(ratios, probs, axes=2) / len(targets)  # (M,)
        away = weights - equal
        return float(losses.mean() + L2 / 2 * away @ away), gradient + L2 * away

    found = minimize(
        loss_and_gradient, equal, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(members)
    )
    return Stack(found.x)
