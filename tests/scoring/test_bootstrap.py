import numpy as np
import pytest

from pipeline.scoring import measures as module
from pipeline.scoring.measures import NUM_RESAMPLES, bootstrap, interval_quantiles


def mean(values):
    return values.mean(axis=-1)


@pytest.mark.parametrize("num", [1, 7, 500, module.BATCH + 1])
def test_every_resample_has_the_images_of_the_table(num):
    values = np.arange(num, dtype=np.float64)
    seen = []

    def summary(drawn):
        seen.append(drawn.shape)
        return mean(drawn)

    bootstrap(values, summary)
    assert sum(shape[0] for shape in seen) == NUM_RESAMPLES
    assert {shape[1] for shape in seen} == {num}


def test_predictions_are_resampled_together():
    values = np.random.default_rng(0).normal(size=(1, 300))
    first, second = bootstrap(np.concatenate([values, values + 1]), mean)
    np.testing.assert_allclose(second - first, 1)
    np.testing.assert_array_equal(first, bootstrap(values[0], mean))


def test_spread_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=1000)
    spread = bootstrap(values, mean).std()
    assert spread == pytest.approx(values.std() / np.sqrt(1000), rel=0.06)


def test_tails_leave_out_the_rest_evenly():
    assert interval_quantiles(0.9) == pytest.approx((0.05, 0.95))
