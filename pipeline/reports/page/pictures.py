"""Make the pictures that the page holds: images made smaller, and what a network looks at."""

import io
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.reports.page.blocks import Block, Hint, Paragraph, Picture
from pipeline.reports.page.report_data import ReportData
from pipeline.reports.style import apart, data_uri, in_words
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray

if TYPE_CHECKING:
    from pipeline.inference.fold_models import FoldModels

HEAT = cv2.COLORMAP_INFERNO  # grows lighter evenly
SIDE_PX = 160
MAP_PX = 120
MOST_COPIES = 3
COPY_PX = 80
COPIES = ("exact-duplicate", "near-duplicate")
WHOLE_PX = 320  # the longer side of what one decides on
_QUALITY = 70  # of WebP: about 4 kB per picture


def thumbnails(paths: Paths, images: pd.DataFrame, side_px: int = SIDE_PX) -> list[Picture]:
    """Read images and scale down the middle square of each.

    Args:
        paths: Where they lie.
        images: Rows of `train.csv` or `test.csv`.
        side_px: Of the pictures.

    Raises:
        DataError: An image can't be read any more.
    """
    copies = WorkingCopies(paths, side_px)
    return [
        encode(_square(copies.read(image)), f"image {image.image_id}", side_px)
        for image in ImageRows(images)
    ]


def whole_pictures(paths: Paths, images: pd.DataFrame) -> list[Picture]:
    """Read images and scale the whole of each to a longer side of WHOLE_PX.

    Args:
        paths: Where they lie.
        images: Rows of `train.csv`.

    Raises:
        DataError: An image can't be read any more.
    """
    copies = WorkingCopies(paths, WHOLE_PX)
    pictures = []
    for image in ImageRows(images):
        pixels = copies.read(image)
        height, width = pixels.shape[:2]
        scale = WHOLE_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        uri = _webp(_resized(pixels, size))
        pictures.append(Picture(uri, f"image {image.image_id}", *size))
    return pictures


def copy_pictures(data: ReportData, image: pd.Series) -> tuple[list[Picture], int]:
    """Draw the copies of a training image, at most MOST_COPIES, with set, label and fold.

    Returns:
        The pictures, and how many copies there are.

    Raises:
        DataError: An image can't be read any more.
    """
    train = _copies(data, str(image["group"]))
    train = train[~((train["image_id"] == image["image_id"]) & (train["split"] == "train"))]
    shown = train.head(MOST_COPIES)
    pictures = thumbnails(data.paths, shown, COPY_PX)
    labelled = [
        Picture(
            one.uri, one.alt, one.width, one.height, f"{row['what']}: {apart(str(row['image_id']))}"
        )
        for one, (_, row) in zip(pictures, shown.iterrows(), strict=True)
    ]
    return labelled, len(train)


def sure_pictures(data: ReportData, classes: Collection[int], but: set[str]) -> dict[int, Picture]:
    """Draw of each class the image that is most surely predicted as what it is, to compare with.

    Args:
        data: With a best result.
        classes: Indices of the classes.
        but: Ids of images to leave out.

    Raises:
        DataError: An image can't be read any more.
    """
    assert data.best is not None
    targets, probs = data.best.targets, data.best.probs
    is_right = (probs.argmax(axis=1) == targets) & ~data.train["image_id"].isin(but).to_numpy()
    rows = {one: int(np.where(is_right & (targets == one), probs[:, one], -1).argmax())
            for one in classes if (is_right & (targets == one)).any()}  # fmt: skip
    images = data.train.iloc[list(rows.values())]
    pictures = thumbnails(data.paths, images, MAP_PX)
    labels = [f"the surest {data.names[one]}" for one in rows]
    return {one: replace(picture, label=label) for one, picture, label in
            zip(rows, pictures, labels, strict=True)}  # fmt: skip


def _copies(data: ReportData, group: str) -> pd.DataFrame:
    """List the images of a cluster in both sets; `what` says the set, and label and fold."""
    copies = data.findings[data.findings["finding"].isin(COPIES)]  # others share their subject
    ids = {split: set(rows["image_id"]) for split, rows in copies.groupby("split")}
    train = data.taking_part
    train = train[(train["group"] == group) & _within(train, ids.get("train"))]
    what = [f"copy, {in_words(label)}" for label in train["label"]]
    if data.folds is not None:
        folds = dict(zip(data.folds["image_id"], data.folds["fold"], strict=True))
        where = [folds.get(image_id) for image_id in train["image_id"]]
        what = [
            f"{one}, {'in no fold' if fold is None else f'fold {fold}'}"
            for one, fold in zip(what, where, strict=True)
        ]
    test = data.test[(data.test["group"] == group) & (data.test["width"] > 0)]
    test = test[_within(test, ids.get("test"))]
    return pd.concat(
        [train.assign(split="train", what=what), test.assign(split="test", what="test image")],
        ignore_index=True,
    )


def _within(images: pd.DataFrame, ids: set[str] | None) -> pd.Series:
    return images["image_id"].isin(ids or set())


def encode(image: ByteImage, alt: str, side_px: int = SIDE_PX, label: str = "") -> Picture:
    """Make a picture of a square image, `(S, S, 3)` uint8."""
    return Picture(_webp(_resized(image, (side_px, side_px))), alt, side_px, side_px, label)


def _resized(image: ByteImage, size: tuple[int, int]) -> ByteImage:
    """Resize to (width, height); small images show their pixels."""
    if image.shape[1::-1] == size:
        return image
    how = cv2.INTER_AREA if image.shape[1] > size[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _webp(image: ByteImage) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return data_uri(buffer.getvalue(), "image/webp")


def _square(image: ByteImage) -> ByteImage:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


@dataclass(frozen=True)
class GradCamPictures:
    """Draws with the networks of the best trained experiment, where there are any.

    Attributes:
        data: The page's data.
        models: The networks; None where they can't be loaded.
        explanation: The text above the pictures.
    """

    data: ReportData
    models: "FoldModels | None"
    explanation: Block

    def maps(self, rows: IntArray, classes: IntArray) -> list[list[Picture]]:
        """Draw what speaks for classes, by the network of the fold that held the image out.

        Args:
            rows: Of the training table, `(n,)`, each once.
            classes: The classes to map, `(n, M)` indices.

        Returns:
            Of each image M maps; none where there are no networks.

        Raises:
            DataError: An image can't be read any more.
        """
        images = self.data.train.iloc[rows]
        if self.models is None or not len(rows):
            return [[] for _ in rows]
        from pipeline.inference.held_out import explain

        assert self.data.folds is not None
        folds = self.data.folds["fold"].to_numpy()[rows]
        found = explain(self.data.paths, self.models, images, folds, classes)
        names = self.data.names
        pictures = []
        for image_id, asked, one in zip(images["image_id"], classes.tolist(), found, strict=True):
            pictures.append(
                [
                    encode(
                        overlay(one.pixels, heat, MAP_PX),
                        f"what speaks for {names[index]} in image {image_id}",
                        MAP_PX,
                        f"for {names[index]}",
                    )
                    for index, heat in zip(asked, one.maps, strict=True)
                ]
            )
        return pictures


def load_grad_cam(data: ReportData) -> GradCamPictures:
    """Load the networks of the best trained experiment, or explain why there are none."""
    assert data.best is not None
    trained = data.best.trained
    if trained is None:
        text = "Where a network looks can't be shown: no result here has a checkpoint."
        return GradCamPictures(data, None, Hint(text, data.command("train")))
    from pipeline.inference.fold_models import FoldModels  # here: torch takes seconds to import

    try:
        models = FoldModels(data.paths, data.competition, trained.name)
    except PipelineError as error:  # its weights may be gone
        text = f"Where the network looks can't be shown: {error}"
        return GradCamPictures(data, None, Hint(text))
    if not models.has_maps():
        text = f"{trained.name} computes no map of features that shows where it looks."
        return GradCamPictures(data, None, Hint(text))
    text = (
        f"Beside each image, as {trained.name} sees it: the places that speak for the predicted or "
        "suggested class, and for the given one (Grad-CAM, by the network of the fold that held "
        "the image out). Light: much speaks for the class there; every map has its own scale."
    )
    return GradCamPictures(data, models, Paragraph(text))


def overlay(pixels: ByteImage, heat: npt.NDArray[np.float32], side_px: int = SIDE_PX) -> ByteImage:
    """Lay a map over the image in grey.

    Args:
        pixels: `(S, S, 3)` uint8.
        heat: `(h, w)` in [0, 1].
        side_px: Of the result.

    Returns:
        `(side_px, side_px, 3)` uint8.
    """
    size = (side_px, side_px)
    how = cv2.INTER_AREA if len(pixels) > side_px else cv2.INTER_NEAREST
    grey = cv2.cvtColor(cv2.resize(pixels, size, interpolation=how), cv2.COLOR_RGB2GRAY)
    smooth = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colors = cv2.applyColorMap((smooth * 255).astype(np.uint8), HEAT)[:, :, ::-1]  # (S, S, 3) RGB
    share = 0.7 * smooth[:, :, None]
    mixed = (1 - share) * grey[:, :, None] + share * colors
    return np.asarray(mixed.round(), dtype=np.uint8)
