import numpy as np
import pytest

from pipeline.config.experiment import ImageConfig, TransformConfig, ViewConfig
from pipeline.images.decode import ByteImage
from pipeline.images.transforms import (
    STILL_RECIPES,
    check_recipe,
    draw,
    plain_transforms,
    recipe_view,
    transform_text,
)
from pipeline.images.views import View

CONFIG = ImageConfig(size_px=32)
VIEWS = ViewConfig()
RECIPES = ["light", "trivial", "medium", "heavy"]


def picture(height: int, width: int) -> ByteImage:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "shape", [(32, 32), (1, 1), (20, 31), (20, 90), (77, 90), (300, 40), (500, 500)]
)
def test_every_size_becomes_the_working_size_as_the_keys_of_caches_say(shape):
    image = picture(*shape)
    view = View().crop(image, CONFIG)
    np.testing.assert_array_equal(view, plain_transforms(CONFIG)(image=image)["image"])
    assert view.shape == (32, 32, 3)


def test_the_plain_view_is_the_middle_of_the_image():
    image = np.zeros((64, 128, 3), dtype=np.uint8)
    image[:, 48:80] = 255  # the middle 32 of 128 columns
    whole = ImageConfig(size_px=64, crop_fraction=1.0)
    view = View().crop(image, whole)
    np.testing.assert_array_equal(view, image[:, 32:96])


def test_the_crop_fraction_is_what_stays_of_the_short_side():
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[16:48, 16:48] = 255
    view = View().crop(image, ImageConfig(size_px=32, crop_fraction=0.5))
    np.testing.assert_array_equal(view, 255)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_draw_has_the_working_size_and_depends_on_the_seed_alone(recipe):
    image, transform = picture(80, 60), recipe_view(recipe, CONFIG, VIEWS)
    first = draw(transform, image, 7)
    others = [draw(transform, image, seed) for seed in range(8, 14)]
    again = draw(transform, image, 7)
    fresh = draw(recipe_view(recipe, CONFIG, VIEWS), image, 7)
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, fresh)
    assert all((first != other).any() for other in others)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_random_state_of_the_process_changes_nothing(recipe):
    image, transform = picture(80, 60), recipe_view(recipe, CONFIG, VIEWS)
    draws = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        draws.append([draw(transform, image, number) for number in range(10)])
    np.testing.assert_array_equal(draws[0], draws[1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_image_itself_stays_as_it_is(recipe):
    image = picture(40, 40)
    before = image.copy()
    draw(recipe_view(recipe, CONFIG, VIEWS), image, 0)
    np.testing.assert_array_equal(image, before)


def test_recipes_without_randomness_draw_the_same_for_every_seed():
    image = picture(80, 60)
    for recipe in (*STILL_RECIPES, *RECIPES):
        transform = recipe_view(recipe, CONFIG, VIEWS)
        is_same = all(
            (draw(transform, image, s) == draw(transform, image, 0)).all() for s in (1, 2)
        )
        assert is_same == (recipe in STILL_RECIPES), recipe


def test_an_image_is_mirrored_whatever_the_size_of_its_crop():
    # Grey rises from 0 at the left to 250 at the right, so a view's span says how wide its crop is.
    image = np.repeat(np.linspace(0, 250, 250).astype(np.uint8)[None, :, None], 200, axis=0)
    transform = recipe_view("heavy", CONFIG, VIEWS)
    transform.transforms = transform.transforms[:2]
    views = [draw(transform, np.repeat(image, 3, axis=2), seed) for seed in range(400)]
    spans = np.array([int(view[16, -1, 0]) - int(view[16, 0, 0]) for view in views])
    for part in (abs(spans) < np.median(abs(spans)), abs(spans) > np.median(abs(spans))):
        assert 0.4 < (spans[part] < 0).mean() < 0.6


def custom(**values: object) -> ViewConfig:
    transforms = (TransformConfig.model_validate({"name": "Resize"} | values),)
    return ViewConfig(recipe="custom", transforms=transforms)


def test_all_that_decides_a_view_is_in_its_text():
    size = {"height": 32, "width": 32}
    texts = [
        transform_text("", CONFIG, VIEWS),
        transform_text("", ImageConfig(size_px=32, crop_fraction=0.5), VIEWS),
        transform_text("light", CONFIG, VIEWS),
        transform_text("heavy", CONFIG, VIEWS),
        transform_text("custom", CONFIG, custom(**size)),
        transform_text("custom", CONFIG, custom(**size, interpolation=2)),
        transform_text("custom", CONFIG, custom(**size, p=0.5)),
    ]
    assert len(set(texts)) == len(texts)
    assert transform_text("custom", CONFIG, custom(**size)) == texts[4]


# "trivial" turns images by up to 135 degrees, so that left may come to be right without a mirror.
@pytest.mark.parametrize("recipe", ["light", "medium", "heavy", "source-cifar"])
def test_no_recipe_mirrors_where_nothing_may_be_mirrored(recipe):
    rising = np.repeat(np.linspace(0, 250, 250).astype(np.uint8)[None, :, None], 200, axis=0)
    straight = recipe_view(recipe, CONFIG, ViewConfig(horizontal_flip=False))
    image = np.repeat(rising, 3, axis=2)
    views = [draw(straight, image, seed) for seed in range(40)]
    assert all(view[:, -4:].mean() > view[:, :4].mean() for view in views)


def test_custom_transforms_that_mirror_are_left_out_wherever_they_stand():
    transforms = [
        {"name": "D4"},
        {"name": "OneOf", "p": 1.0, "transforms": [{"name": "Transpose"}, {"name": "Blur"}]},
        {"name": "SomeOf", "n": 1, "transforms": [{"name": "HorizontalFlip"}]},
        {"name": "VerticalFlip"},
        {"name": "Resize", "height": 32, "width": 32},
    ]
    configs = tuple(TransformConfig.model_validate(one) for one in transforms)
    views = ViewConfig(recipe="custom", transforms=configs, horizontal_flip=False)
    check_recipe(views, CONFIG)
    built = recipe_view("custom", CONFIG, views).transforms
    assert [type(one).__name__ for one in built] == ["OneOf", "VerticalFlip", "Resize"]
    assert [type(one).__name__ for one in built[0].transforms] == ["Blur"]
