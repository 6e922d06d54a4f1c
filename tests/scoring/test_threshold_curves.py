import numpy as np
import pytest
from scipy.integrate import trapezoid

from pipeline.scoring.metrics import score
from pipeline.scoring.separation import (
    FALSE_POSITIVE_RATES,
    RECALLS,
    THRESHOLDS,
    average_precision,
    net_benefit,
    net_benefit_of_all,
    precision_recall,
    roc,
)
from tests.scoring.drawn import TARGETS, member


def binary(scores: list[float]) -> np.ndarray:
    second = np.array(scores, dtype=np.float32)
    return np.stack([1 - second, second], axis=1)


def at(threshold: float) -> int:
    return int(np.argmin(np.abs(THRESHOLDS - threshold)))


def test_net_benefit_is_hits_less_weighted_false_alarms():
    targets = np.array([1, 1, 0, 0, 0])
    found = net_benefit(targets, binary([0.9, 0.25, 0.85, 0.3, 0.05]))
    assert found[at(0.8)] == pytest.approx(1 / 5 - 1 / 5 * 4)  # 0.8 / (1 - 0.8) = 4
    assert found[at(0.5)] == pytest.approx(1 / 5 - 1 / 5)
    assert found[at(0.2)] == pytest.approx(2 / 5 - 2 / 5 / 4)


def test_acting_on_all_gains_the_prevalence_less_the_weighted_rest():
    found = net_benefit_of_all(np.array([1, 0, 0, 0]), 2)
    np.testing.assert_allclose(found, 0.25 - 0.75 * THRESHOLDS / (1 - THRESHOLDS))
    crossing = THRESHOLDS[np.flatnonzero(found > 1e-9)[-1]]
    assert crossing == pytest.approx(0.24)  # it pays up to the prevalence


def test_net_benefit_of_many_classes_is_the_mean_over_one_against_the_rest():
    probs = member(1, 0)
    by_class = [
        net_benefit(np.equal(TARGETS, index).astype(np.int64), binary(probs[:, index].tolist()))
        for index in range(3)
    ]
    np.testing.assert_allclose(net_benefit(TARGETS, probs), np.mean(by_class, axis=0))


def test_perfect_predictions_fill_every_curve():
    probs = np.eye(3, dtype=np.float32)[TARGETS]
    np.testing.assert_array_equal(roc(TARGETS, probs), 1)
    np.testing.assert_array_equal(precision_recall(TARGETS, probs), 1)
    np.testing.assert_allclose(net_benefit(TARGETS, probs), 1 / 3)
    assert average_precision(TARGETS, probs) == 1


def test_areas_under_the_points_are_those_of_the_measures():
    targets = np.arange(3000) % 3
    probs = member(1, 0, 3000)
    area = trapezoid(roc(targets, probs), FALSE_POSITIVE_RATES)
    assert area == pytest.approx(score("mean_column_auc", targets, probs), abs=0.01)
    area = trapezoid(precision_recall(targets, probs), RECALLS)
    assert area == pytest.approx(average_precision(targets, probs), abs=0.01)


def test_points_are_what_some_threshold_reaches():
    targets = np.array([1, 0, 1, 0])
    probs = binary([0.9, 0.8, 0.7, 0.1])
    rates = roc(targets, probs)
    assert rates[0] == 0.5
    assert rates[FALSE_POSITIVE_RATES < 0.5].max() == 0.5
    assert rates[-1] == 1
    precisions = precision_recall(targets, probs)
    np.testing.assert_allclose(precisions[RECALLS <= 0.5], 1)
    np.testing.assert_allclose(precisions[RECALLS > 0.5], 2 / 3)


def test_a_class_without_images_is_left_out():
    probs = np.concatenate([member(1, 0), np.zeros((len(TARGETS), 1), np.float32)], axis=1)
    np.testing.assert_array_equal(roc(TARGETS, probs), roc(TARGETS, probs[:, :3]))
