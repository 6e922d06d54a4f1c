import numpy as np
import pytest

from pipeline.scoring.calibration import Calibration, at_best_temperature
from pipeline.scoring.ensembling.blending import (
    CalibratedMean,
    WeightedMean,
    fit_calibrated,
    fit_weighted,
)
from pipeline.scoring.ensembling.ensemble_methods import cross_fitted
from pipeline.scoring.metrics import score
from tests.scoring.drawn import members

NUM = 900
TARGETS = np.arange(NUM) % 3
FOLDS = np.arange(NUM) // 3 % 5


def with_temperature(drawn, index, temperature):
    """The members, one of them at another temperature."""
    changed = drawn.copy()
    changed[index] = Calibration(temperature).apply(drawn[index])
    return changed


def test_it_is_the_weighted_mean_of_members_at_their_temperatures_by_hand():
    drawn = members(1, 2)
    mean = CalibratedMean((Calibration(2.0), Calibration(1.0)), WeightedMean(np.array([0.3, 0.7])))
    softened = drawn[0] ** 0.5 / (drawn[0] ** 0.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mean.apply(drawn), 0.3 * softened + 0.7 * drawn[1], atol=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_how_sure_a_member_sounds_changes_nothing(temperature):
    drawn = members(1.5, 1.5, num=NUM)
    plain = fit_calibrated(drawn, TARGETS)
    louder = with_temperature(drawn, 0, temperature)
    other = fit_calibrated(louder, TARGETS)
    np.testing.assert_allclose(other.weights, plain.weights, atol=0.01)
    np.testing.assert_allclose(other.apply(louder), plain.apply(drawn), atol=0.01)


def test_a_member_that_is_right_and_unsure_is_trusted_for_what_it_knows():
    humble = with_temperature(members(2.5, 1.5, num=NUM), 0, 4.0)
    assert fit_weighted(humble, TARGETS).weights[0] < 0.2
    assert fit_calibrated(humble, TARGETS).weights[0] > 0.8
    weighted, calibrated = (
        score("accuracy", TARGETS, cross_fitted(fit, humble, TARGETS, FOLDS))
        for fit in (fit_weighted, fit_calibrated)
    )
    assert calibrated > weighted + 0.1


def test_identical_members_are_the_member_at_its_best_temperature():
    (one,) = members(1, num=NUM)
    applied = fit_calibrated(np.stack([one] * 3), TARGETS).apply(np.stack([one] * 3))
    np.testing.assert_allclose(applied, at_best_temperature(one, TARGETS), atol=1e-5)
