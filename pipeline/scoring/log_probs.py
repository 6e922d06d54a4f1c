"""Logarithms of probabilities, where fitting happens."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.metrics import SMALLEST_PROB

LogProbs = npt.NDArray[np.float64]


def log_probs(probs: npt.NDArray[Any]) -> LogProbs:
    """Take logarithms, finite even of a 0."""
    logs: LogProbs = np.log(np.maximum(probs.astype(np.float64), SMALLEST_PROB))
    return logs


def log_ratios(probs: FloatArray, targets: IntArray) -> LogProbs:
    """Return log(probability of each class / probability of the true class).

    Of such ratios d, log loss is the mean over the images of `logsumexp(d)` over the classes; it
    is convex in whatever they depend on linearly.

    Args:
        probs: Probabilities, `(..., N, K)`.
        targets: True class indices, `(N,)`.

    Returns:
        `(..., N, K)`, 0 at the true classes.
    """
    logs = log_probs(probs)
    return logs - logs[..., np.arange(len(targets)), targets][..., None]


def softmax_loss(logits: LogProbs) -> tuple[LogProbs, LogProbs]:
    """Return what fitting needs of one pass over logits: each row's logsumexp, and the softmax.

    Args:
        logits: `(N, K)`.

    Returns:
        `(N,)` and `(N, K)`.
    """
    largest = logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits - largest)
    sums = exponentials.sum(axis=1, keepdims=True)
    return (np.log(sums) + largest)[:, 0], exponentials / sums
