import math

import numpy as np
import pytest

from pipeline.scoring.separation import scatter_ratio, silhouette

TARGETS = np.arange(40) % 2


def drawn(distance: float) -> np.ndarray:
    features = np.random.default_rng(0).normal(size=(40, 5))
    features[:, 0] += distance * TARGETS
    return features.astype(np.float32)


@pytest.mark.parametrize("measure", [silhouette, scatter_ratio])
def test_classes_further_apart_are_separated_better(measure):
    values = [measure(drawn(distance), TARGETS) for distance in (0, 2, 8)]
    assert values == sorted(values)
    assert values[0] < 0.1 < values[2]


@pytest.mark.parametrize("measure", [silhouette, scatter_ratio])
def test_the_features_unit_does_not_matter(measure):
    assert measure(1000 * drawn(2), TARGETS) == pytest.approx(measure(drawn(2), TARGETS), rel=1e-4)


def test_scatter_ratio_is_that_of_hand_counted_points():
    features = np.array([[0], [2], [9], [11]], dtype=np.float32)
    # Between: twice 2 · 4.5²; within: four times 1.
    assert scatter_ratio(features, np.array([0, 0, 1, 1])) == pytest.approx(81 / 4)


def test_what_is_not_defined_is_nan():
    one = np.zeros(4, dtype=np.int64)
    assert math.isnan(silhouette(np.ones((4, 2), np.float32), one))
    assert math.isnan(silhouette(np.ones((4, 2), np.float32), np.arange(4)))
    assert math.isnan(scatter_ratio(np.ones((4, 2), np.float32), one))
