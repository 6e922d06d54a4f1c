"""Fit on OOF predictions fold by fold, so that the result is out-of-fold, too."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np

from pipeline.store.predictions import FloatArray, IntArray


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
