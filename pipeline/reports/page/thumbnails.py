"""Make thumbnails of images that the page itself holds."""

import io

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import WorkingCopies, image_rows
from pipeline.reports.page.blocks import Picture
from pipeline.reports.style import data_uri
from pipeline.store.paths import Paths

SIDE_PX = 160
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
        for image in image_rows(images)
    ]


def encode(image: ByteImage, alt: str, side_px: int = SIDE_PX, label: str = "") -> Picture:
    """Make a picture of a square image, `(S, S, 3)` uint8."""
    if image.shape[0] != side_px:
        shrinks = image.shape[0] > side_px
        how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST  # small ones show their pixels
        image = np.asarray(cv2.resize(image, (side_px, side_px), interpolation=how), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=_QUALITY, method=4)
    return Picture(data_uri(buffer.getvalue(), "image/webp"), alt, side_px, side_px, label)


def _square(image: ByteImage) -> ByteImage:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]
