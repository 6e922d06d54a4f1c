"""Custom recipes: what can be used is taken, what can't is refused before any image is read."""

import re
from typing import Any

import numpy as np
import pytest

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.config.experiment_files import load_experiment
from pipeline.errors import ConfigError
from pipeline.images.transforms import check_recipe, draw, recipe_view
from tests import tiny

IMAGES = ImageConfig(size_px=32)
CROP = {"name": "RandomResizedCrop", "size": (32, 32)}
RESIZE = {"name": "Resize", "height": 32, "width": 32}


def check(*transforms: dict[str, Any]) -> None:
    check_recipe(ViewConfig.model_validate({"recipe": "custom", "transforms": transforms}), IMAGES)


@pytest.mark.parametrize(
    "transforms",
    [
        [CROP],
        [RESIZE, {"name": "HorizontalFlip", "p": 0.5}, {"name": "ColorJitter"}],
        [
            {"name": "SmallestMaxSize", "max_size": 32},
            {"name": "RandomCrop"} | {"height": 32, "width": 32},
        ],
        [CROP | {"scale": [0.2, 1]}, {"name": "CoarseDropout"}, {"name": "GaussNoise", "p": 0.1}],
        [RESIZE, {"name": "OneOf", "transforms": [{"name": "Blur"}, {"name": "ToGray"}]}],
        [RESIZE, {"name": "SomeOf", "n": 1, "p": 0.3, "transforms": [{"name": "D4"}] * 2}],
        [{"name": "Sequential", "transforms": [CROP, {"name": "Erasing"}], "p": 1}],
        [CROP, {"name": "RandAugment", "magnitude": 5}, {"name": "RandomErasing", "p": 0.2}],
        [RESIZE, {"name": "OneOf", "transforms": [{"name": "TrivialAugment"}, {"name": "AugMix"}]}],
        [CROP, {"name": "ToGray"}, {"name": "Affine", "rotate": [-20, 20]}, {"name": "D4"}],
    ],
)
def test_usable_recipes_are_taken(transforms):
    check(*transforms)


@pytest.mark.parametrize("recipe", ["none", "light", "trivial", "heavy", "source-cifar"])
def test_shipped_recipes_need_no_check(recipe):
    check_recipe(ViewConfig(recipe=recipe), IMAGES)


MISTAKES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "unknown transform": (
        [CROP, {"name": "ColourJitter"}],
        "views.transforms.1, 'ColourJitter': must be an image transform of Albumentations, there "
        "is none of this name; did you mean 'ColorJitter'?",
    ),
    "something else of the library": ([{"name": "Compose"}], "'Compose': must be an image transf"),
    "strength beyond the strengths": (
        [RESIZE, {"name": "RandAugment", "magnitude": 31}],
        "views.transforms.1, 'RandAugment': num_ops must be 1 at least, magnitude one of num_magn",
    ),
    "functions": ([RESIZE, {"name": "Lambda"}], "'Lambda': must be an image transform"),
    "a tensor": ([RESIZE, {"name": "ToTensorV2"}], "'ToTensorV2': must be an image transform"),
    "rule about several parameters": (
        [CROP, {"name": "CropAndPad", "px": 4, "percent": 0.1}],
        "views.transforms.1, 'CropAndPad': ",
    ),
    "rule about a lacking parameter": (
        [{"name": "LongestMaxSize"}],
        "views.transforms.0, 'LongestMaxSize': ",
    ),
    "none of some": (
        [CROP, {"name": "SomeOf", "n": 0, "transforms": [{"name": "D4"}]}],
        "views.transforms.1, 'SomeOf': 'n' must be a whole number from 1 to 1, of the transforms "
        "that it draws from, is 0",
    ),
    "more than there are": (
        [CROP, {"name": "SomeOf", "n": 3, "transforms": [{"name": "D4"}, {"name": "ToGray"}]}],
        "'n' must be a whole number from 1 to 2, of the transforms that it draws from, is 3",
    ),
    "one of those that never are": (
        [
            CROP,
            {"name": "OneOf", "transforms": [{"name": "D4", "p": 0}, {"name": "ToGray", "p": 0}]},
        ],
        "views.transforms.1, 'OneOf': a transform must have a 'p' above 0, all have 0",
    ),
    "nothing to choose from": (
        [CROP, {"name": "OneOf"}],
        "views.transforms.1, 'OneOf': 'transforms' must be a list of tables, each with a 'name'",
    ),
    "unknown transform in a choice": (
        [CROP, {"name": "OneOf", "transforms": [{"name": "ToGray"}, {"name": "Blurr"}]}],
        "views.transforms.1, 'OneOf', 1, 'Blurr': must be an image transform of Albumentations, "
        "there is none of this name; did you mean 'Blur'?",
    ),
    "a choice that needs masks, however seldom": (
        [
            CROP,
            {"name": "OneOf", "transforms": [{"name": "D4"}, {"name": "MaskDropout"}], "p": 0.1},
        ],
        "views.transforms.1, 'OneOf': must work on any image alone",
    ),
    "unknown parameter": (
        [CROP, {"name": "GaussNoise", "std_rang": [0.1, 0.2]}],
        "views.transforms.1, 'GaussNoise': unknown parameter 'std_rang'; did you mean 'std_range'?",
    ),
    "wrong value": (
        [CROP | {"scale": [0.5, 2.0]}],
        "views.transforms.0, 'RandomResizedCrop': parameter 'scale': All values in (0.5, 2.0) must",
    ),
    "missing parameter": (
        [{"name": "RandomResizedCrop"}],
        "views.transforms.0, 'RandomResizedCrop': parameter 'size': Field required",
    ),
    "retired transform": (
        [CROP, {"name": "ShiftScaleRotate"}],
        "views.transforms.1, 'ShiftScaleRotate': ShiftScaleRotate is a special case of Affine",
    ),
    "masks": (
        [CROP, {"name": "MaskDropout"}],
        "views.transforms.1, 'MaskDropout': must work on any image alone, fails on one of 12 x 16",
    ),
    "boxes": ([{"name": "BBoxSafeRandomCrop"}, RESIZE], "must work on any image alone, fails on"),
    "floats": (
        [CROP, {"name": "Normalize"}],
        "views.transforms.1, 'Normalize': must give uint8 pixels of 3 channels, gives float32 of "
        "shape (32, 32, 3); mean and std belong to [images]",
    ),
    "grey": (
        [CROP, {"name": "ToGray", "num_output_channels": 1}],
        "'ToGray': must give uint8 pixels of 3 channels, gives uint8 of shape (32, 32)",
    ),
    "small images": (
        [{"name": "RandomCrop", "height": 32, "width": 32}],
        "views.transforms.0, 'RandomCrop': must work on any image alone, fails on one of 12 x 16 "
        "pixels: Crop size (height, width) exceeds image dimensions",
    ),
    "no size": (
        [{"name": "HorizontalFlip"}],
        "views.transforms: must end with 32 x 32 pixels, end with 12 x 16 for an image of 12 x 16; "
        "add a Resize or RandomResizedCrop with p = 1",
    ),
    "size by chance": ([CROP | {"p": 0.9}], "views.transforms: must end with 32 x 32 pixels, end"),
    "wrong size": ([CROP | {"size": [64, 64]}], "must end with 32 x 32 pixels, end with 64 x 64"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_unusable_recipes_are_refused(mistake):
    transforms, line = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=re.escape(line)) as caught:
        check(*transforms)
    assert "\n" not in str(caught.value)


def test_a_recipe_is_read_from_toml(tmp_path):
    text = """
[views]
recipe = "custom"

[[views.transforms]]
name = "RandomResizedCrop"
size = [32, 32]
scale = [0.5, 1.0]

[[views.transforms]]
name = "ChannelShuffle"
p = 0.5
"""
    experiment = load_experiment(tiny.write_toml(tmp_path / "custom.toml", text), [])
    check_recipe(experiment.views, experiment.images)
    crop, shuffle = experiment.views.transforms
    assert (crop.name, crop.p, crop.model_extra) == (
        "RandomResizedCrop",
        None,
        {"size": [32, 32], "scale": [0.5, 1.0]},
    )
    assert (shuffle.name, shuffle.p) == ("ChannelShuffle", 0.5)


DEFAULTS = [({"name": "VerticalFlip"}, 0.5), ({"name": "VerticalFlip", "p": 1}, 1.0)]
DEFAULTS += [({"name": "OneOf", "p": 0.25, "transforms": [{"name": "VerticalFlip", "p": 1}]}, 0.25)]


@pytest.mark.parametrize(("transform", "share"), DEFAULTS)
def test_a_transform_is_applied_as_often_as_it_says_or_as_its_default_is(transform, share):
    views = ViewConfig.model_validate({"recipe": "custom", "transforms": (RESIZE, transform)})
    ramp = np.tile(np.arange(32, dtype=np.uint8)[:, None, None], (1, 32, 3))
    recipe = recipe_view("custom", IMAGES, views)
    flipped = [draw(recipe, ramp, seed)[0, 0, 0] == 31 for seed in range(400)]
    assert np.mean(flipped) == pytest.approx(share, abs=0.08)
