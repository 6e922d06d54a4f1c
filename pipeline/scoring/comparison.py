"""Compare predictions of the same images: a paired difference with its interval, and a verdict.

The interval answers whether one set of predictions is better than another or was lucky.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.scoring.measures import bootstrap_measures, interval_quantiles
from pipeline.scoring.metrics import get_metric, make_measure
from pipeline.store.predictions import FloatArray, IntArray

Verdict = Literal["better", "worse", "can't tell"]


@dataclass(frozen=True)
class Comparison:
    """A challenger's metric minus the baseline's, with its interval.

    Attributes:
        metric: A key of METRICS.
        difference: Of the values on all images, in the metric's own unit.
        low: Lower end of the interval.
        high: Upper end of the interval.
        confidence: Share of such intervals that hold the true difference.
    """

    metric: str
    difference: float
    low: float
    high: float
    confidence: float

    @property
    def verdict(self) -> Verdict:
        """The challenger is "better" or "worse"; "can't tell" where the interval holds 0."""
        if not (self.low > 0 or self.high < 0):  # nor of what isn't defined
            return "can't tell"
        is_better = (self.low > 0) == get_metric(self.metric).greater_is_better
        return "better" if is_better else "worse"

    @property
    def loss(self) -> float:
        """By how much the challenger is worse; below 0 where it is better."""
        return -self.difference if get_metric(self.metric).greater_is_better else self.difference

    def record(self) -> dict[str, Any]:
        """Return the entry of metrics.json."""
        return {
            "metric": self.metric,
            "difference": round(self.difference, 6),
            "interval": [round(self.low, 6), round(self.high, 6)],
            "confidence": round(self.confidence, 6),
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        return f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def compare(
    metric: str,
    targets: IntArray,
    baseline: FloatArray,
    challenger: FloatArray,
    confidence: float = 0.95,
    groups: IntArray | None = None,
) -> Comparison:
    """Compare two sets of probabilities of the same images; see `compare_all`."""
    only = {"challenger": challenger}
    return compare_all(metric, targets, baseline, only, confidence, groups)["challenger"]


def compare_all(
    metric: str,
    targets: IntArray,
    baseline: FloatArray,
    challengers: Mapping[str, FloatArray],
    confidence: float = 0.95,
    groups: IntArray | None = None,
) -> dict[str, Comparison]:
    """Compare several sets of probabilities with one, by a paired bootstrap over the images.

    Images that are hard are hard for both, so the difference is known far better than either
    value: intervals that overlap say little, this one says what there is to say.

    Args:
        metric: A key of METRICS.
        targets: True class indices, `(N,)`, at least one.
        baseline: Probabilities, `(N, K)`.
        challengers: Others of the same images, by name.
        confidence: Of each interval; where the best of several challengers is to be named, raise
            it by `bonferroni`.
        groups: The group of each image, `(N,)`, which are drawn together; see `image_groups`.

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    alone = {name: [probs] for name, probs in challengers.items()}
    return compare_trainings(metric, targets, [baseline], alone, confidence, groups)


def compare_trainings(
    metric: str,
    targets: IntArray,
    baseline: Sequence[FloatArray],
    challengers: Mapping[str, Sequence[FloatArray]],
    confidence: float = 0.95,
    groups: IntArray | None = None,
) -> dict[str, Comparison]:
    """Compare settings that were trained with several seeds each, by their means over the seeds.

    The bootstrap draws the images, and the seeds besides, as other seeds would have served as well:
    no setting is better for a lucky one. The same draw serves all settings.

    Args:
        metric: A key of METRICS.
        targets: As of `compare_all`.
        baseline: Probabilities by seed, `(N, K)` each.
        challengers: Others' with the same seeds, by name.
        confidence: As of `compare_all`.
        groups: As of `compare_all`.

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    settings = [baseline, *challengers.values()]
    num_seeds = len(baseline)
    assert all(len(one) == num_seeds for one in settings), "every setting needs every seed"
    measures = [make_measure(metric, targets, probs) for one in settings for probs in one]
    point = np.array([one.of_sample() for one in measures]).reshape(-1, num_seeds).mean(axis=1)
    drawn = bootstrap_measures(measures, groups).reshape(
        len(settings), num_seeds, -1
    )  # (1 + C, S, R)
    seeds = np.random.default_rng(0).integers(0, num_seeds, drawn.shape[1:])
    means = np.take_along_axis(drawn, seeds[None], axis=1).mean(axis=1)  # (1 + C, R)
    lows, highs = np.nanquantile(means[1:] - means[0], interval_quantiles(confidence), axis=1)
    return {
        name: Comparison(metric, float(value - point[0]), float(low), float(high), confidence)
        for name, value, low, high in zip(challengers, point[1:], lows, highs, strict=True)
    }


def compare_folds(
    metric: str,
    baseline_scores: Sequence[float],
    challenger_scores: Sequence[float],
    confidence: float = 0.95,
) -> Comparison:
    """Compare two trainings by their scores per fold, by the corrected resampled t-test.

    It answers whether the challenger would win again if both were trained anew.

    Folds share most of their training images, so the plain paired t-test sees differences where
    there are none. The variance is corrected for it (Nadeau & Bengio 2003, "Inference for the
    generalization error", section 3): with k folds `(1 / k + 1 / (k - 1)) s²` instead of `s² / k`.

    Args:
        metric: A key of METRICS.
        baseline_scores: One per fold, of at least two folds.
        challenger_scores: Over the same folds, in the same order.
        confidence: See `compare_all`.
    """
    from scipy.stats import t as student  # here: a stage that is up to date needn't wait for it

    assert len(baseline_scores) >= 2, "one fold has no spread"
    differences = np.subtract(challenger_scores, baseline_scores)
    differences = differences[np.isfinite(differences)]  # a fold may not define the metric
    num = len(differences)
    if num < 2:
        return Comparison(metric, np.nan, np.nan, np.nan, confidence)
    difference = float(differences.mean())
    standard_error = float(differences.std(ddof=1)) * np.sqrt(1 / num + 1 / (num - 1))
    half_width = float(student.ppf(interval_quantiles(confidence)[1], num - 1) * standard_error)
    low, high = difference - half_width, difference + half_width
    return Comparison(metric, difference, low, high, confidence)


def bonferroni(confidence: float, num: int) -> float:
    """Return the confidence of each of `num` intervals with which all hold together."""
    return 1 - (1 - confidence) / num
