"""Greedy selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries")."""

import numpy as np

from pipeline.scoring.ensembling.blending import WeightedMean, true_class_probs
from pipeline.scoring.metrics import SMALLEST_PROB
from pipeline.store.predictions import FloatArray, IntArray

NUM_ROUNDS = 100


def fit_greedy(members: FloatArray, targets: IntArray) -> WeightedMean:
    """Add, round by round, the member that lowers the mean's log loss most; keep the best round.

    A member may be added again and again, and weighs as often as it was. The first round picks the
    best member (the paper's sorted initialisation of size 1). The paper's bagging guards against
    overfitting to hundreds of members; with a few it gained nothing beyond noise (EXPERIMENTS.md).

    Args:
        members: Probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
    """
    chosen = true_class_probs(members, targets)  # (M, N)
    total = np.zeros(chosen.shape[1])
    counts = np.zeros(len(members))
    best_loss, best_weights = np.inf, counts
    for num_added in range(1, NUM_ROUNDS + 1):
        blends = np.maximum((total + chosen) / num_added, SMALLEST_PROB)
        losses = -np.log(blends).mean(axis=1)  # (M,)
        added = int(losses.argmin())
        total += chosen[added]
        counts[added] += 1
        if losses[added] < best_loss:
            best_loss, best_weights = losses[added], counts / num_added
    return WeightedMean(best_weights)
