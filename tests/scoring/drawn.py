"""Made-up members: probabilities of a known quality."""

import numpy as np
from scipy.special import softmax

from pipeline.scoring.decisions import OrderedDecisions, fit_ordered_decisions
from pipeline.scoring.measures import quadratic_kappa
from pipeline.scoring.metrics import METRICS
from pipeline.store.predictions import FloatArray, IntArray

TARGETS = np.arange(90) % 3
FOLDS = np.arange(90) // 2 % 5

OF_ONE_CLASS = {name: metric for name, metric in METRICS.items() if metric.measure}


def member(sharpness: float, seed: int, num: int = len(TARGETS)) -> FloatArray:
    """Probabilities of three classes, `(num, 3)`: noise, and `sharpness` for the true class."""
    targets = np.arange(num) % 3
    logits = np.random.default_rng(seed).normal(size=(num, 3))
    logits[np.arange(num), targets] += sharpness
    probs: FloatArray = softmax(logits, axis=1).astype(np.float32)
    return probs


def members(*sharpnesses: float, seed: int = 0, num: int = len(TARGETS)) -> FloatArray:
    """Several of them, `(M, num, 3)`."""
    return np.stack([member(sharpness, seed + i, num) for i, sharpness in enumerate(sharpnesses)])


def of_extremes(targets: IntArray) -> FloatArray:
    """Probabilities whose mean place is right, `(N, 3)`, though the middle class is unlikely."""
    probs = np.array([[0.80, 0.10, 0.10], [0.45, 0.06, 0.49], [0.1, 0.1, 0.8]], dtype=np.float32)
    return probs[targets]


def by_thresholds(targets: IntArray, probs: FloatArray) -> OrderedDecisions:
    """Choose thresholds of mean places, as for ordered classes."""
    return fit_ordered_decisions(quadratic_kappa, targets, probs)
