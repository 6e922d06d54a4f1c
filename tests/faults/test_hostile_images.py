"""Images made to hurt, beside those of tests/images/test_decode.py."""

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from pipeline.data.audit import scan_file, scan_files
from pipeline.errors import DataError
from pipeline.images.decode import FORMATS, decode_rgb, read_header
from pipeline.images.working_copy import MAX_ASPECT, working_copy
from tests.faults.test_fuzz_images import encoded, seeds

PIXELS = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


@pytest.mark.parametrize("kind", FORMATS)
def test_image_cut_at_every_tenth_is_unreadable_with_a_reason(tmp_path: Path, kind: str) -> None:
    """A TIFF has its directory last, others their pixels; no part of one passes for the whole."""
    for number, content in enumerate(seeds()[kind]):
        for tenth in range(10):
            begin = content[: len(content) * tenth // 10]
            if is_animation(content) and tenth >= 5:
                continue  # the first frame is there
            path = tmp_path / f"{number}-{tenth}.jpg"
            path.write_bytes(begin)
            scan = scan_file(path)
            assert scan.thumbnail is None, (number, tenth)
            assert scan.reason.isprintable()
            assert scan.reason


def is_animation(content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as image:
        return getattr(image, "n_frames", 1) > 1


WEBP_SIDE = (1 << 14) - 1  # its header has 14 bits for each side
# Where sides stand: so many bytes after the beginning of a mark, and how they are written.
SIDES = {
    "JPEG": [(b"\xff\xc0", 5, ">HH")],
    "PNG": [(b"IHDR", 4, ">II")],
    "GIF": [(b"GIF8", 6, "<HH"), (b"\x2c\0\0\0\0", 5, "<HH")],
    "WEBP": [(b"\x9d\x01\x2a", 3, "<HH")],
    "BMP": [(b"BM", 18, "<ii")],
    "TIFF": [(struct.pack("<HHI", tag, 4, 1), 8, "<I") for tag in (256, 257)],
    "PPM": [],
}


def claiming(kind: str, side: int) -> bytes:
    """Write a small image whose header says that it is `side` pixels wide and high."""
    content = bytearray(encoded(RGB.convert("P") if kind == "GIF" else RGB, kind))
    for mark, distance, layout in SIDES[kind]:
        at = content.index(mark) + distance
        struct.pack_into(layout, content, at, *[side] * (len(layout) - 1))
    if kind == "PNG":
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif kind == "PPM":
        content = bytearray(b"P6 %d %d 255\n" % (side, side)) + content[-7200:]
    return bytes(content)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("side", [12_248, 60_000])
def test_enormous_declared_size_is_refused_by_every_format(kind: str, side: int) -> None:
    side = min(side, WEBP_SIDE) if kind == "WEBP" else side
    with pytest.raises(DataError, match=r"too many pixels.*, the limit is 150,000,000"):
        read_header(claiming(kind, side))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_slivers_are_read_and_their_working_copies_stay_small(
    kind: str, shape: tuple[int, int]
) -> None:
    content = encoded(Image.new("RGB", shape, (200, 10, 20)), kind)
    assert decode_rgb(content).shape == (shape[1], shape[0], 3)
    copy = working_copy(content, 224)
    assert max(copy.shape[:2]) <= MAX_ASPECT * min(copy.shape[:2])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    others = [RGB.rotate(180), Image.new("RGB", RGB.size, "red")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(RGB, kind, save_all=True, append_images=others, duration=50, **options)
    assert is_animation(content)
    assert np.array_equal(decode_rgb(content), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_colour_profiles_are_carried_and_change_no_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    plain = decode_rgb(encoded(RGB, kind, **options))
    for profile in (lab, b"no profile", bytes(70_000)):
        content = encoded(RGB, kind, icc_profile=profile, **options)
        assert profile[:10] in content or kind == "PNG"
        assert np.array_equal(decode_rgb(content), plain)


def test_texts_and_profiles_that_unpack_to_gigabytes_are_refused() -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    for kind, body in ((b"zTXt", b"Comment\0\0"), (b"iCCP", b"profile\0\0")):
        chunk = kind + body + bomb
        packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        content = encoded(RGB, "PNG")
        content = content[:33] + packed + content[33:]
        try:
            assert np.array_equal(decode_rgb(content), PIXELS)  # it was passed over
        except DataError as error:
            assert "not a whole image" in str(error)  # noqa: PT017
    assert PngImagePlugin.MAX_TEXT_CHUNK < 10 << 20


def test_progressive_jpeg_is_read_as_the_plain_one() -> None:
    plain = decode_rgb(encoded(RGB, "JPEG", quality=90))
    assert np.array_equal(decode_rgb(encoded(RGB, "JPEG", quality=90, progressive=True)), plain)


# A gradient of 16 x 16 pixels by libjpeg-turbo's `cjpeg -arithmetic`, which Pillow can't write.
ARITHMETIC = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZG
NywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09P
T09PT09PT09PT09PT09PT09PT09PT09PT0//yQARCAAQABADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIR
AxEAPwD/AHLJG7HMpBjc6D7i94tHClo8hRiJGZfKqz//2Q==
"""


def test_arithmetic_jpeg_is_read() -> None:
    rows, columns = np.mgrid[:16, :16]
    drawn = np.stack([rows * 15, columns * 15, (rows + columns) * 8], axis=2)
    assert np.abs(decode_rgb(base64.b64decode(ARITHMETIC)) - drawn).mean() < 12


NAMED = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(99),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99),
    "JPEG XL": b"\xff\x0a" + bytes(99),
    "PDF": b"%PDF-1.7\n" + bytes(99),
    "PSD": b"8BPS\0\1" + bytes(99),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", NAMED)
def test_kinds_that_are_not_read_are_refused_by_their_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jpg").write_bytes(NAMED[name])
    reason = scan_file(tmp_path / "a.jpg").reason
    assert reason.startswith(f"not a whole image of a known format, is {name}; convert it")


@pytest.mark.parametrize("name", ["猫.jpg", "ネコ 🐈.jpg", "é" * 120 + ".jpg", "x" * 251 + ".jpg"])
def test_names_of_every_script_and_length_are_scanned(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(RGB, "PNG"))
    (scan,) = scan_files([tmp_path / name], 1, lambda _: None)
    assert scan.reason == ""
