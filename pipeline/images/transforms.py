"""Build the augmentation recipes from transforms of Albumentations, by name."""

import functools
import json
import random
from typing import Any

import albumentations as A
import cv2
import numpy as np

from pipeline.config.experiment import ImageConfig, TransformConfig, ViewConfig
from pipeline.images.auto_augment import TrivialAugment
from pipeline.images.custom_transforms import build_transforms, check_transforms
from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import describe_working_copies, working_side_px

# Recipes without randomness, whose draws are all the same.
STILL_RECIPES = ("source-catdog",)

# Counts up when `draw` comes to draw otherwise from the same transforms.
_DRAW_VERSION = 2


def plain_transforms(images: ImageConfig) -> A.Compose:
    """Describe the plain view, `View().crop`, by transforms of Albumentations that do the same.

    Keys of caches hold this description.
    """
    return A.Compose(
        [
            A.SmallestMaxSize(
                working_side_px(images),
                interpolation=cv2.INTER_CUBIC
                if images.interpolation == "bicubic"
                else cv2.INTER_LINEAR,
            ),
            A.CenterCrop(images.size_px, images.size_px),
        ]
    )


def recipe_view(recipe: str, images: ImageConfig, views: ViewConfig) -> A.Compose:
    """Build a recipe of random views; draw from it with `draw`.

    Args:
        recipe: A shipped recipe's name, or "custom".
        images: The working size.
        views: Holds the transforms of "custom".

    Raises:
        ConfigError: A transform of "custom" doesn't exist or can't be built.
    """
    if recipe == "custom":
        return A.Compose(build_transforms(_allowed(views)))
    size = (images.size_px, images.size_px)
    resized = A.Resize(*size, interpolation=cv2.INTER_LINEAR)
    steps = {
        # The sources' own: facts of their notebooks, kept for the reproductions.
        "source-cifar": [
            resized,
            A.HorizontalFlip(p=0.5),
            A.RandomResizedCrop(size, scale=(0.8, 1.0), ratio=(1.0, 1.0)),
        ],
        "source-catdog": [resized],
        "light": [
            A.RandomResizedCrop(size, scale=(0.6, 1.0)),
            A.HorizontalFlip(p=0.5),
        ],
        "trivial": [
            A.RandomResizedCrop(size, scale=(0.6, 1.0)),
            A.HorizontalFlip(p=0.5),
            TrivialAugment(),
        ],
        "medium": [
            A.RandomResizedCrop(size, scale=(0.35, 1.0)),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
        ],
        "heavy": [
            A.RandomResizedCrop(size, scale=(0.2, 1.0)),
            A.HorizontalFlip(p=0.5),
            A.Rotate(limit=20, border_mode=cv2.BORDER_REFLECT_101, p=0.5),
            A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05, p=0.8),
            A.OneOf([A.GaussianBlur(), A.GaussNoise(std_range=(0.02, 0.1))], p=0.3),
            A.CoarseDropout(p=0.3),
        ],
    }
    may_flip = views.horizontal_flip
    return A.Compose([x for x in steps[recipe] if may_flip or not isinstance(x, A.HorizontalFlip)])


# Transforms that exchange left and right, always or by chance.
_MIRRORING = ("HorizontalFlip", "Transpose", "D4", "SquareSymmetry")


def _allowed(views: ViewConfig) -> list[TransformConfig]:
    """List the transforms of a custom recipe, without those that mirror where nothing may."""
    if views.horizontal_flip:
        return list(views.transforms)
    allowed = []
    for config in views.transforms:
        values = _unmirrored(config.model_dump())
        if values is not None:
            allowed.append(TransformConfig.model_validate(values))
    return allowed


def _unmirrored(values: dict[str, Any]) -> dict[str, Any] | None:
    """Leave out what mirrors among a composition's parts; None for what does nothing else."""
    if values.get("name") in _MIRRORING:
        return None
    parts = values.get("transforms")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return values
    kept = [part for one in parts if (part := _unmirrored(one)) is not None]
    return {**values, "transforms": kept} if kept else None


def check_recipe(views: ViewConfig, images: ImageConfig) -> None:
    """Refuse a custom recipe that can't be used, before any image is read.

    Raises:
        ConfigError: A transform doesn't exist, has a wrong parameter, or gives anything but images
            of the working size.
    """
    if views.recipe == "custom":
        check_transforms(_allowed(views), images)


@functools.cache
def transform_text(recipe: str, images: ImageConfig, views: ViewConfig) -> str:
    """Describe completely how a view is made of a file, as cache keys need.

    The versions of what decodes and transforms are part of it.

    Args:
        recipe: A recipe's name; empty for the plain view.
        images: The working size.
        views: Holds the transforms of "custom".
    """
    transform = recipe_view(recipe, images, views) if recipe else plain_transforms(images)
    description = {
        "copy": describe_working_copies(working_side_px(images), images.interpolation),
        "transform": transform.to_dict(),
        "draw": _DRAW_VERSION if recipe else None,
    }
    if not recipe and images.crop_mode != "center":  # the others came later
        description["crop_mode"] = [images.crop_mode, *images.mean]
    return json.dumps(description, sort_keys=True, default=str)


def draw(transform: A.Compose, image: ByteImage, seed: int) -> ByteImage:
    """Apply a transform with a random stream of its own, `(H, W, 3)` uint8 in and out.

    Albumentations ignores the seeds of `random` and numpy, and its own lives on from image to
    image; so it is set anew for every image. One stream serves all transforms: `set_random_seed`
    would start each of them at the same numbers, and so mirror an image by the size of its crop.
    """
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    drawn: ByteImage = transform(image=image)["image"]
    return drawn
