"""Assemble out-of-fold predictions, score them, and find labels that they contradict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.submission_table import OF_NUMBERS
from pipeline.errors import ArtifactError
from pipeline.scoring.decisions import AnyDecisions, decided, decisions_for
from pipeline.scoring.metrics import evaluate, macro_f1, score
from pipeline.scoring.targets import Judged, class_indices, image_groups, pooled
from pipeline.store.paths import ExperimentPaths, Paths
from pipeline.store.predictions import (
    AnyProbs,
    FloatArray,
    IntArray,
    Likeliest,
    load_predictions,
    mean_of,
)
from pipeline.store.results import SCORED_BY, Result, is_scored_by, load_any_probs
from pipeline.store.tables import held_out, load_folds


def assemble_oof(fold_probs: Mapping[int, AnyProbs], folds: pd.DataFrame) -> AnyProbs:
    """Put each fold's validation probabilities at its rows of the fold table.

    Every image that is held out is predicted exactly once, by the model that never saw it, so the
    result may be scored, tuned on and blended as if it were a prediction for unseen images.

    Args:
        fold_probs: Probabilities by fold number, each of shape `(num_fold, K)`, its rows in
            the order of `folds` restricted to that fold.
        folds: The fold table, one row per training image; column `fold` counts from 0.

    Returns:
        OOF probabilities of shape `(num_held, K)`, of the rows that `held_out` keeps; every row
        sums to 1.

    Raises:
        ArtifactError: A fold has no predictions, or not one row per image.
    """
    folds = held_out(folds)
    found_rows, parts = [], []
    for fold, rows in folds.groupby("fold").indices.items():
        probs = fold_probs.get(int(str(fold)))
        found = 0 if probs is None else len(probs)
        if probs is None or found != len(rows):
            raise ArtifactError(
                f"fold {fold}: expected {len(rows)} rows of predictions, got {found}; the fold "
                f"table changed since training; run 'pipeline train' with --fold {fold}"
            )
        found_rows.append(rows)
        parts.append(probs)
    order = np.argsort(np.concatenate(found_rows), kind="stable")
    likeliest = [part for part in parts if isinstance(part, Likeliest)]
    if likeliest:
        return Likeliest.stacked(likeliest)[order]
    return np.concatenate([part for part in parts if not isinstance(part, Likeliest)])[order]


def pool_folds(
    competition: Competition, files: ExperimentPaths, folds: pd.DataFrame, test_ids: Sequence[str]
) -> tuple[AnyProbs, AnyProbs]:
    """Read what each fold of an experiment predicted, and pool it.

    Args:
        competition: Named in errors.
        files: The experiment's; every fold is there.
        folds: The fold table.
        test_ids: The test images in their order, M of them.

    Returns:
        OOF probabilities `(num_held, K)`, see `assemble_oof`; probabilities of the test images
        `(M, K)`, the mean over the folds' models.

    Raises:
        ArtifactError: Predictions are missing, damaged or of other images.
    """
    again = f"pipeline train {competition.name} --experiment {files.experiment_dir.name}"
    fold_probs, test_probs = {}, []
    folds = held_out(folds)
    for fold, rows in folds.groupby("fold").indices.items():
        one = files.fold(int(str(fold)))
        ids = folds["image_id"].iloc[rows].tolist()
        oof, test = load_predictions(one.oof, again), load_predictions(one.test, again)
        fold_probs[int(str(fold))] = oof.reordered(ids, str(one.oof))
        test_probs.append(test.reordered(list(test_ids), str(one.test)))
    return assemble_oof(fold_probs, folds), mean_of(test_probs)


def describe_oof(
    competition: Competition, folds: pd.DataFrame, oof_probs: AnyProbs
) -> dict[str, Any]:
    """Score OOF predictions for `metrics.json`.

    Args:
        competition: Names the metric and the classes.
        folds: The fold table.
        oof_probs: `(num_held, K)`, of the rows that `held_out` keeps of it, in their order.

    Returns:
        `oof_score` with its 95 % interval, `cv_score` and the scores per fold, and beside the
        competition's metric accuracy, log loss and macro F1. Labels of several are decided by
        thresholds of the other folds where the metric takes decisions, else by 1/2, and so are
        ordered classes; of numbers there are RMSE and MAE. Images that are answered together are
        scored as one; `num_answers` counts these. `scored_by` is there where the metric's name
        doesn't say all. A score that isn't defined, as an area under the ROC curve is not for a
        fold of one class, is None and not in the mean. Where images are always learned from and so
        in no score, `num_always_learned` counts them.

    Raises:
        ArtifactError: The metric isn't defined for these images, or a probability isn't finite.
    """
    num_learned = len(folds)
    folds = held_out(folds)
    num_learned -= len(folds)
    num_images = len(folds)
    folds, raw_probs = pooled(competition, folds, oof_probs)
    targets = class_indices(competition, folds)
    oof_probs = decided(competition, targets, raw_probs, folds["fold"].to_numpy())
    whole = evaluate(competition.metric, targets, oof_probs, image_groups(folds))
    if math.isnan(whole.value):
        raise ArtifactError(
            f"{competition.metric}: must be measured on images of several classes, the "
            f"{len(folds):,} images here are of {len(np.unique(targets))}; train on more of them"
        )
    rows_by_fold = folds.groupby("fold").indices.values()
    fold_scores = [
        score(competition.metric, targets[rows], oof_probs[rows]) for rows in rows_by_fold
    ]
    scoring = competition.scoring
    return {
        "metric": competition.metric,
        **({SCORED_BY: scoring} if scoring != competition.metric else {}),
        "oof_score": round(whole.value, 6),
        "oof_interval_95": [round(whole.low, 6), round(whole.high, 6)],
        "cv_score": _round_for_json(_mean_of_defined(fold_scores)),
        "fold_scores": [_round_for_json(value) for value in fold_scores],
        **_others(competition, targets, oof_probs, raw_probs),
        "num_images": num_images,
        **({"num_answers": len(folds)} if competition.answers is not None else {}),
        **({"num_always_learned": num_learned} if num_learned else {}),
    }


def scored_anew(
    competition: Competition, folds: pd.DataFrame, result: Result, oof_probs: AnyProbs
) -> Result:
    """Score a result as the competition's file says now; as it is where that is how it was scored.

    Args:
        competition: As of `describe_oof`, as are the others.
        folds: The fold table.
        result: An experiment or ensemble.
        oof_probs: Its predictions.

    Returns:
        The result without the scores of ways to blend, which are of the metric that chose among
        them.
    """
    if is_scored_by(result, competition):
        return result
    kept = {
        key: value for key, value in result.metrics.items() if key not in ("methods", SCORED_BY)
    }
    return replace(result, metrics=kept | describe_oof(competition, folds, oof_probs))


def _others(
    competition: Competition, targets: IntArray, probs: AnyProbs, raw_probs: AnyProbs
) -> dict[str, float]:
    """Score by what is told beside the competition's metric."""
    if competition.is_number:
        return {name: round(score(name, targets, probs), 6) for name in OF_NUMBERS}
    return {
        "accuracy": round(score("accuracy", targets, probs), 6),
        "log_loss": round(score("log_loss", targets, raw_probs), 6),
        "macro_f1": round(_macro_f1(targets, probs), 6),
    }


def _macro_f1(targets: IntArray, probs: AnyProbs) -> float:
    if targets.ndim > 1 or isinstance(probs, Likeliest):
        return score("macro_f1", targets, probs)
    return macro_f1(targets, probs.argmax(axis=1))


def _mean_of_defined(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _round_for_json(value: float) -> float | None:
    """Round for a file of JSON, which has no NaN."""
    return None if math.isnan(value) else round(value, 6)


def find_suspects(probs: FloatArray, targets: IntArray) -> pd.DataFrame:
    """List the images whose label is probably wrong, the most contradicted first.

    It is confident learning (Northcutt et al. 2021). A class counts for an image where the image's
    probability of it is at least its threshold: the mean probability that images with this label
    get for it (section 3.1). So a class that the models are never sure of isn't suspected wherever
    they hesitate. An image is suspect where the likeliest class that counts isn't its label (off
    the diagonal of the confident joint, eq. 1) and is likelier than the label.

    Args:
        probs: OOF probabilities, `(N, K)`; in-sample ones have learned the wrong labels, too.
        targets: Given class indices, `(N,)`.

    Returns:
        Columns `row` (of `probs`), `suggested` (class index), `prob_label` and `prob_suggested`,
        by descending margin between the two.
    """
    num_classes = probs.shape[1]
    own = probs[np.arange(len(targets)), targets].astype(np.float64)
    counts = np.bincount(targets, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(targets, own, num_classes) / counts  # NaN, no class without images
    confident = np.where(probs >= thresholds, probs, 0).astype(np.float64)
    margins = confident.max(axis=1) - own  # (N,), 0 where it is the label that counts most
    rows = np.argsort(-margins, kind="stable")[: np.count_nonzero(margins > 0)]
    return pd.DataFrame(
        {
            "row": rows,
            "suggested": confident[rows].argmax(axis=1),
            "prob_label": own[rows],
            "prob_suggested": confident[rows].max(axis=1),
        }
    )


def best_decisions(paths: Paths, competition: Competition, name: str) -> AnyDecisions:
    """Choose the thresholds by which an experiment's answers score best out of fold.

    Args:
        paths: The competition's files.
        competition: Of ordered classes or several labels.
        name: The experiment or ensemble.

    Raises:
        ArtifactError: It isn't trained on all folds, or is damaged or older than what it is of.
    """
    folds = held_out(load_folds(paths))
    probs = load_any_probs(paths, competition, name, "oof", folds["image_id"].tolist())
    targets, probs, _ = Judged(competition, folds).of(probs, is_raw=True)
    assert not isinstance(probs, Likeliest)
    return decisions_for(competition, targets, probs)
