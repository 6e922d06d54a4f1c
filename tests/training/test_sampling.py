import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.train_table import TrainConfig
from pipeline.training.mixing import epoch_batches

ALL_TARGETS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array)


def batches(targets, seed=0, epoch=0, **config):
    return epoch_batches(np.asarray(targets), TrainConfig(**config), seed, epoch)


def order(targets, **options):
    return np.concatenate(batches(targets, **options)).tolist()


@given(targets=ALL_TARGETS, batch_size=st.integers(1, 20), epoch=st.integers(0, 3))
def test_every_epoch_visits_every_image_once(targets, batch_size, epoch):
    rows = order(targets, epoch=epoch, batch_size=batch_size)
    assert sorted(rows) == list(range(len(targets)))


def test_every_epoch_and_seed_has_an_order_of_its_own_and_keeps_it():
    targets = [0] * 20
    orders = [order(targets, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(rows) for rows in orders}) == 4
    assert order(targets, seed=1, epoch=1) == orders[-1]


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
@pytest.mark.parametrize(
    ("num_images", "sizes"), [(16, [8, 8]), (17, [8, 9]), (18, [8, 8, 2]), (7, [7]), (1, [1])]
)
def test_batches_are_full_but_an_image_alone_joins_the_batch_before(num_images, sizes, sampling):
    found = batches([0] * num_images, batch_size=8, sampling=sampling)
    assert [len(batch) for batch in found] == sizes


def test_batches_of_one_stay():
    assert [len(batch) for batch in batches([0, 0, 0], batch_size=1)] == [1, 1, 1]


@given(targets=ALL_TARGETS, epoch=st.integers(0, 3))
def test_balanced_sampling_draws_every_class_as_often_as_any_other(targets, epoch):
    rows = order(targets, epoch=epoch, sampling="balanced")
    counts = np.unique_counts(targets[rows])
    assert len(rows) == len(targets)
    assert set(counts.values) == set(targets)
    assert counts.counts.max() - counts.counts.min() <= 1


@given(targets=ALL_TARGETS, epoch=st.integers(0, 3))
def test_balanced_sampling_repeats_no_image_before_its_class_is_exhausted(targets, epoch):
    rows = order(targets, epoch=epoch, sampling="balanced")
    times = np.bincount(rows, minlength=len(targets))
    for number in set(targets):
        of_class = times[targets == number]
        assert of_class.max() - of_class.min() <= 1


def test_balanced_sampling_shows_other_images_of_a_large_class_in_every_epoch():
    targets = [0] * 90 + [1] * 10
    first, second = (set(order(targets, epoch=epoch, sampling="balanced")) for epoch in (0, 1))
    assert len(first) == len(second) == 60  # 50 of the large class, all 10 of the small one
    assert first != second


def test_balanced_sampling_shuffles_the_classes():
    targets = np.repeat([0, 1], 50)
    first_half = targets[order(targets, sampling="balanced")[:50]]
    assert 10 < first_half.sum() < 40
