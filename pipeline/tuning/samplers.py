"""Sample the values of the next trial, and prune trials that are hopeless."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.reproducibility import sample_seed
from pipeline.store.freshness import fingerprint
from pipeline.tuning.search import FiniteSpace, SamplerName
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


# A fold's result is reported behind all its epochs: steps fold · STRIDE + epoch, and the last one.
STRIDE = 100_000

# Of two folds that are both worse than the best trial's, Wilcoxon's test says p = 0.25; nothing
# smaller can be had. So a trial may end after two folds, but not if one of them was better.
P_THRESHOLD = 0.3


def epoch_step(fold: int, epoch: int) -> int:
    """Return the step at which an epoch's score is reported; both counted from 0."""
    return fold * STRIDE + epoch


def fold_step(fold: int) -> int:
    """Return the step at which a fold's score is reported."""
    return fold * STRIDE + STRIDE - 1


class FoldPruner(BasePruner):
    """Prunes by a fold's score against the best trial's folds, by an epoch's against the median.

    The folds are pairs: what is hard in one is hard for both trials. Epochs are compared after the
    first third of a fold's, where learning rates still warm up, and five trials.

    Args:
        num_epochs: Of a fold.
    """

    def __init__(self, num_epochs: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._across = WilcoxonPruner(p_threshold=P_THRESHOLD)
        self._within = MedianPruner(n_startup_trials=5, n_warmup_steps=num_epochs // 3)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """See BasePruner."""
        if trial.last_step is None:
            return False
        fold, epoch = divmod(trial.last_step, STRIDE)
        if epoch == STRIDE - 1:
            own, others = _restrict_to_fold(study, trial, None)
            return self._across.prune(others, own)
        own, others = _restrict_to_fold(study, trial, fold)
        return self._within.prune(others, own)


def _restrict_to_fold(
    study: Study, trial: FrozenTrial, fold: int | None
) -> tuple[FrozenTrial, Study]:
    """Copy a trial and the study's finished ones with one kind of values, its steps from 0 on.

    Args:
        study: Has the finished trials.
        trial: The one to prune or not.
        fold: The fold whose epochs to keep; None for the scores of whole folds.
    """
    others = optuna.create_study(direction=study.direction)
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    others.add_trials([_copy_trial(one, fold) for one in finished])
    return _copy_trial(trial, fold), others


def _copy_trial(trial: FrozenTrial, fold: int | None) -> FrozenTrial:
    values = {}
    for step, value in trial.intermediate_values.items():
        its_fold, epoch = divmod(step, STRIDE)
        if fold is None and epoch == STRIDE - 1:
            values[its_fold] = value
        elif fold == its_fold and epoch < STRIDE - 1:
            values[epoch] = value
    is_complete = trial.state == TrialState.COMPLETE
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.value if is_complete else None,
        intermediate_values=values,
    )
