"""One look at a file: what it is, or why it can't be read; never an exception."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.audit import THUMBNAIL_PX, Audit, Scan, scan_file, scan_files
from pipeline.images.decode import decode_rgb, read_header, value_range


def png(width: int = 40, height: int = 20, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def scan_of(tmp_path):
    def scan(content: bytes, name: str = "a.jpg") -> Scan:
        (tmp_path / name).write_bytes(content)
        return scan_file(tmp_path / name)

    return scan


def test_readable_file_has_header_thumbnail_and_hash(scan_of):
    content = png()
    scan = scan_of(content)
    assert scan.sha256 == hashlib.sha256(content).hexdigest()
    assert scan.header is not None
    assert (scan.header.format, scan.header.width, scan.header.height) == ("PNG", 40, 20)
    assert scan.thumbnail is not None
    assert scan.thumbnail.shape == (THUMBNAIL_PX, THUMBNAIL_PX)
    assert scan.thumbnail.dtype == np.uint8
    assert set(scan.thumbnail.ravel().tolist()) == {76}  # red's weight in grey: 0.299
    assert scan.reason == ""


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.txt", "a"])
def test_extension_changes_nothing(scan_of, name):
    scan = scan_of(png(), name)
    assert scan.header is not None
    assert scan.header.format == "PNG"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 70_000), (3, 500), (31, 33)])
def test_any_shape_gives_a_square_thumbnail(scan_of, width, height):
    thumbnail = scan_of(png(width, height)).thumbnail
    assert thumbnail is not None
    assert thumbnail.shape == (THUMBNAIL_PX, THUMBNAIL_PX)


def test_thumbnail_is_upright(scan_of):
    image = Image.new("L", (40, 40), 0)
    image.paste(255, (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 3
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    thumbnail = scan_of(buffer.getvalue()).thumbnail
    assert thumbnail is not None
    assert thumbnail[0].max() == 0
    assert thumbnail[-1].min() == 255


def test_truncated_file_keeps_its_hash_and_header_and_says_why(scan_of):
    content = jpeg_noise()[:-300]
    scan = scan_of(content)
    assert scan.sha256 == hashlib.sha256(content).hexdigest()
    assert scan.header is not None
    assert scan.thumbnail is None
    assert "truncated" in scan.reason


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty file"), (b"text", "known format")])
def test_what_is_no_image_is_a_finding(scan_of, content, reason):
    scan = scan_of(content)
    assert scan.header is None
    assert scan.thumbnail is None
    assert reason in scan.reason
    assert scan.sha256 == hashlib.sha256(content).hexdigest()


def test_file_that_cannot_be_opened_is_a_finding(tmp_path):
    scan = scan_file(tmp_path / "missing.jpg")
    assert scan == Scan("", None, None, "cannot be opened: No such file or directory")


def test_files_are_scanned_in_their_order_and_counted(tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(70)]
    for index, path in enumerate(paths):
        path.write_bytes(png(width=index + 1) if index != 40 else b"")
    counts: list[int] = []
    scans = scan_files(paths, 2, counts.append)
    assert sum(counts) == len(paths)
    assert len(counts) > 1
    assert [scan.header.width if scan.header else 0 for scan in scans] == [
        index + 1 if index != 40 else 0 for index in range(70)
    ]
    assert [scan.sha256 for scan in scans] == [scan_file(path).sha256 for path in paths]


def test_no_files_give_no_scans():
    assert scan_files([], 1, lambda _: None) == []


def test_images_of_one_colour_and_ranges_of_numbers_are_told():
    audit = Audit()
    rng = np.random.default_rng(0)
    pictures: dict[str, np.ndarray] = {
        "mask.png": rng.integers(0, 2, (8, 8), dtype=np.uint8),
        "grey.png": rng.integers(0, 256, (8, 8), dtype=np.uint8),
        "wide.png": rng.integers(0, 4096, (8, 8), dtype=np.uint16),
        "wider.png": rng.integers(0, 65536, (8, 8), dtype=np.uint16),
    }
    for name, pixels in pictures.items():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        contrast = int(decode_rgb(content.getvalue()).max()) - int(
            decode_rgb(content.getvalue()).min()
        )
        scan = Scan("", None, None, "", contrast, value_range(content.getvalue()))
        header = read_header(content.getvalue())
        audit.add_scan("train", name, name, dataclasses.replace(scan, header=header))
    first, second = audit.doubts()
    assert first.startswith("1 images are of one colour, the first is 'mask.png'; ")
    assert second.startswith("images have numbers of 2 ranges (12 bits, 16 bits), each is read by")
