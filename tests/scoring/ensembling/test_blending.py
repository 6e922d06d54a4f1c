import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring.ensembling.blending import WeightedMean, fit_mean, fit_weighted
from pipeline.scoring.metrics import score
from tests.scoring.drawn import TARGETS, member, members


@given(st.lists(st.floats(-1, 5), min_size=1, max_size=5), st.integers(0, 99))
def test_weights_lie_on_the_simplex_and_beat_every_member(sharpnesses, seed):
    drawn = members(*sharpnesses, seed=seed)
    blend = fit_weighted(drawn, TARGETS)
    assert blend.weights.shape == (len(drawn),)
    assert (blend.weights >= 0).all()
    assert blend.weights.sum() == pytest.approx(1)
    loss = score("log_loss", TARGETS, blend.apply(drawn))
    assert loss <= min(score("log_loss", TARGETS, one) for one in drawn) + 1e-6


def test_the_fitted_weight_is_the_best_of_a_grid():
    drawn = members(1, 1.5)
    weight = fit_weighted(drawn, TARGETS).weights[0]
    grid = np.linspace(0, 1, 201)
    blends = [WeightedMean(np.array([w, 1 - w])) for w in grid]
    losses = [score("log_loss", TARGETS, blend.apply(drawn)) for blend in blends]
    assert weight == pytest.approx(grid[np.argmin(losses)], abs=0.01)
    assert 0.05 < weight < 0.5


def test_a_member_of_no_worth_gets_no_weight():
    wrong = np.roll(member(4, 0), 1, axis=1)
    good, bad = fit_weighted(np.stack([member(2, 1), wrong]), TARGETS).weights
    assert good == pytest.approx(1, abs=0.02)
    assert bad == pytest.approx(0, abs=0.02)


def test_sure_and_wrong_members_give_no_infinite_loss():
    certain = np.eye(3, dtype=np.float32)
    wrong = np.stack([certain[(TARGETS + 1) % 3], certain[(TARGETS + 2) % 3]])
    assert np.isfinite(fit_weighted(wrong, TARGETS).weights).all()


def test_the_order_of_members_does_not_matter():
    drawn = members(1, 2, 1.5)
    straight, backwards = fit_weighted(drawn, TARGETS), fit_weighted(drawn[::-1], TARGETS)
    np.testing.assert_allclose(straight.weights, backwards.weights[::-1], atol=1e-3)


def test_a_blend_is_the_weighted_mean():
    drawn = members(1, 2)
    blended = WeightedMean(np.array([0.25, 0.75])).apply(drawn)
    np.testing.assert_allclose(blended, 0.25 * drawn[0] + 0.75 * drawn[1], atol=1e-6)
    assert blended.dtype == np.float32


def test_the_mean_weighs_all_alike_whatever_they_are_worth():
    assert fit_mean(members(0, 5, 2), TARGETS).weights.tolist() == [1 / 3] * 3
