import cv2
import numpy as np
import pytest

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.images.tta import CORNERS, POLICIES, TtaView
from pipeline.images.views import View, ViewMaker

IMAGES = ImageConfig(size_px=32, crop_fraction=0.8)  # the plain view is cropped from 40 px
MIRRORED = TtaView(is_mirrored=True)
EVERY_VIEW = sorted({view for policy in POLICIES.values() for view in policy}, key=str)


def smooth(height, width):
    """A picture whose neighbours are alike, so that interpolation hardly changes it."""
    noise = np.random.default_rng(0).random((5, 5, 3)).astype(np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (large.clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(40, 40), (40, 57), (63, 40), (20, 31), (77, 90)])
def test_the_first_two_views_are_those_that_experiments_predict_with(shape):
    maker = ViewMaker(IMAGES, ViewConfig())
    copy = smooth(*shape)
    for own, usual in ((TtaView(), View()), (MIRRORED, View(is_mirrored=True))):
        np.testing.assert_array_equal(own.augment(copy, IMAGES), maker.make(usual, copy, ""))


@pytest.mark.parametrize("place", [(0.5, 0.5), *CORNERS])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_what_is_only_cropped_and_mirrored_comes_back_bit_for_bit(place, is_mirrored):
    view = TtaView(place=place, is_mirrored=is_mirrored)
    copy = np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    back = view.undo(view.augment(copy, IMAGES)[..., 0].astype(np.float32), (40, 57), IMAGES)
    seen = ~np.isnan(back)
    assert seen.sum() == 32 * 32
    np.testing.assert_array_equal(back[seen], copy[..., 0][seen])


@pytest.mark.parametrize("view", EVERY_VIEW, ids=str)
def test_undoing_a_view_gives_back_what_it_saw(view):
    copy = smooth(60, 45)
    seen = view.augment(copy, IMAGES)[..., 0].astype(np.float32)
    back = view.undo(seen, (60, 45), IMAGES)
    assert back.shape == (60, 45)
    is_seen = ~np.isnan(back)
    assert is_seen.mean() > 0.2
    assert np.abs(back - copy[..., 0])[is_seen].mean() < 3
    moved = np.abs(np.roll(back, 5, axis=1) - copy[..., 0])
    assert np.nanmean(moved) > 6  # a place that is off by a little would be noticed


def test_corners_show_the_corners():
    copy = np.zeros((40, 40, 3), dtype=np.uint8)
    for number, (row, column) in enumerate(((0, 0), (0, -1), (-1, 0), (-1, -1)), start=1):
        copy[row, column] = number
    found = [int(TtaView(place=corner).augment(copy, IMAGES).max()) for corner in CORNERS]
    assert found == [1, 2, 3, 4]


def test_policies_grow_from_the_plain_view_and_have_no_view_twice():
    sizes = [len(set(policy)) for policy in POLICIES.values()]
    assert sizes == [len(policy) for policy in POLICIES.values()] == sorted(sizes)
    assert POLICIES["plain"] == (TtaView(),)
    assert POLICIES["flip"] == (TtaView(), MIRRORED)
