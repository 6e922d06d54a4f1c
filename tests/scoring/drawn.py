"""Made-up members: probabilities of a known quality."""

import numpy as np
from scipy.special import softmax

from pipeline.scoring.metrics import METRICS
from pipeline.store.predictions import FloatArray

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
