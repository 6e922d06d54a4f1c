import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring.calibration import expected_calibration_error, reliability_table
from pipeline.store.predictions import FloatArray


def sure(*confidences: float) -> FloatArray:
    """Predictions of class 0 out of two, so sure."""
    return np.array([[one, 1 - one] for one in confidences], dtype=np.float32)


def ece(probs: FloatArray, targets: np.ndarray) -> float:
    return expected_calibration_error(reliability_table(probs, targets))


def test_table_by_hand():
    table = reliability_table(sure(0.62, 0.7, 0.93), np.array([0, 1, 0]), num_bins=10)
    filled = table[table["count"] > 0]
    assert filled["low"].tolist() == pytest.approx([0.6, 0.9])
    assert filled["high"].tolist() == pytest.approx([0.7, 1.0])
    assert filled["count"].tolist() == [2, 1]
    assert filled["confidence"].tolist() == pytest.approx([0.66, 0.93])
    assert filled["accuracy"].tolist() == [0.5, 1.0]
    assert table.loc[table["count"] == 0, ["confidence", "accuracy"]].isna().all(axis=None)


def test_error_of_the_overconfident_by_hand():
    # 100 images, all said to be right with 0.95, 80 of which are: all in one bin, 0.15 apart.
    targets = np.where(np.arange(100) < 80, 0, 1)
    assert ece(sure(*[0.95] * 100), targets) == pytest.approx(0.15)


def test_error_weighs_bins_by_their_images():
    probs = sure(*[0.95] * 30, *[0.55] * 10)
    targets = np.zeros(40, dtype=np.int64)  # all right
    assert ece(probs, targets) == pytest.approx((30 * 0.05 + 10 * 0.45) / 40)


def test_error_of_the_perfectly_calibrated_is_small():
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.5, 1, 50_000)
    targets = (rng.random(50_000) > confidences).astype(np.int64)
    assert ece(sure(*confidences), targets) < 0.01
    assert ece(sure(*confidences**0.3), targets) > 0.1


@given(st.lists(st.floats(0.5, 1), min_size=1, max_size=50), st.integers(1, 40))
def test_bins_hold_every_image_once(confidences, num_bins):
    probs = sure(*confidences)
    table = reliability_table(probs, np.zeros(len(probs), dtype=np.int64), num_bins)
    assert len(table) == num_bins
    assert table["count"].sum() == len(probs)
    filled = table[table["count"] > 0]
    assert (filled["confidence"] > filled["low"] - 1e-6).all()
    assert (filled["confidence"] < filled["high"] + 1e-6).all()


def test_float32_may_exceed_1_by_a_hair():
    probs = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], dtype=np.float32)
    assert reliability_table(probs, np.array([0]))["count"].tolist()[-1] == 1
