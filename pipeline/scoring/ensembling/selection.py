"""Choose the ensemble's method, nested so that the score includes the choice, and its members."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.scoring.calibration import at_best_temperature
from pipeline.scoring.comparison import Comparison, compare, compare_all
from pipeline.scoring.decisions import Decide, decide_out_of_fold
from pipeline.scoring.ensembling.ensemble_methods import (
    METHODS,
    CrossFits,
    Ensemble,
    Method,
    cross_fitted,
)
from pipeline.scoring.metrics import Score, evaluate, score
from pipeline.store.predictions import FloatArray, IntArray

AUTO = "auto"
# No member counts for more or less by how sure it sounds; of all methods it lost least on the data
# that were tried (EXPERIMENTS.md), from 60 images on.
FALLBACK = "stack"
# Of each comparison: 95 % of all of them together (Bonferroni), were they five. There are four; the
# fifth method was deleted, and no choice that had been made should change with it.
CONFIDENCE = 0.99
MIN_FOLDS = 3  # with two, the others of a fold are one fold, which can't be cross-validated
# Makes answers of out-of-fold probabilities, (N, K), by thresholds of the other folds.
Answer = Callable[[FloatArray], FloatArray]


class Candidates:
    """Fits every method to the same members, and chooses among them for AUTO; see `choose`.

    Args:
        members: OOF probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
        folds: Fold of every image, `(N,)`.
        metric: The competition's.
        groups: The group of every image, `(N,)`; None for each by itself.
        decide: Fits the thresholds that decide answers, see `decide_out_of_fold`; None where the
            likeliest class is the answer.
    """

    def __init__(
        self,
        members: FloatArray,
        targets: IntArray,
        folds: IntArray,
        metric: str,
        groups: IntArray | None = None,
        decide: Decide | None = None,
    ) -> None:
        self.members = members
        self.targets = targets
        self.folds = folds
        self.metric = metric
        self.groups = groups
        self.decide = decide
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
        truth = self.targets, self.metric, self.groups
        return _against_fallback(self._cross_fitted, *truth, self._answer())

    def _answer(self, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> Answer | None:
        """Return what decides the answers of these images, each fold's by the others of them."""
        decide, targets, folds = self.decide, self.targets[rows], self.folds[rows]
        return decide and (lambda probs: decide_out_of_fold(decide, targets, probs, folds))

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
        truth = self.targets, self.metric, self.groups
        return choose(self._cross_fitted, *truth, self._answer())

    @cached_property
    def _choices(self) -> dict[int, str]:
        return {fold: self._choose_without(fold) for fold in self._fold_numbers}

    def _choose_without(self, fold: int) -> str:
        if len(self._fold_numbers) < MIN_FOLDS:
            return FALLBACK
        by_method = {name: fits.oof(fold) for name, fits in self._cross_fits.items()}
        is_other = self.folds != fold
        groups = (
            None
            if self.groups is None
            else np.unique(self.groups[is_other], return_inverse=True)[1]
        )
        answer = self._answer(is_other)
        return choose(by_method, self.targets[is_other], self.metric, groups, answer)


def choose(
    by_method: Mapping[str, FloatArray],
    targets: IntArray,
    metric: str,
    groups: IntArray | None = None,
    answer: Answer | None = None,
) -> str:
    """Choose FALLBACK, unless another method is better beyond noise.

    Better is a lower log loss, each method at its best temperature, by a paired bootstrap whose
    interval is widened for the number of methods tried; and a score that isn't worse beyond noise.
    Where thresholds decide answers, as of ordered classes, better is a better score of these.
    Most methods differ by less than the noise on most competitions: a rule that takes the best one
    takes the luckiest one, and its score drops when it is nested.

    Args:
        by_method: Cross-fitted OOF probabilities, `(N, K)`, of all METHODS.
        targets: True class indices, `(N,)`.
        metric: The competition's.
        groups: The group of every image, `(N,)`; None for each by itself.
        answer: Decides answers by thresholds of other folds; None where the likeliest class is one.
    """
    found = _against_fallback(by_method, targets, metric, groups, answer)
    better = [name for name in found if found[name].verdict == "better"]
    for name in sorted(better, key=lambda name: found[name].loss):
        if answer is not None:
            return name
        both = by_method[FALLBACK], by_method[name]
        score = compare(metric, targets, *both, CONFIDENCE, groups)
        if score.verdict != "worse":
            return name
    return FALLBACK


def _against_fallback(
    by_method: Mapping[str, FloatArray],
    targets: IntArray,
    metric: str,
    groups: IntArray | None,
    answer: Answer | None,
) -> dict[str, Comparison]:
    if answer is None:
        metric, answer = "log_loss", partial(at_best_temperature, targets=targets)
    compared = {name: answer(probs) for name, probs in by_method.items()}
    baseline = compared.pop(FALLBACK)
    return compare_all(metric, targets, baseline, compared, CONFIDENCE, groups)


@dataclass(frozen=True)
class MethodScore:
    """A method's scores, out-of-fold and fitted to the very images that it is scored on.

    Attributes:
        method: Its name.
        score: By the competition's metric, cross-fitted or nested.
        log_loss: The same.
        fitted_score: The same, fitted to all images, as a measure of the method's optimism.
        fitted_log_loss: The same of log loss.
        against_fallback: Difference, in log loss or of answers that thresholds decide, see
            `choose`; None for AUTO and the fallback.
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
    targets, metric, decide = candidates.targets, candidates.metric, candidates.decide
    scores = []
    for method in methods:
        oof_probs = candidates.oof(method)
        fitted_probs = candidates.fitted(method).apply(candidates.members)
        answers, fitted_answers = oof_probs, fitted_probs
        if decide is not None:
            answers = decide_out_of_fold(decide, targets, oof_probs, candidates.folds)
            fitted_answers = decide(targets, fitted_probs).apply(fitted_probs)
        scores.append(
            MethodScore(
                method=method,
                score=evaluate(metric, targets, answers, candidates.groups),
                log_loss=evaluate("log_loss", targets, oof_probs, candidates.groups),
                fitted_score=score(metric, targets, fitted_answers),
                fitted_log_loss=score("log_loss", targets, fitted_probs),
                against_fallback=against.get(method),
            )
        )
    return scores


class Contributions:
    """Compares an ensemble with itself without some of its members.

    Log losses are cross-fitted and compared at each ensemble's best temperature. Log loss tells
    far smaller changes from noise than accuracy does, where most images are right either way. Where
    thresholds decide answers, these are scored by the competition's metric instead.

    Args:
        method: The kind of ensemble.
        candidates: Its members, and what they are measured against.
    """

    def __init__(self, method: Method, candidates: Candidates) -> None:
        self._method = method
        self._members = candidates.members
        self._targets = candidates.targets
        self._folds = candidates.folds
        self._groups = candidates.groups
        self._decide = candidates.decide
        self._metric = candidates.metric if candidates.decide is not None else "log_loss"
        self._whole = self._predictions(list(range(len(self._members))))

    def leave_one_out(self) -> list[Comparison]:
        """Compare the ensemble without each member to the whole one, in the members' order.

        A member whose lack isn't "worse" doesn't help beyond noise. There must be two at least.
        """
        return list(self._leave_one_out(list(range(len(self._members)))).values())

    def prune(self) -> list[int]:
        """Drop members while the rest isn't worse than the whole beyond noise.

        One at a time, the least missed first, as of two members that say the same each is
        dispensable, but not both. The choice sees all labels, so the score of what is left is a
        little too good, by less than the noise.

        Returns:
            Indices of the members that stay, at least one, ascending.
        """
        kept = list(range(len(self._members)))
        while len(kept) > 1:
            lacks = self._leave_one_out(kept)
            dispensable = [index for index in kept if lacks[index].verdict != "worse"]
            if not dispensable:
                break
            kept.remove(min(dispensable, key=lambda index: lacks[index].loss))
        return kept

    def _leave_one_out(self, kept: list[int]) -> dict[int, Comparison]:
        """Compare what is left of `kept` without each of them to the whole ensemble, by index."""
        rests = {
            str(index): self._predictions([other for other in kept if other != index])
            for index in kept
        }
        losses = compare_all(self._metric, self._targets, self._whole, rests, groups=self._groups)
        return dict(zip(kept, losses.values(), strict=True))

    def _predictions(self, chosen: list[int]) -> FloatArray:
        members = self._members[chosen]
        oof_probs = cross_fitted(self._method, members, self._targets, self._folds)
        if self._decide is not None:
            return decide_out_of_fold(self._decide, self._targets, oof_probs, self._folds)
        return at_best_temperature(oof_probs, self._targets)
