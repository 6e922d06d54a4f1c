"""Encode pictures as files, with the oddities of real data: formats, twins and damage.

Imported by every process that draws, so it stays light: no pandas here.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from pipeline.data.drawing.coats import Pixels
from pipeline.data.drawing.picture import draw_animal
from pipeline.data.drawing.species import Species

EXIF_ORIENTATION = 0x0112
KEPT_OF_TRUNCATED = 0.6


@dataclass(frozen=True)
class FileJob:
    """One file to draw; equal jobs give equal bytes, in whatever process."""

    species: Species
    stream: tuple[int, ...]  # seed, split and index: the image's own random numbers
    min_side_px: int
    max_side_px: int
    encoding: str = "jpeg"


def draw_file(job: FileJob) -> bytes:
    """Draw one picture and encode it."""
    return ENCODERS[job.encoding](draw_job(job), _quality(job))


def draw_job(job: FileJob) -> Pixels:
    """Draw the picture of one file, before it is encoded."""
    rng = np.random.default_rng(np.random.SeedSequence(job.stream))
    low, high = sorted((job.min_side_px, job.max_side_px))
    width, height = rng.integers(low, high + 1, 2).tolist()
    return draw_animal(job.species, rng, width, height)


def _quality(job: FileJob) -> int:
    return int(np.random.default_rng(np.random.SeedSequence((*job.stream, 1))).integers(45, 96))


def encode_jpeg(picture: Pixels, quality: int) -> bytes:
    """Encode an RGB or grayscale picture as an ordinary JPEG."""
    return _saved(Image.fromarray(picture), "JPEG", quality=quality)


def encode_png(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001 (one signature for all)
    """Encode as a PNG, which loses nothing."""
    return _saved(Image.fromarray(picture), "PNG")


def encode_tiff(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a TIFF, which loses nothing."""
    return _saved(Image.fromarray(picture), "TIFF")


def encode_gif(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a GIF, which OpenCV before 4.11 can't read."""
    return _saved(Image.fromarray(picture).quantize(128), "GIF")


def encode_rgba_png(picture: Pixels, quality: int) -> bytes:  # noqa: ARG001
    """Encode as a PNG whose corners are transparent, and black below that."""
    height, width = picture.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.25 - np.hypot(x, y)) * 2000, 0, 255).astype(np.uint8)
    colours = np.where(alpha[..., None] > 0, picture, 0).astype(np.uint8)
    return _saved(Image.fromarray(np.dstack([colours, alpha])), "PNG")


def encode_grayscale(picture: Pixels, quality: int) -> bytes:
    """Encode as a JPEG of one channel."""
    return _saved(Image.fromarray(picture).convert("L"), "JPEG", quality=quality)


def encode_cmyk(picture: Pixels, quality: int) -> bytes:
    """Encode as a JPEG in the colours of a printer."""
    return _saved(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=quality)


def encode_turned(picture: Pixels, quality: int) -> bytes:
    """Encode lying on its side, with the EXIF orientation 6 that puts it upright again."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return _saved(Image.fromarray(np.rot90(picture)), "JPEG", quality=quality, exif=exif)


ENCODERS: dict[str, Callable[[Pixels, int], bytes]] = {
    "jpeg": encode_jpeg,
    "png": encode_png,
    "tiff": encode_tiff,
    "gif": encode_gif,
    "rgba_png": encode_rgba_png,
    "grayscale": encode_grayscale,
    "cmyk": encode_cmyk,
    "turned": encode_turned,
}
ORDINARY_ENCODINGS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}  # by suffix, else JPEG
ODD_ENCODINGS = tuple(name for name in ENCODERS if name not in ("jpeg", "png", "tiff"))


def near_duplicate(content: bytes) -> bytes:
    """Encode a file's picture again, a little smaller and brighter: other bytes, same picture."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    smaller = ImageOps.scale(image, 0.93, resample=Image.Resampling.BICUBIC)
    return _saved(ImageEnhance.Brightness(smaller).enhance(1.06), "JPEG", quality=80)


def truncated(content: bytes) -> bytes:
    """Cut a file off, as a broken download does."""
    return content[: int(KEPT_OF_TRUNCATED * len(content))]


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()
