"""Views: the named variants of an image that networks see."""

from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np

from pipeline.config.experiment import Experiment, ImageConfig, ViewConfig
from pipeline.images.decode import ByteImage
from pipeline.images.transforms import STILL_RECIPES, draw, plain_view, recipe_view
from pipeline.reproducibility import sample_seed


@dataclass(frozen=True)
class View:
    """One variant of an image: plain, mirrored, or the `number`-th draw of a recipe.

    Attributes:
        recipe: Name of the recipe; empty for the plain view.
        is_mirrored: Whether the plain view is mirrored left to right.
        number: Which draw of the recipe, counted from 0.
        seed: The experiment's seed; 0 for the plain views, which nothing is drawn for.
    """

    recipe: str = ""
    is_mirrored: bool = False
    number: int = 0
    seed: int = 0

    def key(self) -> list[Any]:
        """Return what identifies the view in a cache."""
        return [self.recipe, self.is_mirrored, self.number, self.seed]


def plain_views(experiment: Experiment) -> list[View]:
    """List the views that predictions are averaged over."""
    return [View(), View(is_mirrored=True)] if experiment.views.flip else [View()]


def augmented_views(experiment: Experiment) -> list[View]:
    """List the views that only the training of a probe's head sees; none for recipe "none"."""
    config = experiment.views
    if config.recipe == "none":
        return []
    return [
        View(config.recipe, number=number, seed=experiment.seed)
        for number in range(config.num_augmented)
    ]


def training_view(experiment: Experiment, epoch: int) -> View:
    """Return the view that fine-tuning shows in an epoch, counted from 0.

    Epochs that show the same have equal views: for a recipe without randomness all of them, with
    `views.cycle` every so many.
    """
    config = experiment.views
    if config.recipe == "none":
        return View()
    if config.recipe in STILL_RECIPES:
        return View(config.recipe)
    number = epoch % config.cycle if config.cycle else epoch
    return View(config.recipe, number=number, seed=experiment.seed)


class ViewMaker:
    """Makes views of working copies.

    Args:
        images: The working size.
        views: Holds the transforms of the recipe "custom".
    """

    def __init__(self, images: ImageConfig, views: ViewConfig) -> None:
        self._images = images
        self._views = views
        self._plain = plain_view(images)
        self._recipes: dict[str, A.Compose] = {}  # building one takes longer than applying it

    def make(self, view: View, image: ByteImage, sha256: str) -> ByteImage:
        """Make one view, `(size, size, 3)` uint8, of an image `(H, W, 3)`.

        Args:
            view: Which one.
            image: The image's working copy.
            sha256: Digest of its file, which seeds what is drawn: an image keeps its augmented
                views when others join or leave the table.
        """
        if view.recipe:
            seed = sample_seed(view.seed, view.number, int(sha256[:16], 16))
            if view.recipe not in self._recipes:
                self._recipes[view.recipe] = recipe_view(view.recipe, self._images, self._views)
            return draw(self._recipes[view.recipe], image, seed)
        plain = self._plain(image=image)["image"]
        return np.asarray(cv2.flip(plain, 1), dtype=np.uint8) if view.is_mirrored else plain
