"""Decide answers by thresholds that score best out of fold: several labels, or ordered classes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.config.competition import Competition
from pipeline.scoring.measures import Probs, Values
from pipeline.scoring.metrics import get_metric
from pipeline.scoring.probability_measures import HALF, LabelMeasure, f_beta
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray, Likeliest

NUM_THRESHOLDS = 200
FEW_THRESHOLDS = 20  # where many predictions are compared, as those of each epoch
MOST_TIMES = 4

# Several labels an image.


@dataclass(frozen=True)
class Decisions:
    """Which labels of an image are predicted: those above a threshold, and the likeliest always.

    Attributes:
        threshold: In (0, 1), the same for all labels.
    """

    threshold: float

    def __str__(self) -> str:
        return f"labels above {self.threshold:.3f}, and the likeliest always"

    def apply(self, probs: Probs) -> FloatArray:
        """Return 1 for a label that is predicted, else 0, `(N, K)`; of equals the first wins."""
        decided: FloatArray = (probs > self.threshold).astype(np.float32)
        decided[np.arange(len(probs)), probs.argmax(axis=1)] = 1
        return decided


def fit_decisions(
    measure: LabelMeasure, targets: IntArray, probs: FloatArray, num_tried: int = NUM_THRESHOLDS
) -> Decisions:
    """Choose the threshold with the highest score; of several the one in their middle.

    Tried are those between the likeliest labels, four times as many as there are true ones.

    Args:
        measure: Of which more is better.
        targets: `(N, K)`.
        probs: `(N, K)`, out of fold.
        num_tried: How many thresholds.
    """
    num_likely = min(probs.size, MOST_TIMES * max(int(targets.sum()), 1))
    likely = np.partition(probs.ravel(), probs.size - num_likely)[probs.size - num_likely :]
    steps = np.quantile(likely, np.linspace(0, 1, num_tried), method="nearest")
    values = np.unique(np.concatenate([[0.0, 1.0], steps.astype(np.float64)]))
    tried = (values[1:] + values[:-1]) / 2
    scores = [measure(targets, Decisions(float(one)).apply(probs)).of_sample() for one in tried]
    best = np.flatnonzero(np.array(scores) == max(scores))
    return Decisions(float(tried[best[len(best) // 2]]))


# Classes in an order.


@dataclass(frozen=True)
class OrderedDecisions:
    """Which class is predicted where classes have an order: by the mean of their places.

    The mean place of an image, Σ k p(k), lies between two thresholds, and those say the class. What
    is right more or less, as a kappa of squared distances counts it, isn't what is likeliest.

    Attributes:
        thresholds: K - 1, ascending.
    """

    thresholds: tuple[float, ...]

    def __str__(self) -> str:
        listed = ", ".join(f"{one:.3f}" for one in self.thresholds)
        return f"classes by their mean place, told apart at {listed}"

    def apply(self, probs: Probs) -> FloatArray:
        """Return 1 for the class that is predicted, else 0, `(N, K)`."""
        chosen = np.searchsorted(self.thresholds, mean_places(probs), side="right")
        return np.eye(probs.shape[1], dtype=np.float32)[chosen]


def mean_places(probs: Probs) -> Values:
    """Return the mean place among the classes, from 0 to K - 1, `(N,)`."""
    places: Values = probs.astype(np.float64) @ np.arange(probs.shape[1], dtype=np.float64)
    return places


def fit_ordered_decisions(
    measure: LabelMeasure, targets: IntArray, probs: FloatArray, num_tried: int = NUM_THRESHOLDS
) -> OrderedDecisions:
    """Choose the thresholds with the highest score, one after the other until none gets better.

    The first ones are halves, where mean places are rounded. Tried are those between the mean
    places, of several that score alike the one in their middle.

    Args:
        measure: Of which more is better.
        targets: `(N,)`.
        probs: `(N, K)`, out of fold.
        num_tried: How many places of each threshold.
    """
    num_classes, places = probs.shape[1], mean_places(probs)
    steps = np.unique(np.quantile(places, np.linspace(0, 1, num_tried), method="nearest"))
    tried = np.concatenate([[-1.0], (steps[1:] + steps[:-1]) / 2, [float(num_classes)]])
    one_hot = np.eye(num_classes, dtype=np.float32)

    def score(thresholds: Values) -> float:
        chosen = one_hot[np.searchsorted(thresholds, places, side="right")]
        return float(np.nan_to_num(measure(targets, chosen).of_sample(), nan=-1.0))

    found = np.arange(num_classes - 1) + HALF
    best, is_better = score(found), True
    while is_better:
        is_better = False
        for index in range(len(found)):
            low = found[index - 1] if index else -np.inf
            high = found[index + 1] if index + 1 < len(found) else np.inf
            between = tried[(tried >= low) & (tried <= high)]
            scores = [score(_with(found, index, float(one))) for one in between]
            if scores and max(scores) > best:
                top = np.flatnonzero(np.array(scores) == max(scores))
                found = _with(found, index, float(between[top[len(top) // 2]]))
                best, is_better = max(scores), True
    return OrderedDecisions(tuple(map(float, found)))


def _with(thresholds: Values, index: int, value: float) -> Values:
    changed = thresholds.copy()
    changed[index] = value
    return changed


AnyDecisions = Decisions | OrderedDecisions
Decide = Callable[[IntArray, FloatArray], AnyDecisions]


def decide_out_of_fold(
    fit: Decide,
    targets: IntArray,
    probs: FloatArray,
    folds: IntArray,
) -> FloatArray:
    """Decide each fold's answers by what the other folds choose, `(N, K)` of 0 and 1.

    Args:
        fit: Chooses thresholds.
        targets: `(N, K)` of several labels, `(N,)` of ordered classes.
        probs: `(N, K)`, out of fold.
        folds: `(N,)`.
    """
    answers = np.empty_like(probs)
    for fold in np.unique(folds):
        is_own: npt.NDArray[np.bool_] = folds == fold
        chosen = fit(targets[~is_own], probs[~is_own])
        answers[is_own] = chosen.apply(probs[is_own])
    return answers


# What a competition asks for.


def decided(
    competition: Competition, targets: IntArray, probs: AnyProbs, folds: IntArray
) -> AnyProbs:
    """Make out-of-fold probabilities what a metric takes: answers decided where it needs that.

    The thresholds of each fold are those with the best score on the others; see `decisions_for`.

    Args:
        competition: Its metric and kind of target.
        targets: As of `score`.
        probs: `(N, K)`, out of fold.
        folds: The fold of each image, `(N,)`.
    """
    if not needs_decisions(competition) or isinstance(probs, Likeliest):
        return probs
    return decide_out_of_fold(partial(decisions_for, competition), targets, probs, folds)


def needs_decisions(competition: Competition) -> bool:
    """Whether the metric is of answers that thresholds decide."""
    is_of_labels = competition.has_several and get_metric(competition.metric).needs_decisions
    return competition.is_ordered or is_of_labels


def decisions_for(
    competition: Competition,
    targets: IntArray,
    probs: FloatArray,
    num_tried: int = NUM_THRESHOLDS,
) -> AnyDecisions:
    """Choose the thresholds with the best score: of the mean place, where classes have an order.

    Of labels it is one threshold, chosen by micro F1 where the metric takes no decisions.

    Args:
        competition: Its metric and kind of target.
        targets: `(N,)`, or `(N, K)` of several labels.
        probs: `(N, K)`, out of fold.
        num_tried: How many thresholds.
    """
    chosen = get_metric(competition.metric)
    if competition.is_ordered:
        assert chosen.measure is not None
        return fit_ordered_decisions(chosen.measure, targets, probs, num_tried)
    makes_sense = chosen.needs_decisions and chosen.of_labels is not None
    measure = chosen.of_labels if makes_sense else f_beta(1, "micro")
    assert measure is not None
    return fit_decisions(measure, targets, probs, num_tried)
