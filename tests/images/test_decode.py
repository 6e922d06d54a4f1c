"""Whatever the bytes are: upright RGB, or one line that says why not."""

import io
import runpy
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from pipeline.errors import DataError
from pipeline.images import decode
from pipeline.images.decode import ByteImage, decode_rgb, read_header

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
