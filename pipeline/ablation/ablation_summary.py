"""Summarise an ablation in numbers: a row per recipe, points of curves, t-SNE layouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.ablation.trainings import TrainingResult
from pipeline.scoring import separation
from pipeline.scoring.comparison import Comparison, bonferroni, compare_trainings
from pipeline.scoring.metrics import score
from pipeline.scoring.separation import principal_start, tsne
from pipeline.store.predictions import FloatArray, IntArray

ByRecipe = Mapping[str, Sequence[TrainingResult]]  # by recipe, one per seed; the baseline first
Row = dict[str, Any]

CONFIDENCE = 0.95  # of all intervals together
CURVES = {
    "roc": (separation.roc, separation.FALSE_POSITIVE_RATES),
    "precision_recall": (separation.precision_recall, separation.RECALLS),
    "net_benefit": (separation.net_benefit, separation.THRESHOLDS),
}


@dataclass(frozen=True)
class AblationResult:
    """The numbers of an ablation.

    Attributes:
        rows: See `summarise`.
        points: See `curve_points`.
        layouts: By recipe, the first fold's held-out images on a plane, `(n, 2)`; the first seed's.
        layout_targets: Their class indices, `(n,)`.
    """

    rows: list[Row]
    points: pd.DataFrame
    layouts: Mapping[str, FloatArray]
    layout_targets: IntArray


def analyse(
    by_recipe: ByRecipe,
    targets: IntArray,
    folds: IntArray,
    metric: str,
    groups: IntArray | None = None,
) -> AblationResult:
    """Compute all numbers of an ablation from its trainings.

    Args:
        by_recipe: The trainings.
        targets: Class indices of the images, `(N,)`.
        folds: The fold of each, `(N,)`.
        metric: The competition's.
        groups: The group of each, `(N,)`; None for each by itself.
    """
    first = {recipe: seeds[0].features for recipe, seeds in by_recipe.items()}
    start = principal_start(next(iter(first.values())))
    return AblationResult(
        summarise(by_recipe, targets, metric, groups),
        curve_points(by_recipe, targets),
        {recipe: tsne(features, start) for recipe, features in first.items()},
        targets[folds == folds.min()],
    )


def compared_metrics(metric: str) -> list[str]:
    """List the metrics to compare by, the competition's first."""
    return list(dict.fromkeys([metric, "accuracy", "macro_f1", "log_loss"]))


def compare_recipes(
    by_recipe: ByRecipe, targets: IntArray, metric: str, groups: IntArray | None = None
) -> dict[str, dict[str, Comparison]]:
    """Compare every recipe with the first by every metric.

    The more comparisons, the likelier one of them is a lucky one: the intervals are widened so
    that all hold together (Bonferroni).

    Returns:
        By metric and recipe.
    """
    baseline, *others = by_recipe
    metrics = compared_metrics(metric)
    confidence = bonferroni(CONFIDENCE, len(metrics) * len(others))
    found = {}
    for one in metrics:
        scored = {name: _scored(one, seeds) for name, seeds in by_recipe.items()}
        challengers = {name: scored[name] for name in others}
        against = scored[baseline]
        found[one] = compare_trainings(one, targets, against, challengers, confidence, groups)
    return found


def _scored(metric: str, seeds: Sequence[TrainingResult]) -> list[FloatArray]:
    """Return what a metric takes of each seed's training, `(N, K)`."""
    return [seed.oof_probs if metric == "log_loss" else seed.answers for seed in seeds]


def summarise(
    by_recipe: ByRecipe, targets: IntArray, metric: str, groups: IntArray | None = None
) -> list[Row]:
    """Return a row per recipe, all values means over the seeds."""
    comparisons = compare_recipes(by_recipe, targets, metric, groups)
    rows = []
    for recipe, seeds in by_recipe.items():
        row: Row = {"recipe": recipe}
        for one, found in comparisons.items():
            row[one] = _mean([score(one, targets, probs) for probs in _scored(one, seeds)])
            if recipe in found:
                difference = found[recipe]
                row[f"{one}_difference"] = _round_for_json(difference.difference)
                row[f"{one}_low"] = _round_for_json(difference.low)
                row[f"{one}_high"] = _round_for_json(difference.high)
                row[f"{one}_verdict"] = difference.verdict
        rows.append(row | _areas(seeds, targets) | _gaps(seeds))
    return rows


def curve_points(by_recipe: ByRecipe, targets: IntArray) -> pd.DataFrame:
    """Return the curves' points, means over the seeds: recipe, curve, x, y.

    Beside the recipes stand "all" and "none at all", the net benefit of acting on every image and
    on no image.
    """
    parts = []
    for recipe, seeds in by_recipe.items():
        for name, (curve, x) in CURVES.items():
            y = np.mean([curve(targets, seed.oof_probs) for seed in seeds], axis=0)
            parts.append(pd.DataFrame({"recipe": recipe, "curve": name, "x": x, "y": y}))
    num_classes = next(iter(by_recipe.values()))[0].oof_probs.shape[1]
    of_all = separation.net_benefit_of_all(targets, num_classes)
    for name, y in (("all", of_all), ("none at all", np.zeros_like(of_all))):
        columns = {"recipe": name, "curve": "net_benefit", "x": separation.THRESHOLDS, "y": y}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _areas(seeds: Sequence[TrainingResult], targets: IntArray) -> Row:
    all_probs = [seed.oof_probs for seed in seeds]
    half = int(np.argmin(np.abs(separation.THRESHOLDS - 0.5)))
    return {
        "roc_area": _mean([score("mean_column_auc", targets, probs) for probs in all_probs]),
        "precision_recall_area": _mean(
            [separation.average_precision(targets, probs) for probs in all_probs]
        ),
        "net_benefit_at_half": _mean(
            [separation.net_benefit(targets, probs)[half] for probs in all_probs]
        ),
    }


def _gaps(seeds: Sequence[TrainingResult]) -> Row:
    """Average the trainings' numbers, and add the gaps between train and validation."""
    means = pd.DataFrame([seed.numbers for seed in seeds]).mean()
    means["accuracy_gap"] = means["train_accuracy"] - means["val_accuracy"]
    means["log_loss_gap"] = means["val_log_loss"] - means["train_log_loss"]
    return {str(name): _round_for_json(value) for name, value in means.items()}


def _mean(values: Sequence[float]) -> float | None:
    return _round_for_json(float(np.mean(values)))


def _round_for_json(value: float) -> float | None:
    """Round for a file of JSON, which has no NaN."""
    return None if np.isnan(value) else round(float(value), 6)
