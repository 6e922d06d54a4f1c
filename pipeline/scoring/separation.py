"""Measure how far classes lie apart: in a space of features, and over all thresholds.

Features are laid out by t-SNE. The curves are ROC, precision and recall, and net benefit: each
class is held against the rest and the classes' curves are averaged, as their areas are; of two
classes the second one is enough. A class that all or none of the images belong to is left out.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from sklearn.manifold import TSNE
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_curve,
    silhouette_score,
)

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


Curve = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Dense where good classifiers differ: a linear grid would put their whole curve into its corner.
FALSE_POSITIVE_RATES: Curve = np.concatenate([[0], np.geomspace(1e-3, 1, 151)])
RECALLS: Curve = np.linspace(0, 1, 101)
THRESHOLDS: Curve = np.linspace(0.01, 0.99, 99)


def one_vs_rest(targets: IntArray, probs: FloatArray) -> Iterator[tuple[BoolArray, FloatArray]]:
    """Yield each class as a binary problem: the mask of its images, its probabilities, `(N,)`.

    Args:
        targets: True class indices, `(N,)`.
        probs: Probabilities, `(N, K)`.
    """
    num_classes = probs.shape[1]
    for index in range(1, 2) if num_classes == 2 else range(num_classes):
        is_positive = targets == index
        if 0 < is_positive.sum() < len(targets):
            yield is_positive, probs[:, index]


def roc(targets: IntArray, probs: FloatArray) -> Curve:
    """Compute the true positive rate at each of FALSE_POSITIVE_RATES."""
    curves = []
    for is_positive, scores in one_vs_rest(targets, probs):
        false_positives, true_positives, _ = roc_curve(is_positive, scores, drop_intermediate=False)
        affordable = np.searchsorted(false_positives, FALSE_POSITIVE_RATES, side="right") - 1
        curves.append(true_positives[affordable])
    return _mean(curves)


def precision_recall(targets: IntArray, probs: FloatArray) -> Curve:
    """Compute the precision at the highest threshold that reaches each of RECALLS."""
    curves = []
    for is_positive, scores in one_vs_rest(targets, probs):
        precisions, recalls, _ = precision_recall_curve(is_positive, scores)
        # The last point, of recall 0, is no threshold's.
        reached = np.searchsorted(recalls[-2::-1], RECALLS, side="left")
        curves.append(precisions[-2::-1][reached])
    return _mean(curves)


def average_precision(targets: IntArray, probs: FloatArray) -> float:
    """Compute the area under the curve of precision and recall, averaged over the classes."""
    return float(
        np.mean([average_precision_score(*column) for column in one_vs_rest(targets, probs)])
    )


def net_benefit(targets: IntArray, probs: FloatArray) -> Curve:
    """Compute the net benefit at each of THRESHOLDS (Vickers and Elkin 2006).

    Who acts from a probability of t on deems a false alarm t / (1 - t) times as bad as a hit is
    good: the benefit is TP / N - FP / N · t / (1 - t).
    """
    curves = []
    for is_positive, scores in one_vs_rest(targets, probs):
        acts = scores >= THRESHOLDS[:, None]  # (T, N)
        hits, alarms = (acts & is_positive).mean(axis=1), (acts & ~is_positive).mean(axis=1)
        curves.append(hits - alarms * _odds())
    return _mean(curves)


def net_benefit_of_all(targets: IntArray, num_classes: int) -> Curve:
    """Compute the net benefit of calling every image positive, whatever the threshold."""
    certain = np.ones((len(targets), num_classes), dtype=np.float32)
    return net_benefit(targets, certain)


def _odds() -> Curve:
    odds: Curve = THRESHOLDS / (1 - THRESHOLDS)
    return odds


def _mean(curves: list[Curve]) -> Curve:
    mean: Curve = np.mean(curves, axis=0)
    return mean
