"""How far classes lie apart in a space of features."""

import numpy as np
from sklearn.metrics import silhouette_score

from pipeline.predictions import FloatArray, IntArray


def silhouette(features: FloatArray, targets: IntArray) -> float:
    """Average over the images how much nearer their own class is than the next one.

    Rousseeuw 1987: 1 where classes are points far apart, 0 where they lie in each other.

    Args:
        features: `(N, D)`.
        targets: Class indices, `(N,)`.

    Returns:
        A value in [-1, 1]; NaN where there is one class, or no class with two images.
    """
    num_classes = len(np.unique(targets))
    if not 2 <= num_classes < len(targets):
        return float("nan")
    return float(silhouette_score(features, targets))


def scatter_ratio(features: FloatArray, targets: IntArray) -> float:
    """Divide the scatter between the classes' means by the scatter within the classes.

    The traces of Fisher's two matrices; greater is further apart, whatever the features' unit.

    Args:
        features: `(N, D)`.
        targets: Class indices, `(N,)`.
    """
    wide = features.astype(np.float64)
    within = between = 0.0
    for index in np.unique(targets):
        own = wide[targets == index]
        within += float(((own - own.mean(axis=0)) ** 2).sum())
        between += len(own) * float(((own.mean(axis=0) - wide.mean(axis=0)) ** 2).sum())
    return between / within if within else float("nan")
