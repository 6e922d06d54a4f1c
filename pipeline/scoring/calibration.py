"""Calibrate probabilities by a temperature and a floor, and measure how well calibrated they are.

Temperatures are fitted to the logarithms of probabilities, which serve as logits, by log loss (Guo
et al. 2017, section 4.2). Calibration is measured by reliability tables and their expected
calibration error, the distance between confidence and accuracy (section 2).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.scoring.metrics import SMALLEST_PROB, score
from pipeline.store.predictions import FloatArray, IntArray

LogProbs = npt.NDArray[np.float64]


def log_probs(probs: npt.NDArray[Any]) -> LogProbs:
    """Take logarithms of probabilities; that of 0 is finite, too."""
    logs: LogProbs = np.log(np.maximum(probs.astype(np.float64), SMALLEST_PROB))
    return logs


def log_ratios(probs: FloatArray, targets: IntArray) -> LogProbs:
    """Compute log(probability of each class / probability of the true class).

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
    """Compute each row's logsumexp and softmax in one pass, for a loss and its gradient.

    Args:
        logits: `(N, K)`.

    Returns:
        `(N,)` and `(N, K)`.
    """
    largest = logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits - largest)
    sums = exponentials.sum(axis=1, keepdims=True)
    return (np.log(sums) + largest)[:, 0], exponentials / sums


TEMPERATURES = (0.1, 10.0)  # predictions that need one beyond lack more than calibration
# Of N images that are all right, N times their error rate may be as much: exp(-4.6) is 1 %.
HIDDEN_ERRORS = 4.6
# The largest is far below 1 / 2, so the largest of a row's probabilities stays the largest.
FLOORS = np.concatenate([[0.0], np.geomspace(1e-6, 0.05, 25)])


@dataclass(frozen=True)
class Calibration:
    """A temperature and a floor: they change confidences, never the most probable class.

    Attributes:
        temperature: Divides the logits: below 1 it sharpens, above 1 it softens.
        floor: No probability stays below it; 0 changes nothing.
    """

    temperature: float
    floor: float = 0.0

    def apply(self, probs: FloatArray) -> FloatArray:
        """Map `(N, K)` to `(N, K)`; rows sum to 1."""
        if (self.temperature, self.floor) == (1.0, 0.0):
            return probs
        _, scaled = softmax_loss(log_probs(probs) / self.temperature)
        clipped = np.maximum(scaled, min(self.floor, 0.5 / probs.shape[1]))
        normalised: FloatArray = clipped / clipped.sum(axis=1, keepdims=True)
        return normalised.astype(np.float32)


def fit_temperature(probs: FloatArray, targets: IntArray) -> Calibration:
    """Find the temperature with the least log loss (Guo et al. 2017, section 4.2).

    Args:
        probs: OOF probabilities, `(N, K)`; their logarithms serve as logits.
        targets: True class indices, `(N,)`.
    """
    return Calibration(best_temperature(log_ratios(probs, targets)))


def best_temperature(ratios: LogProbs) -> float:
    """Find the temperature with the least log loss, but sharpen no further than N images can tell.

    Where no image is wrong, the sharpest probabilities have the least log loss, and the first new
    image that is wrong costs more than all that was won. So probabilities are sharpened only as
    long as they expect HIDDEN_ERRORS wrong images among the N.

    Args:
        ratios: Logits less the true class's, `(N, K)`.
    """
    from scipy.optimize import brentq, minimize_scalar

    def losses(log_temperature: float) -> LogProbs:
        return softmax_loss(ratios / np.exp(log_temperature))[0]

    def loss(log_temperature: float) -> float:
        return float(losses(log_temperature).mean())

    def num_expected(log_temperature: float) -> float:
        errors = -np.expm1(-losses(log_temperature))  # 1 - p of the true class
        return float(errors.sum())

    found = float(minimize_scalar(loss, bounds=np.log(TEMPERATURES), options={"xatol": 1e-3}).x)
    if found >= 0 or num_expected(found) >= HIDDEN_ERRORS:
        return float(np.exp(found))
    if num_expected(0.0) <= HIDDEN_ERRORS:
        return 1.0
    return float(np.exp(brentq(lambda at: num_expected(at) - HIDDEN_ERRORS, found, 0.0)))


def at_best_temperature(probs: FloatArray, targets: IntArray) -> FloatArray:
    """Scale probabilities by their best temperature, `(N, K)`.

    For comparisons: confidence can be mended afterwards and moves no class, so it should decide
    nothing. The one number is fitted on the images that it is used on, for all that
    are compared alike.
    """
    return fit_temperature(probs, targets).apply(probs)


def fit_temperature_and_floor(probs: FloatArray, targets: IntArray) -> Calibration:
    """Find the temperature, then the floor with the least log loss.

    A floor pays for the few images that a model gets wrong while it is sure, mislabelled ones
    among them: one such image can cost as much log loss as a hundred others. Probabilities that
    are all right don't tell it; sharpened, they get that of the rule of succession, 1 wrong image
    among N + 2.

    Args:
        probs: OOF probabilities, `(N, K)`.
        targets: True class indices, `(N,)`.
    """
    scaled = fit_temperature(probs, targets)
    if scaled.temperature < 1 and (probs.argmax(axis=1) == targets).all():
        return replace(scaled, floor=1 / (len(probs) + 2) / (probs.shape[1] - 1))
    tried = [Calibration(scaled.temperature, float(floor)) for floor in FLOORS]
    return min(tried, key=lambda one: score("log_loss", targets, one.apply(probs)))


NUM_BINS = 15  # of equal width on [0, 1], as in the paper


def reliability_table(
    probs: FloatArray, targets: IntArray, num_bins: int = NUM_BINS
) -> pd.DataFrame:
    """Tabulate confidence against accuracy in bins of equal width.

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
