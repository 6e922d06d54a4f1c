"""Resampling with replacement: how far a number would move on other images of the same kind."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.scoring.measures import MeanOfImages, Measure

NUM_RESAMPLES = 2000
BATCH = 2**15  # values drawn at a time: what fits a core's cache, not 2,000 times the table

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


def resampled(measures: Sequence[Measure]) -> Values:
    """Measure resamples of the images, seeded.

    Args:
        measures: C of them, of the same N images: resampled together, so that differences between
            them are paired.

    Returns:
        `(C, NUM_RESAMPLES)`; NaN where a measure isn't defined for a resample.
    """
    means = [measure.values for measure in measures if isinstance(measure, MeanOfImages)]
    if len(means) == len(measures):
        return bootstrap(np.stack(means), lambda drawn: np.asarray(drawn.mean(axis=-1)))
    rng = np.random.default_rng(0)
    num = len(measures[0].units)
    draws = (rng.integers(0, num, num) for _ in range(NUM_RESAMPLES))
    return np.array([[measure.of(drawn) for measure in measures] for drawn in draws]).T


def tails(confidence: float) -> tuple[float, float]:
    """Return the two quantiles between which the given share lies, as (0.025, 0.975) for 0.95."""
    return (1 - confidence) / 2, (1 + confidence) / 2
