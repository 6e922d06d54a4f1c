import optuna
import pytest
from optuna.distributions import FloatDistribution

from pipeline.tuning.samplers import SAMPLERS, TrialSeededSampler

SPACE = {"x": FloatDistribution(0.0, 1.0)}


def tried(name, num, seed=0, study=None):
    """Run trials of a study, new or gone on with; return the values of all."""
    study = study or optuna.create_study(direction="maximize")
    study.sampler = TrialSeededSampler(name, seed)
    for _ in range(num):
        trial = study.ask(SPACE)
        study.tell(trial, -((trial.params["x"] - 0.3) ** 2))
    return study, [trial.params["x"] for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_study_that_goes_on_tries_what_an_unbroken_one_would(name):
    study, first = tried(name, 6)
    _, both = tried(name, 8, study=study)
    _, unbroken = tried(name, 14)
    assert both[:6] == first
    assert both == unbroken


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_value_is_tried_twice_and_other_seeds_try_others(name):
    _, values = tried(name, 12)
    assert len(set(values)) == 12
    assert tried(name, 3, seed=1)[1] != values[:3]


def test_tpe_comes_to_try_what_was_good():
    _, values = tried("tpe", 40)
    assert abs(sum(values[30:]) / 10 - 0.3) < 0.1
