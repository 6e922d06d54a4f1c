"""Build an ensemble: choose, fit, prune and calibrate a method, and describe the result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.scoring.calibration import (
    Calibration,
    expected_calibration_error,
    fit_temperature,
    fit_temperature_and_floor,
    reliability_table,
)
from pipeline.scoring.comparison import Comparison, compare, compare_all
from pipeline.scoring.decisions import Decide
from pipeline.scoring.ensembling.blending import Member, Weights, equal_weights
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.selection import (
    AUTO,
    Candidates,
    Contributions,
    MethodScore,
    score_methods,
)
from pipeline.scoring.targets import Judged
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray, mean_of


@dataclass(frozen=True)
class Recalibration:
    """A calibration and its effect on the out-of-fold predictions.

    Attributes:
        calibration: Fitted on all images, for the test images.
        oof_probs: Every fold calibrated by what was fitted on the others, `(N, K)`.
        change: Of log loss, from the probabilities as they were to `oof_probs`.
        before: Reliability table of the probabilities as they were.
        after: Reliability table of `oof_probs`.
        is_applied: Whether the submission is calibrated by it.
    """

    calibration: Calibration
    oof_probs: FloatArray
    change: Comparison
    before: pd.DataFrame
    after: pd.DataFrame
    is_applied: bool

    def record(self) -> dict[str, Any]:
        """Return the entry of metrics.json."""
        return {
            "temperature": round(self.calibration.temperature, 4),
            "floor": round(self.calibration.floor, 8),
            "is_applied": self.is_applied,
            "ece_before": round(expected_calibration_error(self.before), 6),
            "ece_after": round(expected_calibration_error(self.after), 6),
            "log_loss_change": self.change.record(),
        }

    def __str__(self) -> str:
        floor = f" and floor {self.calibration.floor:.2g}" if self.calibration.floor else ""
        record = self.record()
        return (
            f"temperature {self.calibration.temperature:.2f}{floor}: log loss {self.change}, "
            f"ECE {record['ece_before']:.4f} -> {record['ece_after']:.4f}"
        )


def recalibrate(candidates: Candidates, method: str) -> Recalibration:
    """Fit a calibration, and cross-fit it to see its effect.

    It is applied where the metric is log loss and gets lower. Elsewhere it is for information, as
    no class changes by it. A floor is fitted only where the metric is log loss.

    Args:
        candidates: The methods on their members.
        method: The one to calibrate, or AUTO: each of its choices has a calibration of its own.
    """
    targets, is_metric = candidates.targets, candidates.metric == "log_loss"
    fit = fit_temperature_and_floor if is_metric else fit_temperature
    oof_probs = candidates.oof(method)
    scaled = np.empty_like(oof_probs)
    for fold, chosen in candidates.by_fold(method).items():
        is_val, probs = candidates.folds == fold, candidates.oof(chosen)
        scaled[is_val] = fit(probs[~is_val], targets[~is_val]).apply(probs[is_val])
    change = compare("log_loss", targets, oof_probs, scaled, groups=candidates.groups)
    return Recalibration(
        calibration=fit(candidates.oof(candidates.resolve(method)), targets),
        oof_probs=scaled,
        change=change,
        before=reliability_table(oof_probs, targets),
        after=reliability_table(scaled, targets),
        is_applied=is_metric and change.difference < 0,
    )


@dataclass(frozen=True)
class MemberProbs:
    """The members' predictions and the truth that they are measured against.

    Attributes:
        oof: Probabilities of the training images, `(M, N, K)`; of very many classes M times the
            likeliest.
        test: Probabilities of the test images, `(M, T, K)`, or likewise.
        targets: True class indices, `(N,)`.
        folds: Fold of every training image, `(N,)`.
        metric: The competition's.
        groups: The group of every training image, `(N,)`; None for each by itself.
        judged: Pools and decides them, where not each image has one class and an answer.
        decide: Decides one class an image by thresholds, where the likeliest isn't the answer.
    """

    oof: FloatArray | list[AnyProbs]
    test: FloatArray | list[AnyProbs]
    targets: IntArray
    folds: IntArray
    metric: str
    groups: IntArray | None = None
    judged: Judged | None = None
    decide: Decide | None = None

    def select(self, kept: list[int]) -> "MemberProbs":
        """Keep some of the members, by index."""
        oof, test = self.dense()
        return replace(self, oof=oof[kept], test=test[kept])

    def candidates(self) -> Candidates:
        """Return the ways to blend them."""
        truth = self.targets, self.folds, self.metric
        return Candidates(self.dense()[0], *truth, self.groups, self.decide)

    def dense(self) -> tuple[FloatArray, FloatArray]:
        """Return the tables of all classes."""
        assert isinstance(self.oof, np.ndarray)
        assert isinstance(self.test, np.ndarray)
        return self.oof, self.test


@dataclass(frozen=True)
class FittedEnsemble:
    """A fitted ensemble with its predictions and scores.

    Attributes:
        method: The one that was used, of METHODS.
        kept: Indices of the members that weren't pruned, `M'` of them.
        weights: Theirs, `(M',)`.
        lacks: Its difference without each of them, see `Contributions`; empty for a single member.
        oof_probs: Cross-fitted, or nested where the method was chosen, `(N, K)`.
        test_probs: By what was fitted on all training images, `(T, K)`.
        methods: The scores of each method, on the members that were kept.
        recalibration: The calibration and its scores; where it is applied, it has been. None where
            images have several labels.
    """

    method: str
    kept: list[int]
    weights: Weights
    lacks: list[Comparison]
    oof_probs: AnyProbs
    test_probs: AnyProbs
    methods: list[MethodScore]
    recalibration: Recalibration | None

    def weights_by_experiment(self, members: Sequence[Member]) -> dict[str, float]:
        """Split each kept member's weight among its experiments; `members` includes pruned ones."""
        shares = {}
        for index, weight in zip(self.kept, self.weights, strict=True):
            names = members[index].experiments
            shares.update({name: round(float(weight) / len(names), 6) for name in names})
        return shares


def build(probs: MemberProbs, method: str, *, prune: bool) -> FittedEnsemble:
    """Fit an ensemble.

    Args:
        probs: Of the members.
        method: One of METHODS, or AUTO.
        prune: Whether to drop members that aren't missed; see `Contributions.prune`.
    """
    if probs.judged is not None:
        return _plain_mean(probs, probs.judged)
    candidates = probs.candidates()
    kept = list(range(len(candidates.members)))
    if prune:
        kept = Contributions(METHODS[candidates.resolve(method)], candidates).prune()
        probs = probs.select(kept)
        candidates = probs.candidates()
    _, test = probs.dense()
    chosen = candidates.resolve(method)
    fitted = candidates.fitted(chosen)
    oof_probs, test_probs = candidates.oof(method), fitted.apply(test)
    recalibration = recalibrate(candidates, method)
    if recalibration.is_applied:
        oof_probs = recalibration.oof_probs
        test_probs = recalibration.calibration.apply(test_probs)
    tried = [*METHODS, AUTO] if method == AUTO else list(METHODS)
    contributions = Contributions(METHODS[chosen], candidates)
    return FittedEnsemble(
        method=chosen,
        kept=kept,
        weights=fitted.weights,
        lacks=contributions.leave_one_out() if len(kept) > 1 else [],
        oof_probs=oof_probs,
        test_probs=test_probs,
        methods=score_methods(candidates, tried),
        recalibration=recalibration,
    )


def _plain_mean(probs: MemberProbs, judged: Judged) -> FittedEnsemble:
    """Average the members; nothing more is done where labels are several, or answers of several."""
    members: list[AnyProbs] = list(probs.oof)
    num_members, whole = len(members), mean_of(members)
    rests = {
        str(index): mean_of(members[:index] + members[index + 1 :])
        for index in range(num_members if num_members > 1 else 0)
    }
    is_number = judged.competition.is_number
    targets, as_scored, groups = judged.of(whole, is_raw=True)
    others = {name: judged.of(one, is_raw=True)[1] for name, one in rests.items()}
    metric = probs.metric if is_number else "log_loss"
    lacks = {}
    if others:
        lacks = compare_all(metric, targets, as_scored, others, groups=groups)
    return FittedEnsemble(
        method="mean",
        kept=list(range(num_members)),
        weights=equal_weights(members),
        lacks=list(lacks.values()),
        oof_probs=whole,
        test_probs=mean_of(list(probs.test)),
        methods=[],
        recalibration=None,
    )


def describe_ensemble(ensemble: FittedEnsemble, members: Sequence[Member]) -> dict[str, Any]:
    """Describe the methods, the members and the calibration for `metrics.json`.

    Args:
        ensemble: The ensemble.
        members: What it was built of, pruned ones included.
    """
    kept = [members[index] for index in ensemble.kept]
    lacks: Sequence[Comparison | None] = ensemble.lacks or [None]
    return {
        "method": ensemble.method,
        "methods": [one.record() for one in ensemble.methods],
        "members": [
            {
                "name": member.name,
                "experiments": list(member.experiments),
                "copies": list(member.copies),
                "weight": round(float(weight), 6),
                "without": None if lack is None else lack.record(),
                "helps": lack is None or lack.verdict == "worse",
            }
            for member, weight, lack in zip(kept, ensemble.weights, lacks, strict=True)
        ],
        "pruned": [member.name for member in members if member not in kept],
        "calibration": ensemble.recalibration and ensemble.recalibration.record(),
    }
