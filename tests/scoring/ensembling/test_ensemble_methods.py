"""What every method promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring.ensembling.ensemble_methods import METHODS, cross_fitted
from pipeline.scoring.metrics import score
from tests.scoring.drawn import FOLDS, TARGETS, member, members

OWN_TEMPERATURE = ("stack", "calibrated")  # change how sure members are
all_methods = pytest.mark.parametrize("method", METHODS)


@all_methods
@given(st.lists(st.floats(-2, 8), min_size=1, max_size=4), st.integers(0, 99))
def test_rows_are_probabilities_also_of_images_never_seen(method, sharpnesses, seed):
    fitted = METHODS[method](members(*sharpnesses, seed=seed), TARGETS)
    probs = fitted.apply(members(*sharpnesses, seed=seed + 1000, num=7))
    assert probs.shape == (7, 3)
    assert probs.dtype == np.float32
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


@all_methods
@given(st.lists(st.floats(-2, 8), min_size=1, max_size=4), st.integers(0, 99))
def test_every_member_has_a_weight_of_at_least_0(method, sharpnesses, seed):
    weights = METHODS[method](members(*sharpnesses, seed=seed), TARGETS).weights
    assert weights.shape == (len(sharpnesses),)
    assert (weights >= 0).all()
    if method != "stack":  # whose sum is the inverse of a temperature
        assert weights.sum() == pytest.approx(1)


@all_methods
def test_identical_members_predict_the_classes_of_the_member(method):
    one = member(1, 0)
    applied = cross_fitted(METHODS[method], np.stack([one] * 3), TARGETS, FOLDS)
    assert applied.argmax(axis=1).tolist() == one.argmax(axis=1).tolist()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OWN_TEMPERATURE])
def test_identical_members_give_the_member(method):
    one = member(1, 0)
    fitted = METHODS[method](np.stack([one] * 3), TARGETS)
    np.testing.assert_allclose(fitted.apply(np.stack([one] * 3)), one, atol=1e-5)


@all_methods
def test_an_image_is_predicted_the_same_alone_as_among_others(method):
    drawn = members(1, 2)
    fitted = METHODS[method](drawn, TARGETS)
    np.testing.assert_allclose(fitted.apply(drawn)[5:6], fitted.apply(drawn[:, 5:6]), atol=1e-6)


@all_methods
def test_certain_members_are_no_trouble(method):
    certain = np.eye(3, dtype=np.float32)[np.stack([TARGETS, (TARGETS + 1) % 3])]
    probs = METHODS[method](certain, TARGETS).apply(certain)
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


@all_methods
def test_a_class_that_the_labels_lack_is_no_trouble(method):
    targets = np.minimum(TARGETS, 1)
    probs = METHODS[method](members(1, 2), targets).apply(members(1, 2, seed=9))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


@all_methods
def test_good_members_that_err_apart_are_better_together(method):
    drawn = members(1.5, 1.5, 1.5, num=900)
    targets = np.arange(900) % 3
    applied = cross_fitted(METHODS[method], drawn, targets, np.arange(900) % 5)
    best = max(score("accuracy", targets, one) for one in drawn)
    assert score("accuracy", targets, applied) > best + 0.05


@pytest.mark.parametrize("method", ["weighted", "calibrated", "stack"])
def test_on_noise_honest_scores_are_no_better_than_fitted_ones(method):
    for seed in range(5):
        drawn = members(*[0.0] * 6, seed=10 * seed)
        honest = cross_fitted(METHODS[method], drawn, TARGETS, FOLDS)
        fitted = METHODS[method](drawn, TARGETS).apply(drawn)
        assert score("log_loss", TARGETS, honest) > score("log_loss", TARGETS, fitted)
