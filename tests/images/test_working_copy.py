"""What every view is made from: small, and with nothing lost to the plain view."""

import io
import pickle
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, decode_rgb
from pipeline.images.transforms import plain_transforms
from pipeline.images.views import View, ViewMaker
from pipeline.images.working_copy import (
    MAX_ASPECT,
    ImageRow,
    ImageRows,
    working_copy,
    working_shape,
    working_side_px,
)
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train


def smooth(height: int, width: int) -> ByteImage:
    """A picture as a lens makes it: hardly anything of it is in the finest frequencies."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(image, dtype=np.uint8)


def encoded(pixels: ByteImage, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(height: int, width: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encoded(pixels, "PNG")


def psnr(one: ByteImage, other: ByteImage) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_the_working_side_is_what_the_plain_transforms_is_cropped_from():
    assert working_side_px(ImageConfig()) == 256
    assert working_side_px(ImageConfig(size_px=32, crop_fraction=1.0)) == 32


@pytest.mark.parametrize("size", [(300, 400), (400, 301), (64, 64), (65, 200), (999, 1000)])
def test_a_copy_is_what_albumentations_scales_the_short_side_to(size):
    content = noise(*size)
    scaled = A.SmallestMaxSize(64, interpolation=cv2.INTER_CUBIC)(image=decode_rgb(content))
    np.testing.assert_array_equal(working_copy(content, 64), scaled["image"])


@pytest.mark.parametrize("size", [(8, 8), (40, 30), (63, 200)])
def test_a_small_image_stays_as_it_is(size):
    content = noise(*size)
    np.testing.assert_array_equal(working_copy(content, 64), decode_rgb(content))


def test_plain_transformss_of_drawn_images_are_the_bits_they_are_without_a_copy(drawn):
    root, competition = drawn
    paths = Paths(root, competition.name)
    images = ImageConfig(size_px=32)
    maker, whole = ViewMaker(images, ViewConfig()), plain_transforms(images)
    for row in load_train(paths).itertuples():
        content = (paths.images_dir / str(row.path)).read_bytes()
        view = maker.make(View(), working_copy(content, working_side_px(images)), str(row.sha256))
        np.testing.assert_array_equal(view, whole(image=decode_rgb(content))["image"])


@pytest.mark.parametrize("size", [(2, 20_000), (20_000, 2), (90, 3000)])
def test_of_a_long_strip_the_middle_is_left(size):
    content = noise(*size)
    copy, image = working_copy(content, 64), decode_rgb(content)
    assert max(copy.shape[:2]) == MAX_ASPECT * min(copy.shape[:2])
    if min(size) == 2:
        start = (20_000 - 2 * MAX_ASPECT) // 2
        middle = np.s_[:, start : start + 8] if size[0] == 2 else np.s_[start : start + 8]
        np.testing.assert_array_equal(copy, image[middle])


@pytest.mark.parametrize("size", [(300, 400), (401, 300), (64, 90), (10, 7), (90, 3000), (1, 9)])
def test_the_shape_of_a_copy_is_known_beforehand(size):
    height, width = size
    assert working_copy(noise(height, width), 64).shape[:2] == working_shape(height, width, 64)


@pytest.mark.parametrize("times", [2, 4, 8])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_large_jpeg_is_decoded_smaller_to_nearly_the_same_copy(times, options):
    pixels = smooth(64 * times, 96 * times)
    content = encoded(pixels, "JPEG", quality=95, **options)
    assert decode_rgb(content, min_side_px=64).shape == (64, 96, 3)
    reduced = cv2.resize(decode_rgb(content), (96, 64), interpolation=cv2.INTER_AREA)
    assert psnr(working_copy(content, 64), np.asarray(reduced, dtype=np.uint8)) > 40


def test_a_jpeg_is_never_decoded_smaller_than_wanted():
    content = encoded(smooth(255, 300), "JPEG")
    assert decode_rgb(content, min_side_px=128).shape == (255, 300, 3)
    assert decode_rgb(content, min_side_px=127).shape == (128, 150, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_decoded_smaller_is_put_upright_too(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encoded(smooth(512, 400), "JPEG", quality=95, exif=exif)
    whole, small = decode_rgb(content), decode_rgb(content, min_side_px=200)
    reduced = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert sorted(small.shape[:2]) == [200, 256]
    assert psnr(small, np.asarray(reduced, dtype=np.uint8)) > 40


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_kinds_of_jpeg_are_decoded_smaller_too(mode):
    buffer = io.BytesIO()
    Image.fromarray(smooth(256, 256)).convert(mode).save(buffer, "JPEG", quality=95)
    small = decode_rgb(buffer.getvalue(), min_side_px=64)
    reduced = cv2.resize(decode_rgb(buffer.getvalue()), (64, 64), interpolation=cv2.INTER_AREA)
    assert psnr(small, np.asarray(reduced, dtype=np.uint8)) > 40


@pytest.mark.parametrize("tenths", range(10))
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_truncated_jpeg_is_refused_at_any_scale(tenths, options):
    content = encoded(smooth(512, 512), "JPEG", **options)
    cut = content[: len(content) * tenths // 10]
    with pytest.raises(DataError, match=r"truncated|empty|not a whole|broken|cannot be decoded"):
        decode_rgb(cut, min_side_px=64)


def test_packed_rows_are_the_table_s_in_little_room():
    rows = [(f"猫{n}" * (n % 3), f"train/猫 {n}.jpg", f"{n:064x}") for n in range(1000)]
    packed = ImageRows(pd.DataFrame(rows, columns=["image_id", "path", "sha256"]))
    assert list(packed) == [ImageRow(*row) for row in rows]
    assert (len(packed), packed[999]) == (1000, ImageRow(*rows[999]))
    num_letters = sum(len(text.encode()) for row in rows for text in row)
    assert len(pickle.dumps(packed)) < num_letters + 3 * 8 * 1000 + 2000
