"""Blend members by weights that are fitted on OOF predictions; count seeds as one member."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.scoring.calibration import Calibration, fit_temperature
from pipeline.scoring.metrics import SMALLEST_PROB
from pipeline.store.freshness import fingerprint
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray, mean_of
from pipeline.store.results import Result

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedMean:
    """A linear pool: the weighted mean of the members' probabilities.

    Attributes:
        weights: `(M,)`, at least 0, summing to 1.
    """

    weights: Weights

    def apply(self, members: FloatArray) -> FloatArray:
        """Average probabilities by weights: `(M, N, K)` → `(N, K)`, rows sum to 1."""
        blended = np.tensordot(self.weights, members.astype(np.float64), axes=1)
        return blended.astype(np.float32)


def equal_weights(members: Sequence[AnyProbs] | FloatArray) -> Weights:
    """Return the same weight for each of `(M, N, K)` members, `(M,)`."""
    return np.full(len(members), 1 / len(members))


def true_class_probs(members: FloatArray, targets: IntArray) -> npt.NDArray[np.float64]:
    """Pick the members' probabilities of the true classes, `(M, N)`, all that log loss needs."""
    return members[:, np.arange(len(targets)), targets].astype(np.float64)


def fit_mean(members: FloatArray, targets: IntArray) -> WeightedMean:  # noqa: ARG001
    """Weigh all members alike; nothing is fitted."""
    return WeightedMean(equal_weights(members))


def fit_weighted(members: FloatArray, targets: IntArray) -> WeightedMean:
    """Find the weighted mean with the least log loss.

    Log loss is convex in the weights, so the optimum is the same from any start; accuracy, a step
    function, would be fitted to noise.

    Args:
        members: Probabilities, `(M, N, K)`.
        targets: True class indices, `(N,)`.
    """
    from scipy.optimize import minimize  # here: a stage that is up to date needn't wait for it

    chosen = true_class_probs(members, targets)

    def loss_and_gradient(weights: Weights) -> tuple[float, Weights]:
        blended = np.maximum(weights @ chosen, SMALLEST_PROB)
        return -float(np.log(blended).mean()), -(chosen / blended).mean(axis=1)

    found = minimize(
        loss_and_gradient,
        equal_weights(members),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(members),
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={
            "ftol": 1e-10
        },  # the losses of good members are small, the default is a share of 1
    )
    weights: Weights = np.clip(found.x, 0, 1)
    return WeightedMean(weights / weights.sum())


@dataclass(frozen=True)
class CalibratedMean:
    """A linear pool of probabilities, each member's at its own temperature.

    Attributes:
        calibrations: M of them, the members'.
        mean: Of the calibrated members.
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


# Keys that may differ between trainings of one and the same experiment.
IGNORED_KEYS = {"name", "description", "seed"}


@dataclass(frozen=True)
class Member:
    """One experiment, or several trainings of it whose probabilities are averaged.

    Attributes:
        experiments: Their names, at least one.
        copies: Names of others that are one of these over again, and count once with it.
    """

    experiments: tuple[str, ...]
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name; of several the first, and how many there are."""
        others = f" ({len(self.experiments)} seeds)" if len(self.experiments) > 1 else ""
        return self.experiments[0] + others

    def mean(self, by_experiment: Mapping[str, AnyProbs]) -> AnyProbs:
        """Average the experiments' probabilities, `(N, K)`."""
        return mean_of([by_experiment[name] for name in self.experiments])


def group_seeds(results: Sequence[Result]) -> list[Member]:
    """Group the experiments whose configs differ in nothing but the seed.

    Seeds of one experiment differ by luck alone. Weights fitted to each would be fitted to luck;
    their plain mean has less of it. One with the same seed, too, has nothing of its own to say.

    Args:
        results: The experiments; ensembles among them stand for themselves.

    Returns:
        Members in the order of their first experiments.
    """
    groups: dict[str, dict[int | None, list[str]]] = {}  # by the other keys' values, then by seed
    for result in results:
        config = {key: value for key, value in result.config.items() if key not in IGNORED_KEYS}
        key = result.name if result.is_ensemble else fingerprint(config)
        seed = result.config.get("seed")
        groups.setdefault(key, {}).setdefault(seed, []).append(result.name)
    return [
        Member(
            experiments=tuple(names[0] for names in by_seed.values()),
            copies=tuple(copy for names in by_seed.values() for copy in names[1:]),
        )
        for by_seed in groups.values()
    ]
