"""What predictions are worth: metrics with the interval that their sample size leaves open."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ArtifactError, ConfigError
from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.bootstrap import Values, bootstrap, tails

SMALLEST_PROB = 1e-15  # keeps the log finite; the clip that judges use


def _mean(values: Values) -> Values:
    return np.asarray(values.mean(axis=-1))


@dataclass(frozen=True)
class Metric:
    """A measure that a competition may be judged by.

    Attributes:
        per_image: Value of each image, `(N,)`, from targets `(N,)` and probs `(N, K)`.
        greater_is_better: Whether the judge ranks by descending value.
        summary: Makes one number of the images' values, along the last axis: `(..., N)` → `(...)`.
    """

    per_image: Callable[[IntArray, FloatArray], Values]
    greater_is_better: bool
    summary: Callable[[Values], Values] = _mean


@dataclass(frozen=True)
class Score:
    """A metric's value and its confidence interval; reads `0.9012 [0.8873, 0.9137]`."""

    metric: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def _hits(targets: IntArray, probs: FloatArray) -> Values:
    hits: Values = (probs.argmax(axis=1) == targets).astype(np.float64)
    return hits


def _log_losses(targets: IntArray, probs: FloatArray) -> Values:
    chosen = probs[np.arange(len(targets)), targets].astype(np.float64)
    losses: Values = -np.log(np.clip(chosen, SMALLEST_PROB, 1.0))
    return losses


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_hits, greater_is_better=True),
    "log_loss": Metric(_log_losses, greater_is_better=False),
}


def get_metric(name: str) -> Metric:
    """Look a metric up by its name.

    Raises:
        ConfigError: There is no such metric.
    """
    if name not in METRICS:
        raise ConfigError(f"metric: must be one of {', '.join(METRICS)}, is '{name}'")
    return METRICS[name]


def image_values(metric: str, targets: IntArray, probs: FloatArray) -> Values:
    """Measure every image by itself, `(N,)`; arguments and errors as of `score`."""
    chosen = get_metric(metric)
    assert len(targets) == len(probs) > 0, f"{len(targets)} targets, {len(probs)} rows of probs"
    bad_rows = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(bad_rows):
        raise ArtifactError(
            f"probabilities: must be finite, {len(bad_rows):,} of {len(probs):,} rows aren't, "
            f"the first is row {bad_rows[0]}; the training diverged"
        )
    return chosen.per_image(targets, probs)


def score(metric: str, targets: IntArray, probs: FloatArray) -> float:
    """Measure probabilities against the truth.

    Args:
        metric: A key of METRICS.
        targets: True class indices, `(N,)`, at least one.
        probs: Probabilities, `(N, K)`.

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    return float(get_metric(metric).summary(image_values(metric, targets, probs)))


def interval(
    metric: str, targets: IntArray, probs: FloatArray, confidence: float = 0.95
) -> tuple[float, float]:
    """Say between which values the score would fall on other images of the same kind.

    Accuracy gets Wilson's interval (Wilson 1927), which stays in [0, 1] and has a width even at
    0 or 1; every other metric a percentile bootstrap over the images, seeded.

    Args:
        metric: A key of METRICS.
        targets: True class indices, `(N,)`, at least one.
        probs: Probabilities, `(N, K)`.
        confidence: Share of such intervals that hold the true value, in (0, 1).

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    values = image_values(metric, targets, probs)
    if metric == "accuracy":
        from scipy.stats import binomtest  # here: a stage that is up to date needn't wait for it

        wilson = binomtest(int(values.sum()), len(values)).proportion_ci(confidence, "wilson")
        return float(wilson.low), float(wilson.high)
    low, high = np.quantile(bootstrap(values, get_metric(metric).summary), tails(confidence))
    return float(low), float(high)


def evaluate(metric: str, targets: IntArray, probs: FloatArray) -> Score:
    """Give the score with its 95 % interval; see `score` and `interval`."""
    low, high = interval(metric, targets, probs)
    return Score(metric, score(metric, targets, probs), low, high)


def macro_f1(targets: IntArray, predicted: IntArray) -> float:
    """Average F1 over the classes that occur in either; both are class indices, `(N,)`."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets, predicted, average="macro", zero_division=0))


def confusion(targets: IntArray, predicted: IntArray, num_classes: int) -> IntArray:
    """Count images by true class (rows) and predicted class (columns), `(K, K)`."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(targets, predicted, labels=range(num_classes))
    return np.asarray(counts, dtype=np.int64)
