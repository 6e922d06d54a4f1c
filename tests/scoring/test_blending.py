import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.scoring.blending import blend, cross_fitted_blend, fit_weights
from scipy.special import softmax

from pipeline.predictions import FloatArray
from pipeline.scoring.metrics import score

TARGETS = np.arange(90) % 3
FOLDS = np.arange(90) // 2 % 5


def member(sharpness: float, seed: int) -> FloatArray:
    logits = np.random.default_rng(seed).normal(size=(len(TARGETS), 3))
    logits[np.arange(len(TARGETS)), TARGETS] += sharpness
    probs: FloatArray = softmax(logits, axis=1).astype(np.float32)
    return probs


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 5), min_size=1, max_size=5), st.integers(0, 99))
def test_weights_lie_on_the_simplex_and_beat_every_member(sharpnesses, seed):
    members = [member(sharpness, seed + i) for i, sharpness in enumerate(sharpnesses)]
    weights = fit_weights(members, TARGETS)
    assert weights.shape == (len(members),)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    loss = score("log_loss", TARGETS, blend(members, weights))
    assert loss <= min(score("log_loss", TARGETS, one) for one in members) + 1e-4


def test_the_fitted_weight_is_the_best_of_a_grid():
    members = [member(1, 0), member(1.5, 1)]
    weights = fit_weights(members, TARGETS)
    grid = np.linspace(0, 1, 201)
    losses = [score("log_loss", TARGETS, blend(members, np.array([w, 1 - w]))) for w in grid]
    assert weights[0] == pytest.approx(grid[np.argmin(losses)], abs=0.01)
    assert 0.05 < weights[0] < 0.5


def test_a_member_of_no_worth_gets_no_weight():
    wrong = np.roll(member(4, 0), 1, axis=1)
    good, bad = fit_weights([member(2, 1), wrong], TARGETS)
    assert good == pytest.approx(1, abs=0.02)
    assert bad == pytest.approx(0, abs=0.02)


def test_sure_and_wrong_members_give_no_infinite_loss():
    certain = np.eye(3, dtype=np.float32)
    members = [certain[(TARGETS + 1) % 3], certain[(TARGETS + 2) % 3]]
    assert np.isfinite(fit_weights(members, TARGETS)).all()


def test_the_order_of_members_does_not_matter():
    members = [member(1, 0), member(2, 1), member(1.5, 2)]
    straight, backwards = fit_weights(members, TARGETS), fit_weights(members[::-1], TARGETS)
    np.testing.assert_allclose(straight, backwards[::-1], atol=5e-3)


def test_a_blend_is_the_weighted_mean():
    first, second = member(1, 0), member(2, 1)
    blended = blend([first, second], np.array([0.25, 0.75]))
    np.testing.assert_allclose(blended, 0.25 * first + 0.75 * second, atol=1e-6)
    np.testing.assert_allclose(blended.sum(axis=1), 1, atol=1e-6)
    assert blended.dtype == np.float32


def test_a_fold_is_blended_by_weights_of_the_others():
    members = [member(1, 0), member(1.5, 1)]
    blended = cross_fitted_blend(members, TARGETS, FOLDS)
    for fold in range(5):
        others = fold != FOLDS
        weights = fit_weights([probs[others] for probs in members], TARGETS[others])
        expected = blend([probs[~others] for probs in members], weights)
        np.testing.assert_array_equal(blended[~others], expected)


def test_labels_of_a_fold_do_not_touch_its_own_blend():
    members = [member(1, 0), member(1.5, 1)]
    flipped = np.where(FOLDS == 2, (TARGETS + 1) % 3, TARGETS)
    first, second = (cross_fitted_blend(members, t, FOLDS) for t in (TARGETS, flipped))
    np.testing.assert_array_equal(first[FOLDS == 2], second[FOLDS == 2])
    assert (first[FOLDS != 2] != second[FOLDS != 2]).any()


def test_on_noise_honest_weights_score_no_better_than_fitted_ones():
    for seed in range(5):
        members = [member(0, seed * 10 + i) for i in range(6)]
        honest = score("log_loss", TARGETS, cross_fitted_blend(members, TARGETS, FOLDS))
        fitted = score("log_loss", TARGETS, blend(members, fit_weights(members, TARGETS)))
        assert honest > fitted


def test_identical_members_give_the_member():
    one = member(1, 0)
    np.testing.assert_allclose(cross_fitted_blend([one] * 3, TARGETS, FOLDS), one, atol=1e-6)
