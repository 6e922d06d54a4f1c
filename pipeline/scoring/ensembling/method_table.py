"""The ways to make one prediction of several, by name."""

from collections.abc import Callable
from typing import Protocol

from pipeline.scoring.ensembling.blending import Weights, fit_calibrated, fit_mean, fit_weighted
from pipeline.scoring.ensembling.rank_mean import fit_rank_mean
from pipeline.scoring.ensembling.stacking import fit_stack
from pipeline.store.predictions import FloatArray, IntArray


class Ensemble(Protocol):
    """A fitted ensemble."""

    @property
    def weights(self) -> Weights:
        """How much each member counts, `(M,)`."""

    def apply(self, members: FloatArray) -> FloatArray:
        """Map the members' probabilities, `(M, N, K)`, to `(N, K)`; rows sum to 1."""


# From OOF probabilities, (M, N, K), and targets, (N,). Nothing is drawn, so there is no seed.
Method = Callable[[FloatArray, IntArray], Ensemble]

METHODS: dict[str, Method] = {
    "mean": fit_mean,
    "weighted": fit_weighted,
    "calibrated": fit_calibrated,
    "rank": fit_rank_mean,
    "stack": fit_stack,
}
