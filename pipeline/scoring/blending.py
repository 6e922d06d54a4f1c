"""Weighted means of several experiments' probabilities, with weights fitted on OOF predictions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.metrics import SMALLEST_PROB

Weights = npt.NDArray[np.float64]


def fit_weights(members: Sequence[FloatArray], targets: IntArray) -> Weights:
    """Find the weighted mean with the least log loss.

    Log loss is convex in the weights, so the optimum is the same from any start; accuracy, a step
    function, would be fitted to noise.

    Args:
        members: M arrays of probabilities, `(N, K)` each, rows and columns in the same order.
        targets: True class indices, `(N,)`.

    Returns:
        `(M,)` weights, at least 0, summing to 1.
    """
    chosen = np.stack([probs[np.arange(len(targets)), targets] for probs in members])  # (M, N)
    chosen = chosen.astype(np.float64)

    def loss_and_gradient(weights: Weights) -> tuple[float, Weights]:
        blended = np.maximum(weights @ chosen, SMALLEST_PROB)
        return -float(np.log(blended).mean()), -(chosen / blended).mean(axis=1)

    equal = np.full(len(members), 1 / len(members))
    from scipy.optimize import minimize  # here: a stage that is up to date needn't wait for it

    found = minimize(
        loss_and_gradient,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(members),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
    )
    weights: Weights = np.clip(found.x, 0, 1)
    normalised: Weights = weights / weights.sum()
    return normalised


def blend(members: Sequence[FloatArray], weights: Weights) -> FloatArray:
    """Average probabilities by weights: M arrays `(N, K)` → `(N, K)`, rows sum to 1."""
    blended = np.tensordot(weights, np.stack(members).astype(np.float64), axes=1)
    return blended.astype(np.float32)


def cross_fitted_blend(
    members: Sequence[FloatArray], targets: IntArray, folds: IntArray
) -> FloatArray:
    """Blend every fold by weights that were fitted on the other folds.

    Weights fitted on the very images they are scored on flatter themselves; these don't, so the
    result is out-of-fold like its members' and may be scored and blended again.

    Args:
        members: M arrays of OOF probabilities, `(N, K)` each.
        targets: True class indices, `(N,)`.
        folds: Fold of every image, `(N,)`.

    Returns:
        `(N, K)` blended OOF probabilities.
    """
    blended = np.empty_like(members[0])
    for fold in np.unique(folds):
        is_val = folds == fold
        weights = fit_weights([probs[~is_val] for probs in members], targets[~is_val])
        blended[is_val] = blend([probs[is_val] for probs in members], weights)
    return blended
