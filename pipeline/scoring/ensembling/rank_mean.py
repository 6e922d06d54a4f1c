"""The mean of ranks: what counts is how a member orders the images, not how sure it sounds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.scoring.ensembling.blending import Weights
from pipeline.scoring.metrics import SMALLEST_PROB
from pipeline.store.predictions import FloatArray, IntArray

Ordered = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankMean:
    """Averages ranks per class and turns them back into probabilities.

    A probability is replaced by its rank among the member's OOF probabilities of the class; the
    mean of the members' ranks by what the members, on average, have at that rank (quantile
    normalisation, Bolstad et al. 2003); rows are divided by their sum. Ranks are looked up among
    the OOF images, so an image's result doesn't depend on which others are predicted with it.

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
    """Remember how the members' OOF probabilities, `(M, N, K)`, are distributed."""
    return RankMean(np.sort(members.astype(np.float64), axis=1))
