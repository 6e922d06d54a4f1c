"""Measure how far classes lie apart in a space of features, and lay features out by t-SNE."""

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from pipeline.store.predictions import FloatArray, IntArray

PERPLEXITY = 30.0
# The spread that t-SNE's authors start with: so small that every point may still go anywhere.
START_SPREAD = 1e-4


def principal_start(features: FloatArray) -> FloatArray:
    """Compute a start for t-SNE: the first two principal components, scaled; `(N, 2)`.

    A little noise moves points off a line that all of them lie on, as logits of two classes do.
    """
    wide = features.astype(np.float64)
    left, sizes, _ = np.linalg.svd(wide - wide.mean(axis=0), full_matrices=False)
    points = left[:, :2] * sizes[:2]
    points = points / max(points[:, 0].std(), np.finfo(np.float64).tiny)
    noise = np.random.default_rng(0).normal(scale=0.01, size=points.shape)
    start: FloatArray = (START_SPREAD * (points + noise)).astype(np.float32)
    return start


def tsne(features: FloatArray, start: FloatArray) -> FloatArray:
    """Lay out features on a plane, neighbours near each other (van der Maaten and Hinton 2008).

    Args:
        features: `(N, D)`, at least four images.
        start: Where the points begin, `(N, 2)`. Layouts of the same images that start alike can be
            laid side by side.

    Returns:
        `(N, 2)`.
    """
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=0)
    points: FloatArray = layout.fit_transform(features)
    return points


def silhouette(features: FloatArray, targets: IntArray) -> float:
    """Compute the mean silhouette: how much nearer an image's own class is than the next one.

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
    """Compute the scatter between the classes' means divided by the scatter within the classes.

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
