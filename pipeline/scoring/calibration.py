"""Probabilities that mean what they say: temperature scaling, and a floor where log loss judges."""

from dataclasses import dataclass

import numpy as np

from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.log_probs import LogProbs, log_probs, log_ratios, softmax_loss
from pipeline.scoring.metrics import score

TEMPERATURES = (0.1, 10.0)  # what lies beyond lacks more than calibration
# The largest is far below 1 / 2, so the largest of a row's probabilities stays the largest.
FLOORS = np.concatenate([[0.0], np.geomspace(1e-6, 0.05, 25)])


@dataclass(frozen=True)
class Calibration:
    """Changes how sure predictions are, never which class they prefer.

    Attributes:
        temperature: Divides the logits: below 1 it sharpens, above 1 it softens.
        floor: No probability stays below it; 0 changes nothing.
    """

    temperature: float
    floor: float = 0.0

    def apply(self, probs: FloatArray) -> FloatArray:
        """Map `(N, K)` to `(N, K)`; rows sum to 1."""
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


def best_temperature(ratios: LogProbs, weights: FloatArray | None = None) -> float:
    """Find the temperature with the least log loss.

    Args:
        ratios: Logits less the true class's, `(N, K)`.
        weights: `(N,)`, what each row counts; None for 1 each.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        losses, _ = softmax_loss(ratios / np.exp(log_temperature))
        return float(np.average(losses, weights=weights))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), options={"xatol": 1e-3})
    return float(np.exp(found.x))


def at_best_temperature(probs: FloatArray, targets: IntArray) -> FloatArray:
    """Scale probabilities by the temperature that suits them best, `(N, K)`.

    For comparisons: how sure predictions are can be mended afterwards and moves no class, so it
    should decide nothing. The one number is fitted on the images that it is used on, for all that
    are compared alike.
    """
    return fit_temperature(probs, targets).apply(probs)


def fit_temperature_and_floor(probs: FloatArray, targets: IntArray) -> Calibration:
    """Find the temperature, then the floor with the least log loss.

    A floor pays for the few images that a model gets wrong while it is sure, mislabelled ones
    among them: one such image can cost as much log loss as a hundred others.

    Args:
        probs: OOF probabilities, `(N, K)`.
        targets: True class indices, `(N,)`.
    """
    scaled = fit_temperature(probs, targets)
    tried = [Calibration(scaled.temperature, float(floor)) for floor in FLOORS]
    return min(tried, key=lambda one: score("log_loss", targets, one.apply(probs)))
