"""A weighted mean of members that first are made as sure as they may be."""

from dataclasses import dataclass

import numpy as np

from pipeline.predictions import FloatArray, IntArray
from pipeline.scoring.calibration import Calibration, fit_temperature
from pipeline.scoring.ensembling.blending import WeightedMean, Weights, fit_weighted


@dataclass(frozen=True)
class CalibratedMean:
    """A linear pool of probabilities, each member's at its own temperature.

    Attributes:
        calibrations: M of them, the members'.
        mean: Of what they make of the members.
    """

    calibrations: tuple[Calibration, ...]
    mean: WeightedMean

    @property
    def weights(self) -> Weights:
        """How much each member counts, `(M,)`, at least 0, summing to 1."""
        return self.mean.weights

    def apply(self, members: FloatArray) -> FloatArray:
        """Map `(M, N, K)` to `(N, K)`; rows sum to 1."""
        return self.mean.apply(_calibrated(self.calibrations, members))


def fit_calibrated(members: FloatArray, targets: IntArray) -> CalibratedMean:
    """Find each member's temperature, then the weighted mean with the least log loss.

    A network that learned with smoothed or mixed labels is right and unsure. A weighted mean takes
    how sure it is for what it knows, and trusts it too little; at its best temperature it counts
    for what it knows. Both steps are convex or of one number: there is one optimum.

    Args:
        members: Probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
    """
    calibrations = tuple(fit_temperature(member, targets) for member in members)
    return CalibratedMean(calibrations, fit_weighted(_calibrated(calibrations, members), targets))


def _calibrated(calibrations: tuple[Calibration, ...], members: FloatArray) -> FloatArray:
    pairs = zip(calibrations, members, strict=True)
    return np.stack([calibration.apply(member) for calibration, member in pairs])
