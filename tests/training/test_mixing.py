import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.train_table import MixingConfig
from pipeline.errors import ConfigError
from pipeline.training.mixing import PAIRS_AT_ONCE, Mixing

MIXUP = MixingConfig(mixup_alpha=0.4)
CUTMIX = MixingConfig(cutmix_alpha=1.0)
BOTH = MixingConfig(mixup_alpha=0.4, cutmix_alpha=1.0)


def images(num, height=12, width=10):
    """Return images that are their own number everywhere, with targets of a class each."""
    inputs = torch.arange(num).float().view(-1, 1, 1, 1).expand(num, 3, height, width).clone()
    return inputs, torch.eye(num)


def mix(config, num, seed=0, epoch=0, first=0):
    inputs, targets = images(num)
    return mixed_by(Mixing(config, seed), inputs, targets, epoch, first)


def mixed_by(mixing, inputs, targets, epoch=0, first=0):
    """Mix a whole batch."""
    drawn = mixing.draw(len(inputs), epoch, first)
    return mixing.apply(inputs, targets, drawn.to(inputs.device))


def shares_of_pixels(mixed):
    """Tell by the mean what an image is made of; its neighbour differs by 1."""
    numbers = torch.arange(len(mixed))
    signs = torch.where(numbers % 2 == 0, 1, -1)  # an even image is mixed with the next
    signs[-1] = -1  # and the last with the one before
    return 1 - (mixed.mean((1, 2, 3)) - numbers) * signs


def test_mixup_mixes_neighbours_with_each_other():
    mixed, targets = mix(MIXUP, 6)
    lams = targets.diagonal()
    assert len(set(lams.tolist())) == 3
    for index, partner in enumerate([1, 0, 3, 2, 5, 4]):
        expected = lams[index] * index + (1 - lams[index]) * partner
        torch.testing.assert_close(mixed[index], expected.expand(3, 12, 10))
        assert targets[index, partner] == pytest.approx(1 - lams[index].item())
        assert lams[partner] == lams[index]


def test_cutmix_pastes_one_box_of_the_neighbour():
    mixed, targets = mix(CUTMIX, 40)
    for index, image in enumerate(mixed):
        is_pasted = (image != index)[0]
        assert set(image.unique().tolist()) <= {index, index ^ 1}
        rows, columns = is_pasted.any(1).nonzero(), is_pasted.any(0).nonzero()
        if len(rows):
            box = is_pasted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert box.all()
        assert targets[index, index] == pytest.approx(1 - is_pasted.float().mean().item())
    assert (mixed != images(40)[0]).any((1, 2, 3)).sum() > 30


def test_both_draw_either_for_each_pair():
    mixed, _ = mix(BOTH, 200)
    is_mixup = torch.tensor([len(image.unique()) == 1 for image in mixed])
    assert 60 < is_mixup.sum() < 140
    assert torch.equal(is_mixup[::2], is_mixup[1::2])


def test_so_many_pairs_are_mixed_as_their_probability_says():
    config = MixingConfig(mixup_alpha=1.0, probability=0.3)
    mixed, targets = mix(config, 1000)
    is_mixed = targets.diagonal() < 1
    assert 0.2 < is_mixed.float().mean() < 0.4
    untouched, _ = images(1000)
    assert torch.equal(mixed[~is_mixed], untouched[~is_mixed])


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH])
@given(num=st.integers(1, 9), seed=st.integers(0, 2**40), first=st.integers(0, 50))
def test_targets_say_what_share_of_the_pixels_is_whose(config, num, seed, first):
    mixed, targets = mix(config, num, seed, first=first)
    torch.testing.assert_close(targets.sum(1), torch.ones(num))
    assert ((targets >= 0) & (targets <= 1)).all()
    torch.testing.assert_close(shares_of_pixels(mixed), targets.diagonal(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num", [3, 7])
def test_the_last_of_an_odd_number_is_mixed_with_the_one_before(num):
    mixed, targets = mix(MIXUP, num)
    lam = targets[-1, -1]
    assert lam not in (1, *targets.diagonal()[:-1])
    assert targets[-1, -2] == pytest.approx(1 - lam.item())
    expected = lam * (num - 1) + (1 - lam) * (num - 2)
    torch.testing.assert_close(mixed[-1], expected.expand(3, 12, 10))
    before = mix(MIXUP, num - 1)
    for part, whole in zip(before, (mixed[:-1], targets[:-1, :-1]), strict=True):
        assert torch.equal(part, whole)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH])
def test_an_image_alone_stays(config):
    mixed, targets = mix(config, 1)
    assert torch.equal(mixed, images(1)[0])
    assert targets.tolist() == [[1.0]]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 20))
def test_any_cut_into_parts_gives_the_same(lengths, first):
    count = sum(lengths)
    inputs, targets = images(count)
    mixing = Mixing(BOTH, seed=3)
    drawn = mixing.draw(count, 5, first)
    whole = mixing.apply(inputs, targets, drawn)
    stops = np.cumsum(lengths).tolist()
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        seen = mixing.with_partners(slice(start, stop), count)
        assert seen.stop - seen.start <= stop - start + 2
        part = mixing.apply(inputs[seen], targets[seen], drawn[seen])
        for mixed, expected in zip(part, whole, strict=True):
            assert torch.equal(mixed[start - seen.start :][: stop - start], expected[start:stop])


def test_a_pair_draws_the_same_whatever_batch_it_is_in():
    mixing = Mixing(BOTH, seed=3)
    whole = mixing.draw(3 * 2 * PAIRS_AT_ONCE, 5, 0)
    for first, count in ((0, 4), (1000, 100), (2 * PAIRS_AT_ONCE, 2), (3000, 72)):
        assert torch.equal(mixing.draw(count, 5, first), whole[first : first + count])
    assert len(whole[:, :4].unique(dim=0)) == 3 * PAIRS_AT_ONCE


def test_seeds_epochs_and_pairs_draw_anew():
    drawn = {
        mix(MIXUP, 2, seed, epoch, first)[1][0, 0].item()
        for seed in (0, 1)
        for epoch in (0, 1)
        for first in (0, 2)
    }
    assert len(drawn) == 8


def test_the_last_of_an_odd_batch_and_the_next_batch_draw_anew():
    last, following = mix(MIXUP, 3)[1][2, 2], mix(MIXUP, 3, first=3)[1][0, 0]
    assert last != following


def test_the_first_pair_does_not_draw_from_the_stream_that_shuffled_the_epoch():
    shuffling = np.random.default_rng((1, 2))
    shuffling.random()
    assert mix(MIXUP, 2, seed=1, epoch=2)[1][0, 0] != pytest.approx(shuffling.beta(0.4, 0.4))


def test_features_without_places_are_mixed_as_images_are():
    inputs, targets = images(5)
    mixed, mixed_targets = mixed_by(Mixing(MIXUP, 0), inputs, targets)
    for shape in ((5, 360), (5, 3, 120)):
        flat, flat_targets = mixed_by(Mixing(MIXUP, 0), inputs.reshape(shape), targets)
        assert torch.equal(flat, mixed.reshape(shape))
        assert torch.equal(flat_targets, mixed_targets)


@pytest.mark.parametrize("config", [CUTMIX, BOTH])
def test_maps_with_channels_last_are_cut_by_place(config):
    inputs, targets = images(7, 8, 8)
    maps = inputs.repeat(1, 2, 1, 1)  # 6 channels
    expected, their_targets = mixed_by(Mixing(config, 3), maps, targets)
    mixed, own_targets = mixed_by(Mixing(config, 3), maps.movedim(1, -1), targets)
    assert torch.equal(mixed, expected.movedim(1, -1))
    assert torch.equal(own_targets, their_targets)
    assert not torch.equal(mixed, maps.movedim(1, -1))


def test_cutmix_of_features_without_places_is_refused():
    expected = r"^train\.mixing\.cutmix_alpha: must be 0 where .* no places, is 1\.0; use mixup"
    with pytest.raises(ConfigError, match=expected):
        mixed_by(Mixing(CUTMIX, 0), torch.zeros(4, 8), torch.eye(4))


@pytest.mark.parametrize("config", [MixingConfig(), MixingConfig(mixup_alpha=1.0, probability=0.0)])
def test_nothing_is_mixed_where_mixing_is_off(config):
    inputs, targets = images(4)
    assert not Mixing(config, 0).is_on
    assert mixed_by(Mixing(config, 0), inputs, targets) == (inputs, targets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_keep_their_type_layout_and_values(dtype):
    inputs = torch.randn(4, 3, 8, 8).to(dtype, memory_format=torch.channels_last)
    before = inputs.clone()
    mixed, _ = mixed_by(Mixing(BOTH, 0), inputs, torch.eye(4))
    assert mixed.dtype == dtype
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(inputs, before)


@pytest.mark.gpu
def test_a_gpu_mixes_as_the_cpu_does():
    inputs, targets = images(9)
    on_gpu = mixed_by(Mixing(BOTH, 0), inputs.cuda(), targets.cuda())
    for there, here in zip(on_gpu, mixed_by(Mixing(BOTH, 0), inputs, targets), strict=True):
        torch.testing.assert_close(there.cpu(), here)
