"""Whatever the bytes are: upright RGB, or one line that says why not."""

import io
import runpy
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from pipeline.errors import DataError
from pipeline.images import decode
from pipeline.images.decode import (
    NUM_MARK_BYTES,
    ByteImage,
    decode_rgb,
    has_image_mark,
    read_header,
    value_range,
)

WIDTH, HEIGHT = 48, 32
CORNERS = {"red": (0, 0), "lime": (0, 1), "blue": (1, 0), "yellow": (1, 1)}

# What a camera did to the upright picture before it wrote the orientation that undoes it.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture
def picture() -> Image.Image:
    """A picture of four coloured quarters: no turn and no mirror leaves it as it is."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for colour, (row, column) in CORNERS.items():
        image.paste(colour, (column * WIDTH // 2, row * HEIGHT // 2, WIDTH, HEIGHT))
    image.paste("yellow", (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    return image


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def oriented(value: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    return exif


def assert_same(pixels: ByteImage, image: Image.Image, tolerance: int = 0) -> None:
    expected = np.asarray(image.convert("RGB"))
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert int(np.abs(pixels.astype(int) - expected).max()) <= tolerance


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED_AS)
def test_every_exif_orientation_is_put_upright(picture, orientation, file_format):
    how = STORED_AS[orientation]
    stored = picture if how is None else picture.transpose(how)
    lossless: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95, "subsampling": 0},
    }
    options = lossless.get(file_format, {})
    content = encoded(stored, file_format, exif=oriented(orientation), **options)
    header = read_header(content)
    # Pillow turns the size that a TIFF claims before anyone sees it.
    assert sorted((header.width, header.height)) == sorted(stored.size)
    assert header.orientation == orientation
    assert not header.has_invalid_orientation
    pixels = decode_rgb(content)
    assert_same(pixels, picture, tolerance=12 if file_format == "JPEG" else 0)
    assert pixels.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_invalid_orientation_is_noted_and_ignored(picture, orientation):
    content = encoded(picture, "PNG", exif=oriented(orientation))
    header = read_header(content)
    assert header.orientation == 1
    assert header.has_invalid_orientation
    assert_same(decode_rgb(content), picture)


@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*"]
)
def test_corrupt_exif_is_harmless(picture, block):
    content = encoded(picture, "JPEG", exif=block, quality=95, subsampling=0)
    assert block in content
    header = read_header(content)
    assert header.orientation == 1
    assert not header.has_invalid_orientation
    assert_same(decode_rgb(content), picture, tolerance=12)


def test_exif_cut_in_the_middle_of_its_table_is_harmless(picture):
    block = oriented(6).tobytes()
    content = encoded(picture, "JPEG", exif=block[:-8])
    assert decode_rgb(content).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_every_lossless_format_keeps_its_pixels(picture, file_format):
    content = encoded(picture, file_format)
    assert read_header(content).format == file_format
    assert_same(decode_rgb(content), picture)


def test_mpo_of_a_camera_is_read_as_the_jpeg_it_starts_with():
    first = Image.new("RGB", (WIDTH, HEIGHT), "blue")
    second = Image.new("RGB", (WIDTH, HEIGHT), "red")
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    assert read_header(content).format == "JPEG"
    assert_same(decode_rgb(content), first, tolerance=3)


@pytest.mark.parametrize(
    ("mode", "colour", "opaque"),
    [("RGBA", (10, 20, 30, 255), [10, 20, 30]), ("LA", (80, 255), [80, 80, 80])],
)
def test_transparent_parts_become_white(mode, colour, opaque):
    image = Image.new(mode, (WIDTH, HEIGHT), 0)
    image.paste(colour, (0, 0, WIDTH // 2, HEIGHT))
    content = encoded(image, "PNG")
    assert read_header(content).mode == mode
    pixels = decode_rgb(content)
    assert pixels[0, 0].tolist() == opaque
    assert pixels[0, -1].tolist() == [255, 255, 255]


def test_half_transparent_black_becomes_middle_grey():
    content = encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")
    assert decode_rgb(content)[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_transparent_palette_colour_becomes_white(file_format):
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.paste(1, (0, 0, WIDTH // 2, HEIGHT))
    content = encoded(image, file_format, transparency=0)
    assert read_header(content).mode == "P"
    pixels = decode_rgb(content)
    assert pixels[0, 0].tolist() == [200, 10, 20]
    assert pixels[0, -1].tolist() == [255, 255, 255]


def test_transparent_colour_of_an_rgb_png_becomes_white(picture):
    pixels = decode_rgb(encoded(picture, "PNG", transparency=(255, 0, 0)))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, -1].tolist() == [0, 255, 0]


@pytest.mark.parametrize(("mode", "file_format"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG")])
def test_grey_becomes_three_equal_channels(mode, file_format):
    image = noise("L").convert(mode)
    content = encoded(image, file_format)
    assert read_header(content).mode == mode
    pixels = decode_rgb(content)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (pixels == pixels[..., :1]).all()
    assert pixels.std() > 20


def test_cmyk_jpeg_keeps_its_colours():
    colours = [(230, 40, 30), (20, 200, 60), (250, 250, 250), (15, 15, 15)]
    for colour in colours:
        image = Image.new("RGB", (16, 16), colour).convert("CMYK")
        content = encoded(image, "JPEG", quality=95)
        assert read_header(content).mode == "CMYK"
        assert np.abs(decode_rgb(content)[8, 8].astype(int) - colour).max() <= 6


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(file_format):
    wide = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    content = encoded(Image.fromarray(wide), file_format)
    assert read_header(content).mode.startswith("I")
    pixels = decode_rgb(content)
    assert pixels.shape == (1, 5, 3)
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_of_an_animated_gif_the_first_frame_is_taken():
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("blue", "red", "lime")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert_same(decode_rgb(content), frames[0])


@pytest.mark.parametrize("kept", [0.35, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_truncated_image_is_refused(file_format, kept):
    content = encoded(noise(), file_format)
    with pytest.raises(DataError, match=r"truncated|not a whole image"):
        decode_rgb(content[: int(kept * len(content))])


def test_truncated_images_stay_refused_where_another_library_allowed_them(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    runpy.run_path(str(decode.__file__))
    content = encoded(noise(), "JPEG")
    with pytest.raises(DataError, match="truncated"):
        decode_rgb(content[: len(content) * 9 // 10])


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("min_side_px", [None, 40, 33, 16, 5, 1])
def test_what_is_known_to_be_whole_is_decoded_to_the_same_pixels(orientation, mode, min_side_px):
    pixels = np.random.default_rng(0).integers(0, 256, (67, 101, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    for options in ({}, {"progressive": True}, {"quality": 95, "subsampling": 0}):
        content = encoded(image, "JPEG", exif=oriented(orientation), **options)
        known = decode_rgb(content, min_side_px, is_known=True)
        np.testing.assert_array_equal(known, decode_rgb(content, min_side_px))


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_decoded_alike_whatever_is_known(file_format):
    content = encoded(noise(), file_format)
    np.testing.assert_array_equal(decode_rgb(content, is_known=True), decode_rgb(content))


def test_a_jpeg_that_opencv_cannot_decode_is_left_to_pillow(monkeypatch):
    content = encoded(noise(), "JPEG")
    expected = decode_rgb(content)
    monkeypatch.setattr("pipeline.images.decode.cv2.imdecode", lambda *_: None)
    np.testing.assert_array_equal(decode_rgb(content, is_known=True), expected)


def test_header_of_a_truncated_image_is_still_known():
    content = encoded(noise(), "JPEG")
    header = read_header(content[: len(content) * 6 // 10])
    assert (header.format, header.width, header.height) == ("JPEG", WIDTH, HEIGHT)


@pytest.mark.parametrize("read", [read_header, decode_rgb])
@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><title>Log in</title>", "猫".encode(), b"\0" * 500, b"\xff\xd8\xff", b"GIF8"],
)
def test_what_is_no_image_is_refused(read, content):
    with pytest.raises(DataError, match="not a whole image of a known format, starts with b'"):
        read(content)


@pytest.mark.parametrize("read", [read_header, decode_rgb])
def test_empty_file_is_refused(read):
    with pytest.raises(DataError, match=r"^empty file$"):
        read(b"")


def test_format_that_runs_a_program_is_refused(picture):
    with pytest.raises(DataError, match="known format, starts with b'%!PS-Adobe"):
        decode_rgb(encoded(picture, "EPS"))


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [read_header, decode_rgb])
@pytest.mark.parametrize("side", [12_248, 60_000])
def test_enormous_declared_size_is_refused_before_decoding(read, side):
    with pytest.raises(DataError, match=r"too many pixels.*, the limit is 150,000,000"):
        read(png_that_claims(side, side))


def test_largest_allowed_size_is_not_refused_for_its_size():
    header = read_header(png_that_claims(15_000, 10_000))
    assert header.width * header.height == decode.MAX_PIXELS


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_damage_anywhere_gives_pixels_or_a_data_error(file_format):
    rng = np.random.default_rng(3)
    content = encoded(noise(), file_format)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 400), 4):
            damaged[at] = rng.integers(0, 256)
        try:
            assert decode_rgb(bytes(damaged)).dtype == np.uint8
        except DataError:
            refused += 1
    assert refused > 0


WAVE = np.tile(0.5 + 0.5 * np.sin(np.arange(64) / 3), (48, 1))
GREY = np.rint(WAVE * 255).astype(np.uint8)
RANGES: dict[str, tuple[np.ndarray, str]] = {
    "fractions": (WAVE.astype(np.float32), "TIFF"),
    "fractions of white": ((WAVE * 255).astype(np.float32), "TIFF"),
    "below zero": ((WAVE * 2 - 1).astype(np.float32), "TIFF"),
    "thousands": ((WAVE * 5000 + 300).astype(np.float32), "TIFF"),
    "32 bits of which 8 are used": (GREY.astype(np.int32), "TIFF"),
    "32 bits below zero": ((WAVE * 2000 - 1000).astype(np.int32), "TIFF"),
    "16 bits of which 8 are used": (GREY.astype(np.uint16), "PNG"),
    "10 bits": ((WAVE * 1023).astype(np.uint16), "PNG"),
    "12 bits": ((WAVE * 4095).astype(np.uint16), "TIFF"),
    "14 bits": ((WAVE * 16383).astype(np.uint16), "PNG"),
}


@pytest.mark.parametrize("name", RANGES)
def test_numbers_of_any_range_show_the_picture(name):
    values, file_format = RANGES[name]
    pixels = decode_rgb(encoded(Image.fromarray(values), file_format))
    assert np.abs(pixels[:, :, 0].astype(int) - GREY).max() <= 1
    assert (pixels == pixels[:, :, :1]).all()


def test_what_is_no_number_is_black_and_a_picture_of_nothing_else_too():
    values = WAVE.astype(np.float32)
    values[0, :5] = [np.nan, np.inf, -np.inf, 0, 1]
    pixels = decode_rgb(encoded(Image.fromarray(values), "TIFF"))
    assert pixels[0, :5, 0].tolist() == [0, 0, 0, 0, 255]
    nothing = np.full((4, 4), np.nan, dtype=np.float32)
    assert decode_rgb(encoded(Image.fromarray(nothing), "TIFF")).max() == 0


@pytest.mark.parametrize("file_format", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_colours_of_which_few_bits_are_used_show_the_picture(file_format, bits):
    colours = np.dstack([GREY, GREY[:, ::-1], 255 - GREY]).astype(np.uint16)
    wide = colours << (bits - 8)
    content = cv2.imencode(file_format, wide)[1].tobytes()
    assert np.abs(decode_rgb(content).astype(int) - colours[:, :, ::-1]).max() <= 1


def test_picture_that_alpha_hides_throughout_is_shown():
    colours = np.dstack([GREY, GREY, 255 - GREY])
    for alpha in (0, 1):
        hidden = np.dstack([colours, np.full_like(GREY, alpha)])
        assert_same(decode_rgb(encoded(Image.fromarray(hidden), "PNG")), Image.fromarray(colours))
    hidden[0, 0, 3] = 255  # one pixel is meant to be seen: the others aren't
    assert decode_rgb(encoded(Image.fromarray(hidden), "PNG"))[1:].min() >= 254
    both = np.dstack([GREY, 0 * GREY])
    assert decode_rgb(encoded(Image.fromarray(both, "LA"), "PNG")).std() > 20


def test_range_is_named_where_it_is_not_of_8_bits():
    def found(values: np.ndarray) -> str:
        return value_range(encoded(Image.fromarray(values), "TIFF"))

    assert found(GREY) == ""
    assert found(WAVE.astype(np.float32)) == "0 to 1"
    assert found((WAVE * 4095).astype(np.uint16)) == "12 bits"
    assert found((WAVE * 40 - 40).astype(np.float32)).startswith("-39.9")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_images_are_known_by_their_first_bytes(file_format):
    content = encoded(noise(), file_format)
    assert has_image_mark(content[:NUM_MARK_BYTES])
    assert not has_image_mark(b"x" + content[: NUM_MARK_BYTES - 1])
    assert not has_image_mark(content[:3])


TEXTS = [b"BMW and others\n..", b"P5 is a word of no", b"PNG files lie here", b""]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_no_images(text):
    assert not has_image_mark(text[:NUM_MARK_BYTES])
