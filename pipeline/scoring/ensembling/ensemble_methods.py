"""Fit an ensemble by one of the methods, by name: weighted means, mean of ranks, stacking."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.scoring.calibration import log_probs, log_ratios, softmax_loss
from pipeline.scoring.ensembling.blending import (
    Weights,
    equal_weights,
    fit_calibrated,
    fit_mean,
    fit_weighted,
)
from pipeline.scoring.metrics import SMALLEST_PROB
from pipeline.store.predictions import FloatArray, IntArray

Ordered = npt.NDArray[np.float64]
L2 = 0.01  # of stacking


class Ensemble(Protocol):
    """A fitted ensemble."""

    @property
    def weights(self) -> Weights:
        """How much each member counts, `(M,)`."""

    def apply(self, members: FloatArray) -> FloatArray:
        """Map the members' probabilities, `(M, N, K)`, to `(N, K)`; rows sum to 1."""


@dataclass(frozen=True)
class RankMean:
    """Averages the members' ranks per class and turns them back into probabilities.

    The order in which a member puts the images counts, not its confidence. A probability is
    replaced by its rank among the member's OOF probabilities of the class; the mean of the members'
    ranks by what the members, on average, have at that rank (quantile normalisation, Bolstad et al.
    2003); rows are divided by their sum. Ranks are looked up among the OOF images, so an image's
    result doesn't depend on which others are predicted with it.

    Attributes:
        ordered: OOF probabilities, ascending per member and class, `(M, n, K)`.
    """

    ordered: Ordered

    @property
    def weights(self) -> Weights:
        """All members' ranks weigh alike, `(M,)`."""
        return np.full(len(self.ordered), 1 / len(self.ordered))

    def apply(self, members: FloatArray) -> FloatArray:
        """Map `(M, N, K)` to `(N, K)`; rows sum to 1."""
        columns = [self._apply_to_class(members[..., k], k) for k in range(members.shape[-1])]
        probs = np.maximum(np.stack(columns, axis=1), SMALLEST_PROB)
        normalised: FloatArray = (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
        return normalised

    def _apply_to_class(self, probs: FloatArray, index: int) -> Ordered:
        """Map one class's column of every member, `(M, N)`, to `(N,)`."""
        references = self.ordered[..., index]  # (M, n)
        ranks = [_rank(own, reference) for own, reference in zip(probs, references, strict=True)]
        positions = np.arange(references.shape[1])
        by_rank: Ordered = np.interp(np.mean(ranks, axis=0), positions, references.mean(axis=0))
        return by_rank


def _rank(probs: FloatArray, reference: Ordered) -> Ordered:
    """Find ranks among ascending values, counted from 0; equal values share their middle rank."""
    values, counts = np.unique(reference, return_counts=True)
    ranks: Ordered = np.interp(probs, values, np.cumsum(counts) - (counts + 1) / 2)
    return ranks


def fit_rank_mean(members: FloatArray, targets: IntArray) -> RankMean:  # noqa: ARG001
    """Store the distribution of the members' OOF probabilities, `(M, N, K)`."""
    return RankMean(np.sort(members.astype(np.float64), axis=1))


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
    """Fit stacking (Wolpert 1992): a logistic regression on the members' log-probabilities.

    A member has one coefficient, shared by all classes. A coefficient for each pair of classes, K²
    times as many, overfits the few thousand images of a competition (EXPERIMENTS.md). The L2
    penalty pulls towards equal weights with sum 1, so that the optimum is unique even for identical
    members.

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


# From OOF probabilities, (M, N, K), and targets, (N,). Nothing is drawn, so there is no seed.
Method = Callable[[FloatArray, IntArray], Ensemble]

METHODS: dict[str, Method] = {
    "mean": fit_mean,
    "weighted": fit_weighted,
    "calibrated": fit_calibrated,
    "rank": fit_rank_mean,
    "stack": fit_stack,
}


class Fitted(Protocol):
    """Fitted parameters to apply: an ensemble's weights, a temperature."""

    def apply(self, probs: FloatArray) -> FloatArray:
        """Map `(N, K)`, or the `(M, N, K)` of several members, to `(N, K)`."""


F = TypeVar("F", bound=Fitted)


class CrossFits(Generic[F]):
    """Fits on all folds but some, each made once, when it is first asked for.

    The fit without folds 1 and 2 serves fold 1 of the cross-validation inside "all but 2", and
    fold 2 of the one inside "all but 1".

    Args:
        fit: Makes something fitted of probabilities and targets.
        probs: OOF probabilities, `(..., N, K)`.
        targets: True class indices, `(N,)`.
        folds: Fold of every image, `(N,)`.
    """

    def __init__(
        self,
        fit: Callable[[FloatArray, IntArray], F],
        probs: FloatArray,
        targets: IntArray,
        folds: IntArray,
    ) -> None:
        self._fit = fit
        self._probs = probs
        self._targets = targets
        self._folds = folds
        self._made: dict[frozenset[int], F] = {}

    def without(self, *left_out: int) -> F:
        """Return the fit on all folds but these; on all folds where none is named."""
        key = frozenset(map(int, left_out))
        if key not in self._made:
            rows = ~np.isin(self._folds, left_out)
            self._made[key] = self._fit(self._probs[..., rows, :], self._targets[rows])
        return self._made[key]

    def oof(self, *left_out: int) -> FloatArray:
        """Apply to every fold the fit on the other folds.

        Parameters fitted on the very images they are scored on flatter themselves; these don't,
        so the result is out-of-fold like what it was made of, and may be scored and fitted again.

        Args:
            left_out: Folds that don't exist, neither to fit on nor to predict.

        Returns:
            Probabilities of the images that aren't left out, in their order, `(n, K)`.
        """
        kept = ~np.isin(self._folds, left_out)
        applied = np.empty(self._probs.shape[-2:], dtype=np.float32)
        for fold in np.unique(self._folds[kept]):
            rows = self._folds == fold
            applied[rows] = self.without(fold, *left_out).apply(self._probs[..., rows, :])
        return applied[kept]


def cross_fitted(
    fit: Callable[[FloatArray, IntArray], F],
    probs: FloatArray,
    targets: IntArray,
    folds: IntArray,
) -> FloatArray:
    """Apply to every fold the fit on the others, `(N, K)`; see `CrossFits.oof`."""
    return CrossFits(fit, probs, targets, folds).oof()
