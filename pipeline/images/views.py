"""Make the views of an image that networks see, and lay maps over a view back over the image.

A view is a draw of an augmentation recipe, or the plain view: scaled and cropped in the middle, and
for test-time augmentation also zoomed, turned, cropped elsewhere or mirrored. A class needs no
undoing, what is said of places does: a heat map over a mirrored view must be mirrored before it is
laid over the image.
"""

from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from pipeline.config.experiment import Experiment, ImageConfig, ViewConfig
from pipeline.images.decode import ByteImage
from pipeline.images.transforms import STILL_RECIPES, draw, recipe_view
from pipeline.images.working_copy import resized, working_side_px
from pipeline.reproducibility import sample_seed

FloatMap = npt.NDArray[np.float32]
Window = tuple[slice, slice]

CENTRE = (0.5, 0.5)


@dataclass(frozen=True)
class View:
    """One variant of an image: the `number`-th draw of a recipe, or a plain view.

    A plain view is scaled, turned, cropped and mirrored, in this order; as the defaults have it,
    only scaled and cropped in the middle.

    Attributes:
        recipe: Name of the recipe; empty for a plain view, which all below `seed` is for.
        is_mirrored: Left to right.
        number: Which draw of the recipe, counted from 0.
        seed: The experiment's seed; 0 for plain views, which nothing is drawn for.
        zoom: Factor on the scale, 1 or more.
        degrees: Turn about the centre, counter-clockwise; edges are reflected.
        place: Where the crop lies, from (0, 0) at the top left to (1, 1) at the bottom right.
    """

    recipe: str = ""
    is_mirrored: bool = False
    number: int = 0
    seed: int = 0
    zoom: float = 1.0
    degrees: float = 0.0
    place: tuple[float, float] = CENTRE

    def key(self) -> list[Any]:
        """Return what identifies the view in a cache."""
        moves = (self.zoom, self.degrees, *self.place)
        is_moved = moves != (1.0, 0.0, *CENTRE)
        return [self.recipe, self.is_mirrored, self.number, self.seed, *(moves if is_moved else ())]

    def crop(self, copy: ByteImage, images: ImageConfig) -> ByteImage:
        """Make a plain view, `(size_px, size_px, 3)`, of an image's working copy `(H, W, 3)`."""
        assert not self.recipe
        height, width = self._scaled_shape(copy.shape[:2], images)
        scaled = copy
        if copy.shape[:2] != (height, width):
            scaled = resized(copy, height, width, images.interpolation)
        if self.degrees:
            turn = _turn(height, width, self.degrees)
            mode = cv2.BORDER_REFLECT_101
            size = (width, height)
            scaled = _bytes(
                cv2.warpAffine(scaled, turn, size, flags=cv2.INTER_CUBIC, borderMode=mode)
            )
        taken, filled = self._window(height, width, images.size_px)
        crop = scaled[taken]
        if crop.shape[0] < images.size_px or crop.shape[1] < images.size_px:
            whole = np.empty((images.size_px, images.size_px, 3), dtype=np.uint8)
            whole[:] = [round(255 * one) for one in images.mean]
            whole[filled] = crop
            crop = whole
        return np.ascontiguousarray(_bytes(cv2.flip(crop, 1)) if self.is_mirrored else crop)

    def undo(self, seen: FloatMap, shape: tuple[int, int], images: ImageConfig) -> FloatMap:
        """Lay a map over the view, `(size_px, size_px)`, back over the working copy.

        Args:
            seen: The map, or one channel of what `crop` made.
            shape: Height and width of the working copy.
            images: The working size.

        Returns:
            `(H, W)`; NaN where the view saw nothing.
        """
        height, width = self._scaled_shape(shape, images)
        taken, filled = self._window(height, width, images.size_px)
        scaled = np.full((height, width), np.nan, dtype=np.float32)
        scaled[taken] = (seen[:, ::-1] if self.is_mirrored else seen)[filled]
        if self.degrees:
            back = _turn(height, width, -self.degrees)
            scaled = np.asarray(
                cv2.warpAffine(scaled, back, (width, height), borderValue=np.nan), np.float32
            )
        if (height, width) != shape:
            scaled = np.asarray(cv2.resize(scaled, shape[::-1]), np.float32)
        return scaled

    def _scaled_shape(self, shape: tuple[int, ...], images: ImageConfig) -> tuple[int, int]:
        height, width = shape[:2]
        side = round(working_side_px(images) * self.zoom)
        if images.crop_mode == "squash":
            return side, side
        whole = max if images.crop_mode == "border" else min
        scale = side / whole(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _window(self, height: int, width: int, size_px: int) -> tuple[Window, Window]:
        """Return what is taken of the scaled image, and where in the view it lies."""
        spans = [
            _span(int((length - size_px) * place), length, size_px)
            for length, place in zip((height, width), self.place, strict=True)
        ]
        (rows, seen_rows), (columns, seen_columns) = spans
        return (rows, columns), (seen_rows, seen_columns)


def _span(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Return the part of `length` pixels that `size` from `start` on hold, and where they do."""
    first, end = max(start, 0), min(start + size, length)
    return slice(first, end), slice(first - start, end - start)


def _turn(height: int, width: int, degrees: float) -> npt.NDArray[np.float64]:
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, degrees, 1.0), dtype=np.float64)


def _bytes(image: object) -> ByteImage:
    return np.asarray(image, dtype=np.uint8)


def plain_views(experiment: Experiment) -> list[View]:
    """List the views that predictions are averaged over."""
    config = experiment.views
    is_flipped = config.flip and config.horizontal_flip
    return [View(), View(is_mirrored=True)] if is_flipped else [View()]


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


def drawn_views(experiment: Experiment) -> tuple[list[View], bool]:
    """Return the views that fine-tuning shows, each once, and whether any is shown again."""
    epochs = range(experiment.train.epochs)
    views = list(dict.fromkeys(training_view(experiment, epoch) for epoch in epochs))
    return views, len(views) < len(epochs) or experiment.views.cycle is not None


class ViewMaker:
    """Makes views of working copies.

    Args:
        images: The working size.
        views: Holds the transforms of the recipe "custom".
    """

    def __init__(self, images: ImageConfig, views: ViewConfig) -> None:
        self._images = images
        self._views = views
        self._recipes: dict[str, A.Compose] = {}  # building one takes longer than applying it

    def make(self, view: View, image: ByteImage, sha256: str) -> ByteImage:
        """Make one view, `(size, size, 3)` uint8, of an image `(H, W, 3)`.

        Args:
            view: Which one.
            image: The image's working copy.
            sha256: Digest of its file, which seeds what is drawn: an image keeps its augmented
                views when others join or leave the table.
        """
        if not view.recipe:
            return view.crop(image, self._images)
        if view.recipe not in self._recipes:
            self._recipes[view.recipe] = recipe_view(view.recipe, self._images, self._views)
        seed = sample_seed(view.seed, view.number, int(sha256[:16], 16))
        return draw(self._recipes[view.recipe], image, seed)
