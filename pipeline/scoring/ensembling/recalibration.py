"""Calibrate an ensemble, and score the calibration on folds that it wasn't fitted on."""

from dataclasses import dataclass
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
from pipeline.scoring.comparison import Comparison, compare
from pipeline.scoring.ensembling.selection import Candidates
from pipeline.store.predictions import FloatArray


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
    change = compare("log_loss", targets, oof_probs, scaled)
    return Recalibration(
        calibration=fit(candidates.oof(candidates.resolve(method)), targets),
        oof_probs=scaled,
        change=change,
        before=reliability_table(oof_probs, targets),
        after=reliability_table(scaled, targets),
        is_applied=is_metric and change.difference < 0,
    )
