"""Counting what is left of a space, on studies that only note values."""

import optuna
import pytest

from pipeline.tuning.objective import suggest
from pipeline.tuning.samplers import SAMPLERS
from pipeline.tuning.search import finite_space
from pipeline.tuning.study import open_study
from tests.tuning.conftest import make

SPACES = {
    "head.l2 = { low = 0.03, high = 0.07, step = 0.01 }\n"
    "views.flip = { choices = [true, false] }": 10,
    "head.max_steps = { low = 150, high = 250, step = 25 }\nseed = { low = 0, high = 2 }": 15,
    "views.recipe = { choices = ['none', 'light', 'heavy'] }\n"
    "views.num_augmented = { low = 1, high = 4, when = { views.recipe = ['light', 'heavy'] } }": 9,
    "train.clip_norm = { choices = ['off', 1.0] }\n"
    "train.ema_decay = { choices = ['off', 0.9, 0.99], when = { train.clip_norm = 'off' } }": 4,
}


def counted(search):
    space = finite_space(search)
    assert space is not None
    return space


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("text", SPACES)
def test_every_point_is_tried_once_by_every_sampler(workspace, tmp_path, text, sampler):
    search = make(workspace, tmp_path, f"[tune]\n{text}", sampler=sampler)
    space, study = counted(search), open_study(search)
    assert space.num_points == SPACES[text]
    points = set()
    while not space.is_exhausted(study):
        trial = study.ask()
        values = tuple(suggest(trial, search).items())
        assert values not in points
        points.add(values)
        study.tell(trial, len(points) / 10)
    assert len(points) == space.num_points


def test_a_range_without_a_step_has_no_end(search):
    assert finite_space(search) is None


def test_a_vast_space_is_counted_without_listing_it(workspace, tmp_path):
    text = "seed = { low = 0, high = 999999 }\nviews.num_augmented = { low = 0, high = 64 }"
    space = counted(make(workspace, tmp_path, f"[tune]\n{text}"))
    assert space.num_points == 65_000_000


def test_a_trial_that_was_killed_as_it_drew_its_values_is_no_point(workspace, tmp_path):
    search = make(workspace, tmp_path, "[tune]\nviews.num_augmented = { low = 0, high = 1 }")
    space, study = counted(search), open_study(search)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)
    first = study.ask()
    suggest(first, search)
    assert not space.is_exhausted(study)
    suggest(study.ask(), search)
    assert space.is_exhausted(study)
