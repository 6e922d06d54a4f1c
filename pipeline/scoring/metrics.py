"""Score predictions by a competition's metric, with a confidence interval, and rank results."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pipeline.config.competition import Competition
from pipeline.errors import ArtifactError, ConfigError
from pipeline.scoring.measures import SMALLEST_PROB as SMALLEST_PROB
from pipeline.scoring.measures import (
    UNDEFINED,
    ImageMean,
    LogLoss,
    MeanAbsoluteError,
    Measure,
    Probs,
    RootMeanSquaredError,
    accuracy,
    bootstrap_measures,
    interval_quantiles,
    macro_f1_measure,
    num_independent,
    quadratic_kappa,
)
from pipeline.scoring.probability_measures import (
    LabelMeasure,
    MeanColumnAuc,
    ProbabilisticF1,
    WeightedAuc,
    all_right,
    f_beta,
    likeliest_measure,
    map_at,
    mean_log_loss,
    weighted_log_loss,
)
from pipeline.store.predictions import AnyProbs, IntArray, Likeliest
from pipeline.store.results import Result, is_scored_by


@dataclass(frozen=True)
class Metric:
    """A measure that a competition may rank by.

    Attributes:
        measure: Makes the measure of targets `(N,)` and probs `(N, K)`.
        greater_is_better: Whether the judge ranks by descending value.
        needs_probs: Whether it takes probabilities; otherwise the predicted classes are enough.
        is_share: Whether it is a share of the images, which has a better interval than others.
        of_labels: Makes the measure where images have several labels each, targets `(N, K)`.
        needs_decisions: Whether that takes labels that are predicted or not, not probabilities.
    """

    measure: Callable[[IntArray, Probs], Measure] | None = None
    greater_is_better: bool = True
    needs_probs: bool = False
    is_share: bool = False
    of_labels: LabelMeasure | None = None
    needs_decisions: bool = False


@dataclass(frozen=True)
class Score:
    """A metric's value and its confidence interval; reads `0.9012 [0.8873, 0.9137]`."""

    metric: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


# A new one needs its name in `MetricName` of config/competition.py, too.
METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, is_share=True, of_labels=all_right, needs_decisions=True),
    "log_loss": Metric(LogLoss, greater_is_better=False, needs_probs=True, of_labels=mean_log_loss),
    "weighted_log_loss": Metric(
        of_labels=weighted_log_loss, greater_is_better=False, needs_probs=True
    ),
    "roc_auc": Metric(MeanColumnAuc, needs_probs=True),  # competitions with it have two classes
    "macro_f1": Metric(macro_f1_measure, of_labels=f_beta(1, "macro"), needs_decisions=True),
    # Where every image has one class and gets one, a wrong answer is a false positive of one
    # class and a false negative of another: precision, recall and F1 over all are the accuracy.
    "micro_f1": Metric(accuracy, is_share=True, of_labels=f_beta(1, "micro"), needs_decisions=True),
    "quadratic_kappa": Metric(quadratic_kappa),
    "mean_column_auc": Metric(MeanColumnAuc, needs_probs=True, of_labels=MeanColumnAuc),
    "weighted_auc": Metric(WeightedAuc, needs_probs=True),  # competitions with it have two classes
    # Of each image it needs the likeliest classes in order, which a list of names tells as well.
    "map_at_3": Metric(map_at(3)),
    "map_at_5": Metric(map_at(5)),
    "map_at_10": Metric(map_at(10)),
    # Of several labels an image alone; by recall as much as precision, or four times as much.
    "sample_f1": Metric(of_labels=f_beta(1, "sample"), needs_decisions=True),
    "sample_f2": Metric(of_labels=f_beta(2, "sample"), needs_decisions=True),
    "micro_f2": Metric(of_labels=f_beta(2, "micro"), needs_decisions=True),
    "macro_f2": Metric(of_labels=f_beta(2, "macro"), needs_decisions=True),
    "p_f1": Metric(ProbabilisticF1, needs_probs=True),  # competitions with it have two classes
    # Of numbers, `(N, 1)` as they are.
    "rmse": Metric(of_labels=RootMeanSquaredError, greater_is_better=False),
    "mae": Metric(of_labels=MeanAbsoluteError, greater_is_better=False),
}


def get_metric(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        ConfigError: There is no such metric.
    """
    if name not in METRICS:
        raise ConfigError(f"metric: must be one of {', '.join(METRICS)}, is '{name}'")
    return METRICS[name]


def score(metric: str, targets: IntArray, probs: Probs | Likeliest) -> float:
    """Measure probabilities against the truth.

    Args:
        metric: A key of METRICS.
        targets: True class indices, `(N,)`, at least one; or 1 and 0, `(N, K)`, for each label
            that an image has or not; or the true numbers, `(N, 1)`.
        probs: Probabilities, `(N, K)`, of very many classes the likeliest; of several labels each
            by itself, predicted above 1/2; or the predicted numbers, `(N, 1)`.

    Returns:
        The value; NaN where the metric isn't defined, as an area under the ROC curve is not for
        images of one class, or a kappa for one class predicted throughout.

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    return make_measure(metric, targets, probs).of_sample()


def interval(
    metric: str,
    targets: IntArray,
    probs: Probs | Likeliest,
    confidence: float = 0.95,
    groups: IntArray | None = None,
) -> tuple[float, float]:
    """Compute the confidence interval of a score, for other images of the same kind.

    A share (accuracy) gets Wilson's interval (Wilson 1927), which stays in [0, 1] and has a width
    even at 0 or 1; every other metric a percentile bootstrap over the images, seeded. Resamples
    for which the metric isn't defined are left out; where it isn't defined at all, both ends are
    NaN. Resamples of images that are all right know nothing of errors: there the worse end is at
    least what it would be if the share that Wilson's interval allows for were wrong.

    Where images come in groups, as those of a patient or copies do, groups are drawn, and N counts
    independent images; see `num_independent`.

    Args:
        metric: A key of METRICS.
        targets: True class indices, `(N,)`, at least one.
        probs: Probabilities, `(N, K)`.
        confidence: Share of such intervals that hold the true value, in (0, 1).
        groups: The group of each image, `(N,)`, see `image_groups`; None for each by itself.

    Raises:
        ConfigError: There is no such metric.
        ArtifactError: A probability is NaN or infinite.
    """
    chosen = get_metric(metric)
    measure = make_measure(metric, targets, probs)
    if not (chosen.is_share and isinstance(measure, ImageMean)):
        values = bootstrap_measures([measure], groups)[0]
        defined = values[~np.isnan(values)]
        if not len(defined):
            return UNDEFINED, UNDEFINED
        low, high = map(float, np.quantile(defined, interval_quantiles(confidence)))
        num = num_independent(np.ones(len(targets)), groups)
        worse = measure.with_unseen_errors(lambda _: 1 - _wilson(1.0, num, confidence)[0])
        if worse is None:
            return low, high
        return (min(low, worse), high) if chosen.greater_is_better else (low, max(high, worse))
    return _wilson(measure.of_sample(), num_independent(measure.values, groups), confidence)


def _wilson(share: float, num: float, confidence: float) -> tuple[float, float]:
    """Compute the interval of a share of so many images, which needn't be a whole number."""
    z = NormalDist().inv_cdf(interval_quantiles(confidence)[1])
    width = 1 + z**2 / num
    center = (share + z**2 / (2 * num)) / width
    half = z * math.sqrt(share * (1 - share) / num + (z / (2 * num)) ** 2) / width
    # The ends are the share itself where it is 0 or 1, but for what rounding makes of them.
    return min(share, max(0.0, center - half)), max(share, min(1.0, center + half))


def evaluate(
    metric: str, targets: IntArray, probs: Probs | Likeliest, groups: IntArray | None = None
) -> Score:
    """Compute the score with its 95 % interval; see `score` and `interval`."""
    low, high = interval(metric, targets, probs, groups=groups)
    return Score(metric, score(metric, targets, probs), low, high)


def macro_f1(targets: IntArray, predicted: IntArray) -> float:
    """Average F1 over the classes that occur in either; both are class indices, `(N,)`."""
    num_classes = int(max(targets.max(), predicted.max())) + 1
    return score("macro_f1", targets, np.eye(num_classes, dtype=np.float32)[predicted])


def confusion(targets: IntArray, predicted: IntArray, num_classes: int) -> IntArray:
    """Count images by true class (rows) and predicted class (columns), `(K, K)`."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(targets, predicted, labels=range(num_classes))
    return np.asarray(counts, dtype=np.int64)


def make_measure(metric: str, targets: IntArray, probs: Probs | Likeliest) -> Measure:
    """Make the measure of probabilities that a metric names; arguments and errors as of `score`."""
    assert len(targets) == len(probs) > 0, f"{len(targets)} targets, {len(probs)} rows of probs"
    numbers = probs.probs if isinstance(probs, Likeliest) else probs
    bad_rows = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(bad_rows):
        raise ArtifactError(
            f"probabilities: must be finite, {len(bad_rows):,} of {len(probs):,} rows aren't, "
            f"the first is row {bad_rows[0]}; the training diverged"
        )
    if isinstance(probs, Likeliest):
        measure = likeliest_measure(metric, targets, probs)
        if measure is None:
            raise ConfigError(f"metric: '{metric}' is not one of very many classes")
        return measure
    chosen = get_metric(metric)
    make = chosen.measure if targets.ndim == 1 else chosen.of_labels
    if make is None:
        kind = "one class" if targets.ndim == 1 else "several labels"
        raise ConfigError(f"metric: '{metric}' is not one of images with {kind} each")
    return make(targets, probs)


def course_scores(split: str, targets: IntArray, probs: AnyProbs) -> dict[str, float]:
    """Score a model for its history: log loss, and accuracy unless the target is a number.

    Args:
        split: Begins the names, as `val_loss`.
        targets: As of `score`; of numbers their places in the range, from 0 to 1.
        probs: Likewise.
    """
    names = {"loss": "log_loss", "accuracy": "accuracy"}
    if targets.dtype.kind == "f":
        del names["accuracy"]
    return {f"{split}_{one}": round(score(names[one], targets, probs), 6) for one in names}


def rank_results(competition: Competition, results: Iterable[Result]) -> list[Result]:
    """Sort results by their out-of-fold scores in the competition's metric, the best first.

    Those that were scored by another one come last.
    """
    sign = -1 if get_metric(competition.metric).greater_is_better else 1

    def rank(one: Result) -> tuple[bool, float]:
        return not is_scored_by(one, competition), sign * float(one.metrics["oof_score"])

    return sorted(results, key=rank)
