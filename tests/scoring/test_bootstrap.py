import numpy as np
import pytest

from pipeline.scoring import measures as module
from pipeline.scoring.measures import (
    NUM_RESAMPLES,
    ImageMean,
    LogLoss,
    bootstrap,
    bootstrap_measures,
    interval_quantiles,
    macro_f1_measure,
    num_independent,
)
from tests.scoring.drawn import TARGETS, member


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


MEASURES = {"mean": LogLoss, "matrix": macro_f1_measure}


@pytest.mark.parametrize("kind", MEASURES)
def test_images_in_groups_of_one_are_drawn_as_images_are(kind):
    one, other = (MEASURES[kind](TARGETS, member(1.0, seed)) for seed in (0, 1))
    alone = bootstrap_measures([one, other], np.arange(len(TARGETS)))
    np.testing.assert_allclose(alone, bootstrap_measures([one, other]))


@pytest.mark.parametrize("kind", MEASURES)
def test_copies_tell_no_more_than_what_they_are_copies_of(kind):
    targets, probs = np.repeat(TARGETS, 4), np.repeat(member(1.0, 0), 4, axis=0)
    groups = np.repeat(np.arange(len(TARGETS)), 4)
    copied = bootstrap_measures([MEASURES[kind](targets, probs)], groups)
    single = bootstrap_measures([MEASURES[kind](TARGETS, member(1.0, 0))])
    np.testing.assert_allclose(copied, single)


class Root(ImageMean):
    """The root of a mean."""

    def value(self, counts):
        """Take it."""
        return float(np.sqrt(super().value(counts)))


@pytest.mark.parametrize("groups", [None, np.arange(60) // 4])
def test_measure_that_is_more_than_the_mean_of_its_values_is_computed_for_each_resample(groups):
    values = np.random.default_rng(0).random(60)
    mean, root = bootstrap_measures([ImageMean(values), Root(values)], groups)
    np.testing.assert_allclose(root, np.sqrt(mean))
    np.testing.assert_allclose(bootstrap_measures([Root(values)], groups)[0], root)


def test_images_of_large_groups_weigh_as_much_as_they_are():
    values = np.array([1.0, 0.0, 0.0, 0.0])
    measure = LogLoss(np.zeros(4, np.int64), np.eye(2)[[0, 0, 0, 0]])
    measure.values = values
    drawn = bootstrap_measures([measure], np.array([0, 1, 1, 1]))
    assert set(np.round(drawn.ravel(), 9)) == {0.0, 0.25, 1.0}


def test_images_count_for_as_many_as_tell_as_much():
    values = np.repeat([1.0, 1.0, 0.0, 1.0], 5)
    groups = np.repeat(np.arange(4), 5)
    assert num_independent(values, None) == 20
    assert num_independent(values, groups) == pytest.approx(4)
    assert num_independent(np.ones(20), groups) == pytest.approx(4)
    assert num_independent(np.ones(4), np.array([0, 0, 0, 1])) == pytest.approx(1.6)
    mixed = np.tile([1.0, 1.0, 0.0, 1.0, 0.0], 4)  # groups that say the same hide nothing
    assert num_independent(mixed, groups) == 20
