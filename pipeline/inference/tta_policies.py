"""Score test-time augmentation policies out of fold, and recommend the one that pays."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.console import Advance
from pipeline.errors import ArtifactError, DataError
from pipeline.images.views import View
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.folder import read_batches
from pipeline.scoring.comparison import bonferroni, compare
from pipeline.scoring.metrics import Score, evaluate
from pipeline.store.freshness import digest
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, IntArray

BATCH_SIZE = 8  # images, each in all views

CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


def _with_mirrored(*views: View) -> tuple[View, ...]:
    return (*views, *(replace(view, is_mirrored=True) for view in views))


# By name, the cheapest first; probabilities are averaged over the views of a policy. `tta` and
# `submit` name them in their help (cli/improve.py).
POLICIES: dict[str, tuple[View, ...]] = {
    "plain": (View(),),
    "flip": _with_mirrored(View()),
    "scales": _with_mirrored(*(View(zoom=zoom) for zoom in (1.0, 1.15, 1.3))),
    "rotations": _with_mirrored(*(View(degrees=degrees) for degrees in (-8.0, 0.0, 8.0))),
    "five-crops": _with_mirrored(
        View(zoom=1.15), *(View(zoom=1.15, place=corner) for corner in CORNERS)
    ),
}


def allowed_policies(experiment: Experiment) -> dict[str, tuple[View, ...]]:
    """List the policies of an experiment: without mirrored views where it may not mirror."""
    if experiment.views.horizontal_flip:
        return POLICIES
    straight = {
        name: tuple(view for view in policy if not view.is_mirrored)
        for name, policy in POLICIES.items()
    }
    return {name: policy for name, policy in straight.items() if name != "flip"}


@dataclass(frozen=True)
class PolicyScore:
    """A policy's score, gain and cost.

    Attributes:
        name: A key of POLICIES.
        score: Of its OOF predictions.
        milliseconds: Per image and model on this machine, reading included: what a view takes on
            average, times its views.
        gain: Over the best cheaper one, with its interval; empty for the cheapest.
        is_worth_it: Whether that gain is beyond noise.
    """

    name: str
    score: Score
    milliseconds: float
    gain: str
    is_worth_it: bool


def all_views(policies: Mapping[str, tuple[View, ...]] = POLICIES) -> list[View]:
    """List the views of all policies, each once."""
    return list(dict.fromkeys(view for policy in policies.values() for view in policy))


def oof_by_view(
    paths: Paths, models: FoldModels, train: pd.DataFrame, folds: IntArray, advance: Advance
) -> tuple[FloatArray, float]:
    """Predict every training image in every view, by the model that didn't learn from it.

    Args:
        paths: Where the images lie.
        models: One per fold.
        train: The training table, N rows.
        folds: The fold of each, `(N,)`.
        advance: Called with the number of images newly done.

    Returns:
        `(V, N, K)` in the order of `all_views` of the allowed policies, and the seconds that a view
        of an image takes.

    Raises:
        DataError: An image can't be read any more.
    """
    views = all_views(allowed_policies(models.experiment))
    images, size = models.experiment.images, models.images_at_once(BATCH_SIZE, len(views))
    parts: dict[int, FloatArray] = {}
    start = time.monotonic()
    for fold in models.folds:
        rows = np.flatnonzero(folds == fold)
        names = train["path"].iloc[rows].tolist()
        done = 0
        for batch in read_batches(paths.images_dir, names, views, images, size):
            for name, reason in batch.faults.items():
                raise DataError(f"{paths.images_dir / name}: must still be readable, {reason}")
            probs = models.probs(batch.pixels, fold)[0]  # (V, B, K)
            for place, row in enumerate(rows[done : done + len(batch.names)]):
                parts[int(row)] = probs[:, place]
            done += len(batch.names)
            advance(len(batch.names))
    seconds = (time.monotonic() - start) / (len(train) * len(views))
    return np.stack([parts[row] for row in range(len(train))], axis=1), seconds


def score_policies(
    metric: str,
    judged: Callable[[FloatArray], tuple[IntArray, FloatArray, IntArray | None]],
    by_view: FloatArray,
    seconds: float,
    policies: Mapping[str, tuple[View, ...]] = POLICIES,
) -> list[PolicyScore]:
    """Score the policies, the cheapest first; each must beat the best cheaper one beyond noise.

    Args:
        metric: The competition's.
        judged: Gives targets, probabilities and groups as the judge scores them, see `Judged.of`.
        by_view: As `oof_by_view` returns it.
        seconds: That a view of an image takes.
        policies: Those that are compared.
    """
    views = all_views(policies)
    confidence = bonferroni(0.95, len(policies) - 1)
    scores: list[PolicyScore] = []
    chosen: FloatArray | None = None
    for name, policy in policies.items():
        mean = by_view[[views.index(view) for view in policy]].mean(axis=0)
        targets, probs, groups = judged(mean)
        gain, is_worth_it = "", chosen is None
        if chosen is not None:
            comparison = compare(metric, targets, chosen, probs, confidence, groups)
            gain, is_worth_it = str(comparison), comparison.verdict == "better"
        if is_worth_it:
            chosen = probs
        cost = 1000 * seconds * len(policy)
        found = evaluate(metric, targets, probs, groups)
        scores.append(PolicyScore(name, found, cost, gain, is_worth_it))
    return scores


def recommend(scores: Sequence[PolicyScore]) -> str:
    """Return the dearest policy that is worth it."""
    return [one.name for one in scores if one.is_worth_it][-1]


def record(
    paths: Paths, competition: Competition, name: str, scores: Sequence[PolicyScore]
) -> Mapping[str, object]:
    """Return the content of tta.json."""
    policies = {
        one.name: {
            "oof_score": round(one.score.value, 6),
            "oof_interval_95": [round(one.score.low, 6), round(one.score.high, 6)],
            "milliseconds": round(one.milliseconds, 2),
        }
        for one in scores
    }
    made_from = digest(paths.experiment(name).stamp)
    return {
        "recommended": recommend(scores),
        "scored_by": competition.scoring,
        "policies": policies,
        "made_from": made_from,
    }


def recommended_policy(paths: Paths, competition: Competition, name: str) -> str:
    """Return the policy that `tta` recommended for an experiment.

    Raises:
        ArtifactError: It wasn't asked since the experiment was trained, or the metric changed.
    """
    files = paths.experiment(name)
    try:
        content = json.loads(files.tta.read_text(encoding="utf-8"))
        policy = str(content["recommended"])
        is_fresh = content["made_from"] == digest(files.stamp) and policy in POLICIES
        is_fresh &= content.get("scored_by", competition.scoring) == competition.scoring
    except (OSError, ValueError, KeyError):
        policy, is_fresh = "", False
    if not is_fresh:
        raise ArtifactError(
            f"{files.tta}: must hold a recommendation for this training and metric, is missing or "
            f"older; run 'pipeline tta {competition.name} --experiment {name}'"
        )
    return policy
