"""What an ablation found, as numbers: a row per recipe, and the points of its curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.ablation.trainings import Examination
from pipeline.scoring import learning_curves
from pipeline.scoring.comparison import Comparison, bonferroni, compare_trainings
from pipeline.scoring.metrics import score
from pipeline.scoring.separation import principal_start, tsne
from pipeline.store.predictions import FloatArray, IntArray

Examined = Mapping[str, Sequence[Examination]]  # by recipe, one per seed; the baseline first
Row = dict[str, Any]

CONFIDENCE = 0.95  # of all intervals together
CURVES = {
    "roc": (learning_curves.roc, learning_curves.FALSE_POSITIVE_RATES),
    "precision_recall": (learning_curves.precision_recall, learning_curves.RECALLS),
    "net_benefit": (learning_curves.net_benefit, learning_curves.THRESHOLDS),
}


@dataclass(frozen=True)
class Findings:
    """What is written down and drawn.

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


def find(examined: Examined, targets: IntArray, folds: IntArray, metric: str) -> Findings:
    """Work out everything that an ablation's trainings tell.

    Args:
        examined: The trainings.
        targets: Class indices of the images, `(N,)`.
        folds: The fold of each, `(N,)`.
        metric: The competition's.
    """
    first = {recipe: seeds[0].features for recipe, seeds in examined.items()}
    start = principal_start(next(iter(first.values())))
    return Findings(
        summarise(examined, targets, metric),
        curve_points(examined, targets),
        {recipe: tsne(features, start) for recipe, features in first.items()},
        targets[folds == folds.min()],
    )


def metrics_of(metric: str) -> list[str]:
    """List what recipes are compared by, the competition's metric first."""
    return list(dict.fromkeys([metric, "accuracy", "macro_f1", "log_loss"]))


def compare_recipes(
    examined: Examined, targets: IntArray, metric: str
) -> dict[str, dict[str, Comparison]]:
    """Compare every recipe with the first by every metric.

    The more comparisons, the likelier one of them is a lucky one: the intervals are widened so
    that all hold together (Bonferroni).

    Returns:
        By metric and recipe.
    """
    baseline, *others = examined
    metrics = metrics_of(metric)
    confidence = bonferroni(CONFIDENCE, len(metrics) * len(others))
    probs = {name: [one.oof_probs for one in seeds] for name, seeds in examined.items()}
    challengers = {name: probs[name] for name in others}
    return {
        one: compare_trainings(one, targets, probs[baseline], challengers, confidence)
        for one in metrics
    }


def summarise(examined: Examined, targets: IntArray, metric: str) -> list[Row]:
    """Return a row per recipe, all values means over the seeds."""
    comparisons = compare_recipes(examined, targets, metric)
    rows = []
    for recipe, seeds in examined.items():
        row: Row = {"recipe": recipe}
        for one, found in comparisons.items():
            row[one] = _mean([score(one, targets, seed.oof_probs) for seed in seeds])
            if recipe in found:
                difference = found[recipe]
                row[f"{one}_difference"] = _rounded(difference.difference)
                row[f"{one}_low"] = _rounded(difference.low)
                row[f"{one}_high"] = _rounded(difference.high)
                row[f"{one}_verdict"] = difference.verdict
        rows.append(row | _areas(seeds, targets) | _seen(seeds))
    return rows


def curve_points(examined: Examined, targets: IntArray) -> pd.DataFrame:
    """Return the curves' points, means over the seeds: recipe, curve, x, y.

    Beside the recipes stand "all" and "none at all", the net benefit of acting on every image and
    on no image.
    """
    parts = []
    for recipe, seeds in examined.items():
        for name, (curve, x) in CURVES.items():
            y = np.mean([curve(targets, seed.oof_probs) for seed in seeds], axis=0)
            parts.append(pd.DataFrame({"recipe": recipe, "curve": name, "x": x, "y": y}))
    num_classes = next(iter(examined.values()))[0].oof_probs.shape[1]
    of_all = learning_curves.net_benefit_of_all(targets, num_classes)
    for name, y in (("all", of_all), ("none at all", np.zeros_like(of_all))):
        columns = {"recipe": name, "curve": "net_benefit", "x": learning_curves.THRESHOLDS, "y": y}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _areas(seeds: Sequence[Examination], targets: IntArray) -> Row:
    all_probs = [seed.oof_probs for seed in seeds]
    half = int(np.argmin(np.abs(learning_curves.THRESHOLDS - 0.5)))
    return {
        "roc_area": _mean([score("mean_column_auc", targets, probs) for probs in all_probs]),
        "precision_recall_area": _mean(
            [learning_curves.average_precision(targets, probs) for probs in all_probs]
        ),
        "net_benefit_at_half": _mean(
            [learning_curves.net_benefit(targets, probs)[half] for probs in all_probs]
        ),
    }


def _seen(seeds: Sequence[Examination]) -> Row:
    """Return what the examinations found, and how much worse images are that weren't learned."""
    means = pd.DataFrame([seed.numbers for seed in seeds]).mean()
    means["accuracy_gap"] = means["train_accuracy"] - means["val_accuracy"]
    means["log_loss_gap"] = means["val_log_loss"] - means["train_log_loss"]
    return {str(name): _rounded(value) for name, value in means.items()}


def _mean(values: Sequence[float]) -> float | None:
    return _rounded(float(np.mean(values)))


def _rounded(value: float) -> float | None:
    """Round for a file of JSON, which has no NaN."""
    return None if np.isnan(value) else round(float(value), 6)
