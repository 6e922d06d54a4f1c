"""Sample the values of the next trial, from a random stream of the trial's own."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.reproducibility import sample_seed
from pipeline.store.freshness import fingerprint
from pipeline.tuning.finite_space import FiniteSpace
from pipeline.tuning.search import SamplerName
from pipeline.tuning.trials import stream_number


def _tpe(seed: int) -> BaseSampler:
    """Make a tree-structured Parzen estimator (Bergstra et al. 2011).

    It samples all parameters together, those with the same condition in a group of their own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True)


def _gp(seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


SAMPLERS: dict[SamplerName, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "random": _random,
}


class TrialSeededSampler(BaseSampler):
    """Samples every trial from a random stream of its own, numbered by `stream_number`.

    Optuna's samplers are seeded once: workers with one seed would try the same values, and a study
    that goes on would begin its stream anew. So no two trials share a stream, and an interrupted
    study of one worker tries what an unbroken one would.

    Args:
        name: A key of SAMPLERS.
        seed: The experiment's seed.
        space: Of which no point is tried twice; None where points are endless.
    """

    def __init__(self, name: SamplerName, seed: int, space: FiniteSpace | None = None) -> None:
        self._name = name
        self._seed = seed
        self._space = space
        self._proposed: dict[str, Any] = {}
        self._stream = 0
        self._seed_stream(0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin the trial's stream."""
        self._stream = stream_number(study, trial)
        self._seed_stream(0)
        self._sampler.before_trial(study, trial)

    def _seed_stream(self, key: int) -> None:
        self._sampler = SAMPLERS[self._name](sample_seed(self._seed, self._stream, key))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See BaseSampler; of a finite space, every value must pass `sample_independent`."""
        if self._space is not None:
            return {}
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See BaseSampler."""
        if self._space is None:
            return self._sampler.sample_relative(study, trial, search_space)
        joint = self._sampler.infer_relative_search_space(study, trial)
        self._proposed = self._sampler.sample_relative(study, trial, joint)
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See BaseSampler.

        Every parameter has a stream of its own: of a trial that is tried again, the first of them
        may be drawn already.
        """
        if param_name in self._proposed:
            proposed = self._proposed[param_name]
        else:
            self._seed_stream(int(fingerprint(param_name)[:15], 16) + 1)
            arguments = (study, trial, param_name, param_distribution)
            proposed = self._sampler.sample_independent(*arguments)
        if self._space is None:
            return proposed
        number, chosen = trial.number, trial.params
        return self._space.nearest_untried(study, number, chosen, param_name, proposed)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """See BaseSampler."""
        self._sampler.after_trial(study, trial, state, values)
