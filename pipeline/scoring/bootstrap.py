"""Resampling with replacement: how far a number would move on other images of the same kind."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 2000

Values = npt.NDArray[np.float64]


def bootstrap(values: Values, summary: Callable[[Values], Values]) -> Values:
    """Summarise resamples of the images (Efron 1979), seeded.

    Args:
        values: One value per image, `(N,)`, or per prediction and image, `(C, N)`: resampled
            together, so that differences between predictions are paired.
        summary: Reduces the last axis.

    Returns:
        One row per resample, `(NUM_RESAMPLES,)` or `(NUM_RESAMPLES, C)`.
    """
    rng = np.random.default_rng(0)
    num = values.shape[-1]
    # One resample at a time: all of them at once would take 2,000 times the table's memory.
    return np.array(
        [summary(np.take(values, rng.integers(0, num, num), axis=-1)) for _ in range(NUM_RESAMPLES)]
    )


def tails(confidence: float) -> tuple[float, float]:
    """Return the two quantiles between which the given share lies, as (0.025, 0.975) for 0.95."""
    return (1 - confidence) / 2, (1 + confidence) / 2
