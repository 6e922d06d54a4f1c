import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from pipeline.scoring.calibration import (
    FLOORS,
    TEMPERATURES,
    Calibration,
    at_best_temperature,
    fit_temperature,
    fit_temperature_and_floor,
)
from pipeline.scoring.metrics import score
from pipeline.store.predictions import FloatArray, IntArray


def drawn_from_itself(
    temperature: float, num: int = 20_000, num_classes: int = 4, seed: int = 0
) -> tuple[FloatArray, IntArray]:
    """Targets drawn from probabilities, and these, as a model would say that is off by so much."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num, num_classes))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    targets = (rng.random((num, 1)) > cumulated[:, :-1]).sum(axis=1)
    return softmax(logits * temperature, axis=1).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature):
    probs, targets = drawn_from_itself(temperature)
    assert fit_temperature(probs, targets).temperature == pytest.approx(temperature, rel=0.05)


def test_the_fitted_temperature_is_the_best_of_a_grid():
    probs, targets = drawn_from_itself(1.7, num=500)
    logits = np.log(probs.astype(np.float64))
    grid = np.linspace(0.5, 4, 351)
    losses = [
        -log_softmax(logits / t, axis=1)[np.arange(len(targets)), targets].mean() for t in grid
    ]
    found = fit_temperature(probs, targets).temperature
    assert found == pytest.approx(grid[np.argmin(losses)], abs=0.02)


@given(
    st.floats(*TEMPERATURES),
    st.sampled_from(FLOORS.tolist()),
    st.integers(2, 150),
    st.integers(0, 99),
)
def test_calibration_changes_no_class_and_keeps_rows_at_1(temperature, floor, num_classes, seed):
    logits = 3 * np.random.default_rng(seed).normal(size=(20, num_classes))
    probs = softmax(logits, axis=1).astype(np.float32)
    calibrated = Calibration(temperature, floor).apply(probs)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, atol=1e-5)
    assert calibrated.dtype == np.float32
    rows = np.arange(20)
    # The largest stays the largest; far above 1, float32 may no longer tell two classes apart.
    assert (calibrated[rows, probs.argmax(axis=1)] == calibrated.max(axis=1)).all()


def test_the_neutral_calibration_changes_nothing():
    probs, _ = drawn_from_itself(1, num=50)
    assert (Calibration(1.0).apply(probs) == probs).all()


def test_the_best_temperature_never_costs_log_loss():
    for temperature in (0.3, 1, 3):
        probs, targets = drawn_from_itself(temperature, num=300)
        scaled = at_best_temperature(probs, targets)
        assert score("log_loss", targets, scaled) <= score("log_loss", targets, probs) + 1e-6


def test_a_floor_is_fitted_where_sure_predictions_are_wrong():
    probs = np.tile(np.array([[1e-7, 1 - 1e-7]], dtype=np.float32), (1000, 1))
    targets = np.ones(1000, dtype=np.int64)
    targets[:5] = 0  # wrong labels
    floored = fit_temperature_and_floor(probs, targets)
    scaled = fit_temperature(probs, targets)
    assert floored.apply(probs).min() == pytest.approx(0.005, rel=0.3)
    losses = [score("log_loss", targets, one.apply(probs)) for one in (floored, scaled)]
    assert losses[0] <= losses[1]


def test_where_a_floor_only_costs_there_is_none():
    probs = np.tile(np.array([[1e-4, 1 - 1e-4]], dtype=np.float32), (100, 1))
    assert fit_temperature_and_floor(probs, np.ones(100, dtype=np.int64)).floor == 0


def faultless(
    num: int, num_classes: int, exponent: float, seed: int = 0
) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """N images that are all right, and 20,000 new ones; said to the power of an exponent."""
    rng = np.random.default_rng(seed)

    def draw(size: int) -> tuple[FloatArray, IntArray]:
        logits = 7.5 * np.eye(num_classes)[rng.integers(0, num_classes, size)]
        probs = softmax(logits + rng.normal(size=logits.shape), axis=1)
        targets = (rng.random((size, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
        return softmax(np.log(probs) * exponent, axis=1).astype(np.float32), targets

    probs, targets = draw(num)
    while (probs.argmax(axis=1) != targets).any():
        probs, targets = draw(num)
    return probs, targets, *draw(20_000)


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize("num", [25, 90, 300])
@pytest.mark.parametrize("exponent", [0.4, 1, 3])
def test_images_that_are_all_right_make_new_ones_no_worse(num, num_classes, exponent):
    probs, targets, new_probs, new_targets = faultless(num, num_classes, exponent)
    calibration = fit_temperature_and_floor(probs, targets)
    before, after = (
        score("log_loss", new_targets, one) for one in (new_probs, calibration.apply(new_probs))
    )
    assert after <= before
    if num * (1 - probs.max(axis=1)).mean() > 10:  # all right, though 10 errors were expected
        assert after < 0.7 * before


def test_probabilities_are_sharpened_until_they_expect_what_so_few_images_can_hide():
    probs = np.tile(np.array([[0.9, 0.1]], dtype=np.float32), (200, 1))
    calibration = fit_temperature_and_floor(probs, np.zeros(200, dtype=np.int64))
    wrong = calibration.apply(probs)[:, 1]
    assert 200 * wrong.sum() / 200 == pytest.approx(4.6, rel=0.05)
    assert calibration.floor == pytest.approx(1 / 202)
    few = probs[:30]  # 3 errors expected, none seen: that says nothing
    assert fit_temperature_and_floor(few, np.zeros(30, dtype=np.int64)) == Calibration(1.0)


def test_floors_stay_below_an_equal_share():
    probs = softmax(np.random.default_rng(0).normal(size=(50, 100)), axis=1).astype(np.float32)
    floored = Calibration(1.0, 0.05).apply(probs)
    assert (floored.argmax(axis=1) == probs.argmax(axis=1)).all()
    assert floored.max() > 1.5 * floored.min()


def test_hopeless_probabilities_get_a_finite_temperature():
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(size=(200, 3)), axis=1).astype(np.float32)
    targets = probs.argmin(axis=1)
    assert 1 < fit_temperature(probs, targets).temperature <= TEMPERATURES[1]
