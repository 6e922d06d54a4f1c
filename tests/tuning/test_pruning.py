import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pipeline.tuning.samplers import FoldPruner, epoch_step, fold_step

PRUNER = FoldPruner(num_epochs=9)


def study_of(*trials, direction="maximize"):
    """A study of complete trials, each given by its scores of folds or by curves of epochs."""
    study = optuna.create_study(direction=direction)
    for values in trials:
        study.add_trial(create_trial(value=sum(values.values()), intermediate_values=values))
    return study


def running(values):
    return create_trial(state=TrialState.RUNNING, intermediate_values=values)


def folds(*scores):
    return {fold_step(fold): score for fold, score in enumerate(scores)}


def curve(fold, *scores):
    return {epoch_step(fold, epoch): score for epoch, score in enumerate(scores)}


def test_a_trial_that_is_worse_in_two_folds_ends():
    study = study_of(folds(0.9, 0.8, 0.9))
    assert not PRUNER.prune(study, running(folds(0.7)))
    assert PRUNER.prune(study, running(folds(0.7, 0.75)))
    assert not PRUNER.prune(study, running(folds(0.7, 0.85)))


def test_the_pairs_are_folds_not_values():
    hard_and_easy = study_of(folds(0.5, 0.9, 0.9))
    assert PRUNER.prune(hard_and_easy, running(folds(0.4, 0.89)))
    assert not PRUNER.prune(hard_and_easy, running(folds(0.6, 0.91)))


def test_less_is_better_where_the_metric_says_so():
    study = study_of(folds(0.2, 0.3), direction="minimize")
    assert PRUNER.prune(study, running(folds(0.4, 0.5)))
    assert not PRUNER.prune(study, running(folds(0.1, 0.2)))


def test_the_first_trial_and_one_without_a_score_go_on():
    assert not PRUNER.prune(study_of(), running(folds(0.1, 0.1)))
    assert not PRUNER.prune(study_of(folds(0.9, 0.9)), running({}))


@pytest.mark.parametrize("fold", [0, 1])
def test_within_a_fold_the_worse_half_ends_once_its_rate_is_warm(fold):
    curves = [curve(fold, *[0.1 * rank] * 9) | folds(0.9, 0.9) for rank in range(1, 7)]
    study = study_of(*curves)
    assert not PRUNER.prune(study, running(curve(fold, 0.1, 0.1)))
    assert PRUNER.prune(study, running(curve(fold, 0.1, 0.1, 0.1, 0.1)))
    assert not PRUNER.prune(study, running(curve(fold, 0.6, 0.6, 0.6, 0.6)))


def test_the_epochs_of_another_fold_say_nothing():
    study = study_of(*[curve(0, *[0.9] * 9) | folds(0.9, 0.9) for _ in range(6)])
    assert not PRUNER.prune(study, running(curve(1, 0.1, 0.1, 0.1, 0.1)))
