"""Choose the ensemble's method, nested so that the score includes the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.scoring.calibration import at_best_temperature
from pipeline.scoring.comparison import Comparison, compare, compare_all
from pipeline.scoring.cross_fitting import CrossFits
from pipeline.scoring.ensembling.ensemble_methods import METHODS, Ensemble
from pipeline.scoring.metrics import Score, evaluate, score
from pipeline.store.predictions import FloatArray, IntArray

AUTO = "auto"
# A weighted mean that takes no member for better or worse than it is by how sure it sounds.
FALLBACK = "calibrated"
# Of each comparison: 95 % of all of them together (Bonferroni), were they five. There are four; the
# fifth method was deleted, and no choice that had been made should change with it.
CONFIDENCE = 0.99
MIN_FOLDS = 3  # with two, the others of a fold are one fold, which can't be cross-validated


class Candidates:
    """Fits every method to the same members, and chooses among them for AUTO; see `choose`.

    Args:
        members: OOF probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
        folds: Fold of every image, `(N,)`.
        metric: The competition's.
    """

    def __init__(
        self, members: FloatArray, targets: IntArray, folds: IntArray, metric: str
    ) -> None:
        self.members = members
        self.targets = targets
        self.folds = folds
        self.metric = metric
        self._cross_fits: dict[str, CrossFits[Ensemble]] = {
            name: CrossFits(method, members, targets, folds) for name, method in METHODS.items()
        }

    def resolve(self, method: str) -> str:
        """Return the method itself, for AUTO its choice on all folds."""
        return self._choice if method == AUTO else method

    def fitted(self, method: str) -> Ensemble:
        """Return a method fitted on all images, to predict the test images."""
        return self._cross_fits[self.resolve(method)].without()

    def by_fold(self, method: str) -> Mapping[int, str]:
        """Return the method that predicts each fold: for AUTO, its choice on the other folds."""
        return self._choices if method == AUTO else dict.fromkeys(self._fold_numbers, method)

    def oof(self, method: str) -> FloatArray:
        """Return OOF probabilities, `(N, K)`: cross-fitted, for AUTO nested.

        Nested: every fold is predicted by the method that is chosen by cross-fits on the other
        folds, fitted on them. So no label of a fold has a say in its predictions, neither by
        weights nor by the choice.
        """
        oof_probs: FloatArray = np.empty_like(self.members[0])
        for fold, name in self.by_fold(method).items():
            rows = self.folds == fold
            oof_probs[rows] = self._cross_fitted[name][rows]
        return oof_probs

    def against_fallback(self) -> dict[str, Comparison]:
        """Compare the other methods with FALLBACK, by name; see `choose`."""
        return _against_fallback(self._cross_fitted, self.targets)

    @cached_property
    def _fold_numbers(self) -> list[int]:
        return [int(fold) for fold in np.unique(self.folds)]

    @cached_property
    def _cross_fitted(self) -> dict[str, FloatArray]:
        return {name: fits.oof() for name, fits in self._cross_fits.items()}

    @cached_property
    def _choice(self) -> str:
        if len(self._fold_numbers) < MIN_FOLDS:
            return FALLBACK
        return choose(self._cross_fitted, self.targets, self.metric)

    @cached_property
    def _choices(self) -> dict[int, str]:
        return {fold: self._choose_without(fold) for fold in self._fold_numbers}

    def _choose_without(self, fold: int) -> str:
        if len(self._fold_numbers) < MIN_FOLDS:
            return FALLBACK
        by_method = {name: fits.oof(fold) for name, fits in self._cross_fits.items()}
        return choose(by_method, self.targets[self.folds != fold], self.metric)


def choose(by_method: Mapping[str, FloatArray], targets: IntArray, metric: str) -> str:
    """Choose FALLBACK, unless another method is better beyond noise.

    Better is a lower log loss, each method at its best temperature, by a paired bootstrap whose
    interval is widened for the number of methods tried; and a score that isn't worse beyond noise.
    Most methods differ by less than the noise on most competitions: a rule that takes the best one
    takes the luckiest one, and its score drops when it is nested.

    Args:
        by_method: Cross-fitted OOF probabilities, `(N, K)`, of all METHODS.
        targets: True class indices, `(N,)`.
        metric: The competition's.
    """
    losses = _against_fallback(by_method, targets)
    better = [name for name in losses if losses[name].verdict == "better"]
    for name in sorted(better, key=lambda name: losses[name].difference):
        score = compare(metric, targets, by_method[FALLBACK], by_method[name], CONFIDENCE)
        if score.verdict != "worse":
            return name
    return FALLBACK


def _against_fallback(
    by_method: Mapping[str, FloatArray], targets: IntArray
) -> dict[str, Comparison]:
    scaled = {name: at_best_temperature(probs, targets) for name, probs in by_method.items()}
    baseline = scaled.pop(FALLBACK)
    return compare_all("log_loss", targets, baseline, scaled, CONFIDENCE)


@dataclass(frozen=True)
class MethodScore:
    """A method's scores, out-of-fold and fitted to the very images that it is scored on.

    Attributes:
        method: Its name.
        score: By the competition's metric, cross-fitted or nested.
        log_loss: The same.
        fitted_score: The same, fitted to all images, as a measure of the method's optimism.
        fitted_log_loss: The same of log loss.
        against_fallback: Difference in log loss, see `choose`; None for AUTO and the fallback.
    """

    method: str
    score: Score
    log_loss: Score
    fitted_score: float
    fitted_log_loss: float
    against_fallback: Comparison | None

    def record(self) -> dict[str, Any]:
        """Return the entry of metrics.json."""
        against = self.against_fallback
        return {
            "method": self.method,
            "oof_score": round(self.score.value, 6),
            "oof_interval_95": [round(self.score.low, 6), round(self.score.high, 6)],
            "log_loss": round(self.log_loss.value, 6),
            "log_loss_interval_95": [round(self.log_loss.low, 6), round(self.log_loss.high, 6)],
            "fitted_score": round(self.fitted_score, 6),
            "fitted_log_loss": round(self.fitted_log_loss, 6),
            "against_fallback": against.record() if against else None,
        }


def score_methods(candidates: Candidates, methods: Sequence[str]) -> list[MethodScore]:
    """Score each method, or AUTO, on all training images."""
    against = candidates.against_fallback()
    targets, metric = candidates.targets, candidates.metric
    scores = []
    for method in methods:
        oof_probs = candidates.oof(method)
        fitted_probs = candidates.fitted(method).apply(candidates.members)
        scores.append(
            MethodScore(
                method=method,
                score=evaluate(metric, targets, oof_probs),
                log_loss=evaluate("log_loss", targets, oof_probs),
                fitted_score=score(metric, targets, fitted_probs),
                fitted_log_loss=score("log_loss", targets, fitted_probs),
                against_fallback=against.get(method),
            )
        )
    return scores
