"""RandAugment, TrivialAugment and AugMix do what torchvision's do."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import (  # type: ignore[import-untyped]
    AugMix,
    InterpolationMode,
    RandAugment,
    TrivialAugmentWide,
)
from torchvision.transforms.autoaugment import _apply_op  # type: ignore[import-untyped]

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.images import auto_augment
from pipeline.images.auto_augment import OPERATIONS, apply_operation
from pipeline.images.transforms import draw, recipe_view

IMAGES = ImageConfig(size_px=40)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
STRENGTHS: dict[str, list[float]] = {
    "Posterize": [2, 7],
    "Solarize": [31.9, 200.0],
    "TranslateX": [-7.6, 5.2],
}
STRENGTHS |= {"TranslateY": [-7.6, 5.2], "Rotate": [-28.0, 133.0]}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_torchvisions_pixels(name):
    for strength in STRENGTHS.get(name, [-0.25, 0.3]):
        image, mode = Image.fromarray(PIXELS), InterpolationMode.NEAREST
        expected = np.asarray(_apply_op(image, name, strength, mode, None))
        np.testing.assert_array_equal(apply_operation(PIXELS, name, strength), expected)


@pytest.fixture
def spaces(monkeypatch):
    """What a transform draws from, as `draw` sees it: operations and numbers of strengths."""
    seen = []

    def note(_self, image, operations, bins):
        seen.append((operations, list(bins)))
        return image

    monkeypatch.setattr(auto_augment._Drawn, "_draw", note)
    return seen


def views(*transforms):
    return ViewConfig.model_validate({"recipe": "custom", "transforms": transforms})


@pytest.mark.parametrize(
    ("name", "theirs", "bins"),
    [("RandAugment", RandAugment(), [9]), ("TrivialAugment", TrivialAugmentWide(), [*range(31)]),
     ("AugMix", AugMix(), [0, 1, 2])],
)  # fmt: skip
def test_operations_and_strengths_are_torchvisions(spaces, name, theirs, bins):
    draw(recipe_view("custom", IMAGES, views({"name": name})), PIXELS, 0)
    own, drawn = spaces[0]
    num = 10 if name == "AugMix" else 31
    sizes = () if name == "TrivialAugment" else ((40, 40),)
    expected = theirs._augmentation_space(num, *sizes)
    assert drawn == bins
    assert own.keys() == expected.keys()
    for operation, (strengths, is_signed) in expected.items():
        assert own[operation][1] == is_signed
        mine = np.zeros(()) if own[operation][0] is None else own[operation][0]
        np.testing.assert_allclose(mine, torch.as_tensor(strengths).numpy(), atol=1e-4)
    assert len(spaces) == 2 if name == "RandAugment" else spaces


@pytest.mark.parametrize("name", ["RandAugment", "TrivialAugment", "AugMix", "RandomErasing"])
def test_what_is_drawn_depends_on_the_seed_alone(name):
    transform = recipe_view("custom", IMAGES, views({"name": name, "p": 1.0}))
    first = [draw(transform, PIXELS, seed).tobytes() for seed in range(8)]
    assert first == [draw(transform, PIXELS, seed).tobytes() for seed in range(8)]
    assert len(set(first)) > 4


def test_every_operation_is_drawn_in_both_directions():
    transform = recipe_view("custom", IMAGES, views({"name": "TrivialAugment"}))
    drawn = {draw(transform, PIXELS, seed).tobytes() for seed in range(300)}
    assert len(drawn) > 150


def test_a_mix_of_no_change_is_the_image():
    grey = np.full((40, 40, 3), 128, dtype=np.uint8)
    transform = recipe_view("custom", IMAGES, views({"name": "AugMix", "severity": 1}))
    mixed = np.stack([draw(transform, grey, seed) for seed in range(20)])
    assert np.median(mixed) >= 126
