"""Albumentations transforms: the plain view of an image and the augmentation recipes by name."""

import functools
import json
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # before the import: it calls home otherwise

import albumentations as A
import cv2

from pipeline.config import ImageConfig
from pipeline.images.decode import ByteImage


def plain_view(config: ImageConfig) -> A.Compose:
    """Scale the short side and crop the centre: what validation and test images get."""
    short_side = round(config.size_px / config.crop_fraction)
    return A.Compose(
        [
            A.SmallestMaxSize(short_side, interpolation=cv2.INTER_CUBIC),
            A.CenterCrop(config.size_px, config.size_px),
        ]
    )


def recipe_view(recipe: str, config: ImageConfig) -> A.Compose:
    """Build a recipe of random views; draw from it with `draw`."""
    size = (config.size_px, config.size_px)
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
            A.RandomResizedCrop(size, scale=(0.6, 1.0), interpolation=cv2.INTER_CUBIC),
            A.HorizontalFlip(p=0.5),
        ],
        "medium": [
            A.RandomResizedCrop(size, scale=(0.35, 1.0), interpolation=cv2.INTER_CUBIC),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, p=0.8),
        ],
        "heavy": [
            A.RandomResizedCrop(size, scale=(0.2, 1.0), interpolation=cv2.INTER_CUBIC),
            A.HorizontalFlip(p=0.5),
            A.Rotate(limit=20, border_mode=cv2.BORDER_REFLECT_101, p=0.5),
            A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05, p=0.8),
            A.OneOf([A.GaussianBlur(), A.GaussNoise()], p=0.3),
            A.CoarseDropout(p=0.3),
        ],
    }
    return A.Compose(steps[recipe])


@functools.cache
def transform_text(recipe: str, config: ImageConfig) -> str:
    """Describe a view's transform completely, its library's version included, as cache keys need.

    Args:
        recipe: A recipe's name; empty for the plain view.
        config: The working size.
    """
    transform = recipe_view(recipe, config) if recipe else plain_view(config)
    return json.dumps(transform.to_dict(), sort_keys=True, default=str)


def draw(transform: A.Compose, image: ByteImage, seed: int) -> ByteImage:
    """Apply a transform with a random stream of its own, `(H, W, 3)` uint8 in and out.

    Albumentations ignores the seeds of `random` and numpy, and its own lives on from image to
    image; so it is set anew for every image.
    """
    transform.set_random_seed(seed)
    drawn: ByteImage = transform(image=image)["image"]
    return drawn
