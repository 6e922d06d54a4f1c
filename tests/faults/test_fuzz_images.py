"""Spoiled images of every format: pixels, or one line that says why not."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from pipeline.data.audit import scan_file
from pipeline.errors import DataError
from pipeline.images.decode import decode_rgb
from pipeline.images.working_copy import working_copy
from tests.faults.mutants import Outcome, assert_held, hold, in_own_process, mutants

PER_FORMAT = 400


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def seeds() -> dict[str, list[bytes]]:
    """Draw small valid files of every format and of its rarer kinds."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    rgb = Image.fromarray(pixels)
    frames: dict[str, Any] = {"save_all": True, "append_images": [rgb.rotate(90)], "duration": 9}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)

    return {
        "JPEG": [
            encoded(rgb, "JPEG"),
            encoded(rgb, "JPEG", progressive=True, exif=exif, icc_profile=profile),
            encoded(rgb.convert("CMYK"), "JPEG"),
            encoded(rgb.convert("L"), "JPEG"),
            encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        ],
        "PNG": [
            encoded(rgb, "PNG", icc_profile=profile, exif=exif),
            encoded(rgb.convert("RGBA"), "PNG"),
            encoded(rgb.convert("P"), "PNG", transparency=3),
            encoded(wide, "PNG"),
            encoded(rgb, "PNG", **frames),
        ],
        "GIF": [encoded(rgb.convert("P"), "GIF", transparency=1), encoded(rgb, "GIF", **frames)],
        "WEBP": [
            encoded(rgb, "WEBP"),
            encoded(rgb.convert("RGBA"), "WEBP", lossless=True, exif=exif),
            encoded(rgb, "WEBP", **frames),
        ],
        "BMP": [
            encoded(rgb, "BMP"),
            encoded(rgb.convert("P"), "BMP"),
            encoded(rgb.convert("1"), "BMP"),
        ],
        "TIFF": [
            *(encoded(rgb, "TIFF", compression=how) for how in ("raw", "tiff_lzw", "tiff_deflate")),
            encoded(rgb, "TIFF", compression="jpeg"),
            encoded(wide, "TIFF"),
            encoded(rgb.convert("1"), "TIFF", compression="group4"),
        ],
        "PPM": [encoded(rgb, "PPM"), encoded(wide, "PPM"), encoded(rgb.convert("1"), "PPM")],
    }


def read(content: bytes) -> None:
    """Read as training does, then as `prepare` does, which makes findings of errors."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "a.jpg"
        path.write_bytes(content)
        scan = scan_file(path)
    assert (scan.thumbnail is None) == bool(scan.reason)
    if scan.reason:
        raise DataError(scan.reason)
    pixels = decode_rgb(content)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert min(working_copy(content, 16).shape) > 0


def fuzz() -> dict[str, Outcome]:
    return {
        kind: hold(read, mutants(valid, PER_FORMAT * len(valid) // 2, seed=number))
        for number, (kind, valid) in enumerate(seeds().items())
    }


def test_spoiled_images_of_every_format_are_read_or_refused_in_bounded_memory_and_time():
    for valid in seeds().values():
        for content in valid:
            read(content)
    assert_held(in_own_process(fuzz), least=5_000)
