"""Reduce images to working copies: what the plain view needs, the start of every view.

A working copy is small and always the same, so it can be kept (`images.cache`) and used again in
every epoch, and an image's views are the same bits with a cache and without. The plain view loses
nothing by it, as scaling the short side is its own first step. A random crop, scaled a second
time, does lose: about a fifth of its finest contrast (variance of the Laplacian, on photos with a
short side of 320 to 450 px). Copies larger by a half would keep it, for more than twice the bytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import pandas as pd
import PIL
from PIL import Image

from pipeline.config.experiment import ImageConfig
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, decode_rgb
from pipeline.store.paths import Paths

# What is longer than so many times its short side loses its ends: a strip of 1 x 20,000 pixels
# would become gigabytes where its short side is scaled up.
MAX_ASPECT = 4

# Counts up when a change of this code changes the pixels of a working copy.
_VERSION = 2


# A working copy, or why there is none.
ReadOutcome: TypeAlias = ByteImage | str


class ImageRow(NamedTuple):
    """The columns of an image's row that reading it needs."""

    image_id: str
    path: str
    sha256: str


class ImageRows:
    """The rows of a table's images, in its order, packed.

    They take little more than their letters, and processes that are forked share them; a million
    tuples of text would take 0.7 GB in each.

    Args:
        images: `train.csv` or `test.csv`, or some rows of them.
    """

    def __init__(self, images: pd.DataFrame) -> None:
        self._count = len(images)
        columns = [[text.encode() for text in images[name].tolist()] for name in ImageRow._fields]
        self._contents = [b"".join(texts) for texts in columns]
        self._ends = [np.cumsum([len(text) for text in texts], dtype=np.int64) for texts in columns]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> ImageRow:
        """Unpack a row, counted from 0."""
        texts = []
        for content, ends in zip(self._contents, self._ends, strict=True):
            start = int(ends[row - 1]) if row else 0
            texts.append(content[start : int(ends[row])].decode())
        return ImageRow(*texts)

    def __iter__(self) -> Iterator[ImageRow]:
        return map(self.__getitem__, range(self._count))


def working_side_px(images: ImageConfig) -> int:
    """Return the short side that the plain view is cropped from, in pixels."""
    return round(images.size_px / images.crop_fraction)


def describe_working_copies(side_px: int, interpolation: str = "bicubic") -> list[str | int]:
    """List all that decides the pixels of working copies besides the files, as cache keys need."""
    others = [] if interpolation == "bicubic" else [interpolation]
    return [_VERSION, side_px, PIL.__version__, cv2.__version__, *others]


def resized(image: ByteImage, height: int, width: int, interpolation: str) -> ByteImage:
    """Scale an image `(H, W, 3)` as `images.interpolation` says.

    "bicubic" is OpenCV's, "bilinear" Pillow's, which averages over all that a pixel covers.
    """
    if interpolation == "bilinear":
        scaled: object = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    else:  # bit for bit what Albumentations' SmallestMaxSize makes of it
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(scaled, dtype=np.uint8)


def working_shape(height: int, width: int, side_px: int) -> tuple[int, int]:
    """Return height and width of the working copy of an image of this height and width."""
    longest = MAX_ASPECT * min(height, width)
    height, width = min(height, longest), min(width, longest)
    scale = side_px / min(height, width)
    return (height, width) if scale >= 1 else (round(height * scale), round(width * scale))


def working_copy(
    content: bytes, side_px: int, *, is_known: bool = False, interpolation: str = "bicubic"
) -> ByteImage:
    """Decode an image file and reduce it, `(H, W, 3)` uint8 RGB.

    The aspect is kept, but of images longer than MAX_ASPECT times their short side the middle is
    taken. Small images aren't enlarged.

    Args:
        content: The file's bytes.
        side_px: The short side of what is larger.
        is_known: These very bytes were decoded before, see `decode_rgb`.
        interpolation: How it is scaled, see `resized`.

    Raises:
        DataError: The content isn't a whole image of a known format, or claims to be enormous.
    """
    image = decode_rgb(content, min_side_px=side_px, is_known=is_known)
    height, width = working_shape(image.shape[0], image.shape[1], side_px)
    image = _middle(image)
    if image.shape[:2] == (height, width):
        return image
    return resized(image, height, width, interpolation)


def _middle(image: ByteImage) -> ByteImage:
    height, width = image.shape[:2]
    longest = MAX_ASPECT * min(height, width)
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return image[top : top + longest, left : left + longest]


def read_copies(
    folder: Path, side_px: int, interpolation: str, names: Sequence[str]
) -> list[ReadOutcome]:
    """Read files that may be anything: the working copy of each, or why it can't be read."""
    return [_read_copy(folder / name, side_px, interpolation) for name in names]


def _read_copy(path: Path, side_px: int, interpolation: str) -> ReadOutcome:
    try:
        return working_copy(path.read_bytes(), side_px, interpolation=interpolation)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    except DataError as error:
        return str(error)


class WorkingCopies:
    """The working copies of a competition's images, decoded each time they are wanted.

    Args:
        paths: Where the images lie.
        side_px: Their short side, see `working_copy`.
        interpolation: How they are scaled.
    """

    def __init__(self, paths: Paths, side_px: int, interpolation: str = "bicubic") -> None:
        self._paths = paths
        self.side_px = side_px
        self.interpolation = interpolation

    def read(self, image: ImageRow) -> ByteImage:
        """Return an image's working copy, `(H, W, 3)` uint8; it may be read-only.

        Raises:
            DataError: The image can't be read any more, or is another than `prepare` decoded.
        """
        path = self._paths.images_dir / image.path
        try:
            content = path.read_bytes()
            # Cheaper than to look for truncation once more, and no image is swapped silently.
            if hashlib.sha256(content).hexdigest() != image.sha256:
                raise DataError("other content")
            return working_copy(
                content, self.side_px, is_known=True, interpolation=self.interpolation
            )
        except (OSError, DataError) as error:
            found = error.strerror if isinstance(error, OSError) else error
            # By names and sizes alone `prepare` wouldn't see it.
            anew = f"delete {self._paths.prepare_stamp} and " if path.is_file() else ""
            raise DataError(
                f"{path}: image '{image.image_id}' must be as it was prepared, found: {found}; "
                f"{anew}run 'pipeline prepare {self._paths.competition}'"
            ) from error
