"""How far confidence and accuracy lie apart (Guo et al. 2017, section 2)."""

import numpy as np
import pandas as pd

from pipeline.predictions import FloatArray, IntArray

NUM_BINS = 15  # of equal width on [0, 1], as in the paper


def reliability_table(
    probs: FloatArray, targets: IntArray, num_bins: int = NUM_BINS
) -> pd.DataFrame:
    """Compare how sure predictions are with how often they are right, bin by bin.

    Args:
        probs: Probabilities, `(N, K)`.
        targets: True class indices, `(N,)`.
        num_bins: Number of bins (low, high] of equal width; the first also holds 0.

    Returns:
        One row per bin: `low` and `high` edge, `count` of the images whose largest probability
        lies in it, their mean `confidence` and `accuracy` (NaN where there are none).
    """
    confidence = probs.max(axis=1).astype(np.float64)
    is_right = probs.argmax(axis=1) == targets
    edges = np.linspace(0, 1, num_bins + 1)
    # float32 probabilities may exceed 1 by a hair
    bins = np.clip(np.searchsorted(edges, confidence) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bins, confidence, num_bins) / counts
        accuracy = np.bincount(bins, is_right, num_bins) / counts
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "count": counts,
            "confidence": mean_confidence,
            "accuracy": accuracy,
        }
    )


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Average |accuracy - confidence| over the bins, each by its share of the images (ECE).

    Args:
        table: As of `reliability_table`.
    """
    gaps = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    return float((gaps * table["count"]).sum() / table["count"].sum())
