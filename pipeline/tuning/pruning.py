"""Prune hopeless trials: across folds by Wilcoxon's test, within a fold by the median."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, WilcoxonPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

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
