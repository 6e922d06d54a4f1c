from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from timm.data.transforms_factory import create_transform

from pipeline.config.experiment import ImageConfig, TransformConfig, ViewConfig
from pipeline.images.transforms import transform_text
from pipeline.images.views import (
    View,
    ViewMaker,
    augmented_views,
    plain_views,
    training_view,
)
from tests import tiny

CONFIG = ImageConfig(size_px=32)
CROPPED = ImageConfig(size_px=32, crop_fraction=0.8)  # the plain view is cropped from 40 px
VIEWS = ViewConfig()
SHA = "ab" * 32
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
EVERY_VIEW = [
    View(),
    View(is_mirrored=True),
    View(zoom=1.15, place=(1.0, 0.0)),
    View(zoom=1.3),
    View(degrees=8.0),
    View(zoom=1.15, degrees=-8.0, place=(0.0, 1.0), is_mirrored=True),
]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


def test_an_experiment_has_its_views():
    experiment = tiny.experiment(seed=3, views={"num_augmented": 2, "recipe": "heavy"})
    assert plain_views(experiment) == [View(), View(is_mirrored=True)]
    assert augmented_views(experiment) == [View("heavy", seed=3), View("heavy", number=1, seed=3)]


def test_without_flip_and_augmentation_one_view_is_left():
    experiment = tiny.experiment(views={"flip": False, "num_augmented": 0})
    assert plain_views(experiment) == [View()]
    assert augmented_views(experiment) == []


def test_without_a_recipe_only_plain_views_are_shown():
    experiment = tiny.experiment(views={"recipe": "none", "num_augmented": 3})
    assert augmented_views(experiment) == []
    assert {training_view(experiment, epoch) for epoch in range(5)} == {View()}


def test_every_epoch_shows_a_view_of_its_own():
    experiment = tiny.experiment(seed=3, views={"recipe": "medium"})
    views = [training_view(experiment, epoch) for epoch in range(5)]
    assert views == [View("medium", number=epoch, seed=3) for epoch in range(5)]


def test_a_cycle_shows_the_same_views_over_and_over():
    experiment = tiny.experiment(views={"cycle": 3})
    views = [training_view(experiment, epoch) for epoch in range(7)]
    assert len(set(views)) == 3
    assert views[3:6] == views[:3]


def test_a_recipe_without_randomness_shows_one_view_in_all_epochs():
    experiment = tiny.experiment(seed=3, views={"recipe": "source-catdog"})
    assert len({training_view(experiment, epoch) for epoch in range(5)}) == 1


def test_plain_views_do_not_depend_on_the_seed():
    first, second = (plain_views(tiny.experiment(seed=seed)) for seed in (0, 1))
    assert [view.key() for view in first] == [view.key() for view in second]


def test_every_part_of_a_view_is_in_its_key():
    views = [View(), View("light"), View(is_mirrored=True), View(number=1), View(seed=1)]
    views += [View(zoom=1.5), View(degrees=1.5), View(place=(1.5, 0)), View(place=(0, 1.5))]
    assert len({str(view.key()) for view in views}) == len(views)


def test_keys_are_those_of_the_features_that_are_cached_already():
    views = [View(), View(is_mirrored=True), View("light", number=1, seed=2)]
    keys = [["", False, 0, 0], ["", True, 0, 0], ["light", False, 1, 2]]
    assert [view.key() for view in views] == keys


def test_the_mirrored_view_is_the_plain_one_from_right_to_left(image):
    maker = ViewMaker(CONFIG, VIEWS)
    plain, mirrored = (maker.make(view, image, SHA) for view in (View(), View(is_mirrored=True)))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert mirrored.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("recipe", ["light", "medium", "heavy"])
def test_a_draw_is_the_same_whatever_was_drawn_before(image, recipe):
    busy = ViewMaker(CONFIG, VIEWS)
    for number in range(3):
        busy.make(View("heavy", number=number), image, SHA)
    np.testing.assert_array_equal(
        busy.make(View(recipe, number=1), image, SHA),
        ViewMaker(CONFIG, VIEWS).make(View(recipe, number=1), image, SHA),
    )


def test_seed_number_and_digest_each_draw_another_view(image):
    maker = ViewMaker(CONFIG, VIEWS)
    first = maker.make(View("light"), image, SHA)
    for view, sha256 in (
        (View("light", number=1), SHA),
        (View("light", seed=1), SHA),
        (View("light"), "ac" * 32),
    ):
        assert (maker.make(view, image, sha256) != first).any()


def test_custom_views_are_drawn_from_the_transforms_of_the_config(image):
    steps: list[tuple[str, dict[str, Any]]] = [
        ("Resize", {"height": 32, "width": 32}),
        ("InvertImg", {"p": 1.0}),
    ]
    transforms = tuple(TransformConfig(name=name, **values) for name, values in steps)
    custom = ViewConfig(recipe="custom", transforms=transforms)
    resized = ViewConfig(recipe="custom", transforms=transforms[:1])
    views = [ViewMaker(CONFIG, c).make(View("custom"), image, SHA) for c in (custom, resized)]
    np.testing.assert_array_equal(views[0], 255 - views[1])


def smooth(height, width):
    """A picture whose neighbours are alike, so that interpolation hardly changes it."""
    noise = np.random.default_rng(0).random((5, 5, 3)).astype(np.float32)
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (large.clip(0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("place", [(0.5, 0.5), *CORNERS])
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_what_is_only_cropped_and_mirrored_comes_back_bit_for_bit(place, is_mirrored):
    view = View(place=place, is_mirrored=is_mirrored)
    copy = np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    back = view.undo(view.crop(copy, CROPPED)[..., 0].astype(np.float32), (40, 57), CROPPED)
    seen = ~np.isnan(back)
    assert seen.sum() == 32 * 32
    np.testing.assert_array_equal(back[seen], copy[..., 0][seen])


@pytest.mark.parametrize("view", EVERY_VIEW, ids=str)
def test_undoing_a_view_gives_back_what_it_saw(view):
    copy = smooth(60, 45)
    seen = view.crop(copy, CROPPED)[..., 0].astype(np.float32)
    back = view.undo(seen, (60, 45), CROPPED)
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
    found = [int(View(place=corner).crop(copy, CROPPED).max()) for corner in CORNERS]
    assert found == [1, 2, 3, 4]


@pytest.mark.parametrize("crop_fraction", [1.0, 0.8])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(64, 96), (90, 64), (64, 64)])
def test_an_oblong_image_is_shown_as_timm_shows_it(mode, shape, crop_fraction):
    config = ImageConfig(
        size_px=32, crop_fraction=crop_fraction, crop_mode=mode, interpolation="bilinear"
    )
    ramp = np.add.outer(2 * np.arange(shape[0]), 0.5 * np.arange(shape[1]))
    image = np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)
    theirs = create_transform(
        (3, 32, 32), crop_pct=crop_fraction, crop_mode=mode, interpolation="bilinear",
        mean=config.mean, normalize=False,
    )  # fmt: skip
    expected = np.asarray(theirs(Image.fromarray(image)).permute(1, 2, 0), dtype=np.int64)
    gaps = np.abs(View().crop(image, config).astype(np.int64) - expected)
    assert np.quantile(gaps, 0.85) <= 3  # a border may begin a pixel earlier
    others = {"center", "squash", "border"} - {mode}
    if shape[0] != shape[1]:
        for other in others:
            shown = View().crop(image, config.model_copy(update={"crop_mode": other}))
            assert np.abs(shown.astype(np.int64) - expected).mean() > 2 * gaps.mean() + 1


@pytest.mark.parametrize("view", EVERY_VIEW)
@pytest.mark.parametrize("mode", ["squash", "border"])
def test_what_is_seen_of_an_oblong_image_is_laid_back_over_all_of_it(mode, view):
    config = ImageConfig(size_px=32, crop_mode=mode, crop_fraction=1.0)
    ramp = np.add.outer(2.0 * np.arange(40), 1.0 * np.arange(60))
    image = np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)
    seen = view.crop(image, config)
    assert seen.shape == (32, 32, 3)
    back = view.undo(seen[..., 0].astype(np.float32), (40, 60), config)
    assert back.shape == (40, 60)
    inside = ~np.isnan(back)
    assert inside.mean() > (0.99 if view in (View(), View(is_mirrored=True)) else 0.4)
    assert np.median(np.abs(back - ramp)[inside]) < 6


def test_a_border_has_the_mean_of_the_weights():
    config = ImageConfig(size_px=32, crop_mode="border", crop_fraction=1.0, mean=(0.1, 0.5, 0.9))
    shown = View().crop(np.zeros((20, 40, 3), np.uint8), config)
    assert shown[0, 0].tolist() == [26, 128, 230]
    assert not shown[16].any()


def test_what_becomes_of_oblong_images_is_in_the_key_of_a_cache_and_crops_keep_theirs():
    texts = {
        mode: transform_text("", ImageConfig(crop_mode=mode), VIEWS)
        for mode in ("center", "squash", "border")
    }
    assert len(set(texts.values())) == 3
    assert "crop_mode" not in texts["center"]
