import numpy as np
from sklearn.decomposition import PCA

from pipeline.scoring.separation import START_SPREAD, principal_start, tsne

TARGETS = np.arange(30) % 3
FEATURES = (np.random.default_rng(0).normal(size=(30, 6)) + 8 * np.eye(6)[TARGETS]).astype(
    np.float32
)


def test_equal_features_from_one_start_lie_equal():
    start = principal_start(FEATURES)
    np.testing.assert_array_equal(tsne(FEATURES, start), tsne(FEATURES.copy(), start))


def test_another_start_gives_another_picture():
    start = principal_start(FEATURES)
    assert not np.allclose(tsne(FEATURES, start), tsne(FEATURES, start[:, ::-1].copy()))


def test_the_start_is_the_first_two_principal_components():
    points = PCA(2).fit_transform(FEATURES)
    start = principal_start(FEATURES)
    for axis in range(2):
        assert abs(np.corrcoef(points[:, axis], start[:, axis])[0, 1]) > 0.999


def test_classes_that_lie_apart_stay_apart():
    points = tsne(FEATURES, principal_start(FEATURES))
    centres = np.stack([points[index == TARGETS].mean(axis=0) for index in range(3)])
    distances = np.linalg.norm(points[:, None] - centres, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), TARGETS)


def test_features_on_a_line_start_beside_it():
    line = np.outer(np.linspace(-1, 1, 20), [1, -1]).astype(np.float32)
    start = principal_start(line)
    assert (np.abs(start[:, 1]) > 0).all()
    assert start[:, 0].std() / START_SPREAD < 1.1
    assert np.isfinite(principal_start(np.ones_like(line))).all()
