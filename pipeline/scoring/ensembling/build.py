"""Build an ensemble: choose, fit, prune and calibrate a method, and describe the result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.scoring.comparison import Comparison
from pipeline.scoring.ensembling.blending import Weights
from pipeline.scoring.ensembling.contribution import Contributions
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.members import Member
from pipeline.scoring.ensembling.recalibration import Recalibration, recalibrate
from pipeline.scoring.ensembling.selection import AUTO, Candidates, MethodScore, score_methods
from pipeline.store.predictions import FloatArray, IntArray


@dataclass(frozen=True)
class MemberProbs:
    """The members' predictions and the truth that they are measured against.

    Attributes:
        oof: Probabilities of the training images, `(M, N, K)`.
        test: Probabilities of the test images, `(M, T, K)`.
        targets: True class indices, `(N,)`.
        folds: Fold of every training image, `(N,)`.
        metric: The competition's.
    """

    oof: FloatArray
    test: FloatArray
    targets: IntArray
    folds: IntArray
    metric: str

    def select(self, kept: list[int]) -> "MemberProbs":
        """Keep some of the members, by index."""
        return replace(self, oof=self.oof[kept], test=self.test[kept])


@dataclass(frozen=True)
class FittedEnsemble:
    """A fitted ensemble with its predictions and scores.

    Attributes:
        method: The one that was used, of METHODS.
        kept: Indices of the members that weren't pruned, `M'` of them.
        weights: Theirs, `(M',)`.
        lacks: Its difference in log loss without each of them; empty for a single member.
        oof_probs: Cross-fitted, or nested where the method was chosen, `(N, K)`.
        test_probs: By what was fitted on all training images, `(T, K)`.
        methods: The scores of each method, on the members that were kept.
        recalibration: The calibration and its scores; where it is applied, it has been.
    """

    method: str
    kept: list[int]
    weights: Weights
    lacks: list[Comparison]
    oof_probs: FloatArray
    test_probs: FloatArray
    methods: list[MethodScore]
    recalibration: Recalibration

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
    truth = probs.targets, probs.folds
    candidates = Candidates(probs.oof, *truth, probs.metric)
    kept = list(range(len(probs.oof)))
    if prune:
        kept = Contributions(METHODS[candidates.resolve(method)], probs.oof, *truth).prune()
        probs = probs.select(kept)
        candidates = Candidates(probs.oof, *truth, probs.metric)
    used = candidates.resolve(method)
    fitted = candidates.fitted(used)
    oof_probs, test_probs = candidates.oof(method), fitted.apply(probs.test)
    recalibration = recalibrate(candidates, method)
    if recalibration.is_applied:
        oof_probs = recalibration.oof_probs
        test_probs = recalibration.calibration.apply(test_probs)
    contributions = Contributions(METHODS[used], probs.oof, *truth)
    return FittedEnsemble(
        method=used,
        kept=kept,
        weights=fitted.weights,
        lacks=contributions.leave_one_out() if len(kept) > 1 else [],
        oof_probs=oof_probs,
        test_probs=test_probs,
        methods=score_methods(candidates, [*METHODS, AUTO] if method == AUTO else list(METHODS)),
        recalibration=recalibration,
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
        "calibration": ensemble.recalibration.record(),
    }
