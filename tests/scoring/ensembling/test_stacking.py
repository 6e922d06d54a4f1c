import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from pipeline.scoring.calibration import fit_temperature
from pipeline.scoring.ensembling.ensemble_methods import L2, fit_stack
from pipeline.scoring.metrics import score
from tests.scoring.drawn import TARGETS, member, members


def penalised_loss(weights: np.ndarray, drawn: np.ndarray) -> float:
    logits = np.tensordot(weights, np.log(drawn.astype(np.float64)), axes=1)
    losses = -log_softmax(logits, axis=1)[np.arange(len(TARGETS)), TARGETS]
    return float(losses.mean() + L2 / 2 * ((weights - 1 / len(drawn)) ** 2).sum())


def test_the_coefficients_are_the_best_of_a_grid():
    drawn = members(1, 1.5)
    found = fit_stack(drawn, TARGETS).weights
    grid = np.linspace(0, 2, 81)
    best = min(
        (np.array([first, second]) for first in grid for second in grid),
        key=lambda weights: penalised_loss(weights, drawn),
    )
    assert found == pytest.approx(best, abs=0.03)


def test_a_stack_is_the_softmax_of_weighted_log_probabilities():
    drawn = members(1, 2)
    fitted = fit_stack(drawn, TARGETS)
    by_hand = softmax(np.tensordot(fitted.weights, np.log(drawn), axes=1), axis=1)
    np.testing.assert_allclose(fitted.apply(drawn), by_hand, atol=1e-5)


def test_identical_members_share_one_temperature_equally():
    one = member(1, 0, num=3000)
    targets = np.arange(3000) % 3
    stack = fit_stack(np.stack([one, one]), targets)
    assert stack.weights[0] == pytest.approx(stack.weights[1], abs=1e-6)
    temperature = fit_temperature(one, targets).temperature
    assert stack.weights.sum() == pytest.approx(1 / temperature, rel=0.02)


def test_a_member_that_misleads_gets_no_weight():
    wrong = np.roll(member(4, 0), 1, axis=1)
    assert fit_stack(np.stack([member(2, 1), wrong]), TARGETS).weights[1] < 0.01


def test_members_that_are_too_humble_are_made_surer():
    humble = softmax(np.log(members(3, 3, num=900)) / 4, axis=2)
    targets = np.arange(900) % 3
    stacked = fit_stack(humble, targets).apply(humble)
    assert score("log_loss", targets, stacked) < 0.5 * score("log_loss", targets, humble[0])
