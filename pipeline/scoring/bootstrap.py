"""Resampling with replacement: how far a number would move on other images of the same kind."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 2000
BATCH = 2**16  # values drawn at a time: what fits a core's cache, not 2,000 times the table

Values = npt.NDArray[np.float64]


def bootstrap(values: Values, summary: Callable[[Values], Values]) -> Values:
    """Summarise resamples of the images (Efron 1979), seeded.

    Args:
        values: One value per image, `(N,)`, or per prediction and image, `(C, N)`: resampled
            together, so that differences between predictions are paired.
        summary: Reduces the last axis.

    Returns:
        One value per resample, `(NUM_RESAMPLES,)` or `(C, NUM_RESAMPLES)`.
    """
    rng = np.random.default_rng(0)
    num = values.shape[-1]
    per_batch = max(1, BATCH // num)
    batches = []
    for start in range(0, NUM_RESAMPLES, per_batch):
        size = min(per_batch, NUM_RESAMPLES - start)
        drawn = rng.integers(0, num, (size, num))
        batches.append(summary(np.take(values, drawn, axis=-1)))  # of (..., size, N)
    return np.concatenate(batches, axis=-1)


def tails(confidence: float) -> tuple[float, float]:
    """Return the two quantiles between which the given share lies, as (0.025, 0.975) for 0.95."""
    return (1 - confidence) / 2, (1 + confidence) / 2
