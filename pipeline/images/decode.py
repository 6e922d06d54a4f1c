"""Decode an image file to upright RGB pixels, whatever its name claims."""

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from pipeline.errors import DataError
from pipeline.images.arrays import NPY_MARK, open_array, range_of, to_8_bits

ByteImage = npt.NDArray[np.uint8]

# A decoded image of this size takes 0.45 GB; what claims to be larger is a bomb or a mistake.
# Pillow's own limit, 179 million, lies above.
MAX_PIXELS = 150_000_000

# Refused formats (EPS runs a program, for one) and exotic ones never reach a decoder. Pillow opens
# the MPO of some cameras, a JPEG with more pictures behind it, as JPEG and knows no such key.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")

# How files of these formats begin, and how much of one must be read to see it.
_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", NPY_MARK)
_PNM_MARK = re.compile(rb"P[1-6]\s+[0-9#]")
NUM_MARK_BYTES = 16

# Where a PNG says how many bits a colour has, and which tag of a TIFF does.
_PNG_DEPTH_AT = 24
_TIFF_DEPTHS = 258

# Alpha that hides the whole picture is a mistake of whoever saved it: the colours are meant.
MOST_INVISIBLE = 1

# How OpenCV decodes a JPEG to RGB at a fraction of its size.
_FRACTIONS = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# What phones, cameras and designers hand over instead, by the place and form of its mark.
_FOREIGN = {
    "HEIC": (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")),
    "AVIF": (4, (b"ftypavi",)),
    "JPEG 2000": (0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    "JPEG XL": (0, (b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    "PDF": (0, (b"%PDF-",)),
    "PSD": (0, (b"8BPS",)),
    "SVG": (0, (b"<svg", b"<?xml")),
}

# EXIF orientation → (quarter turns counter-clockwise, mirror left-right afterwards).
_UPRIGHT = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}


@dataclass(frozen=True)
class Header:
    """Type, size and orientation that an image file states before its pixels are decoded.

    Attributes:
        format: Real type by content, as Pillow names it: "JPEG", "PNG", "GIF", ...
        mode: Pillow's pixel mode: "RGB", "RGBA", "L", "P", "CMYK", "I;16", ...
        width: Columns as stored, in pixels.
        height: Rows as stored, in pixels.
        orientation: EXIF orientation, 1 to 8; invalid and missing ones count as 1.
        has_invalid_orientation: Whether the EXIF orientation is outside 1 to 8.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    has_invalid_orientation: bool


def has_image_mark(begin: bytes) -> bool:
    """Whether the first bytes of a file, NUM_MARK_BYTES of it, are those of an image."""
    is_webp = begin[:4] == b"RIFF" and begin[8:12] == b"WEBP"
    is_bmp = begin[:2] == b"BM" and begin[6:10] == bytes(4)
    is_pnm = _PNM_MARK.match(begin) is not None
    is_whole = len(begin) == NUM_MARK_BYTES
    return is_whole and (is_webp or is_bmp or is_pnm or begin.startswith(_MARKS))


def read_header(content: bytes) -> Header:
    """Read type, mode, size and orientation without decoding the pixels.

    Raises:
        DataError: The content isn't an image of a known format, or claims to be enormous.
    """
    with _open(content) as image:
        return _header(image)


def value_range(content: bytes) -> str:
    """Name the range that the numbers of an image use that aren't of 8 bits; empty for others.

    Raises:
        DataError: As `decode_rgb`.
    """
    with _open(content) as image:
        if not image.mode.startswith(("I", "F")):
            return ""
        try:
            return range_of(np.asarray(image))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"cannot be decoded: {error}") from error


def decode_rgb(
    content: bytes, min_side_px: int | None = None, *, is_known: bool = False
) -> ByteImage:
    """Decode an image file upright, `(H, W, 3)` uint8 RGB.

    EXIF orientation is applied, transparency is laid on white (unless all would be white),
    palettes, grey, CMYK and numbers of other ranges (see `arrays`) become 8-bit RGB, and of
    an animation the first frame is taken. Pillow does it rather than OpenCV, which paints the
    missing end of a truncated JPEG grey without a word. The pixels are the same, so what is known
    to be whole may be OpenCV's; `benchmarks/decoding.py` measures the gain.

    Args:
        content: The file's bytes.
        min_side_px: A JPEG is decoded at a half, a quarter or an eighth of its size where both
            sides keep so many pixels: fewer coefficients are transformed, all are still read, so
            truncation is noticed as ever. None decodes at full size.
        is_known: These very bytes were decoded by Pillow before.

    Raises:
        DataError: The content isn't a whole image of a known format, or claims to be enormous.
    """
    with _open(content) as image:
        pixels = None
        if is_known and image.format in ("JPEG", "MPO") and image.mode == "RGB":
            pixels = _decode_known(content, _fraction(image.size, min_side_px))
        if pixels is None:
            if min_side_px is not None:
                image.draft(None, (min_side_px, min_side_px))  # JPEG alone has such a mode
            has_wide_colours = _has_wide_colours(content, image)
            pixels = _to_rgb(image)  # which also says if the file is cut short
            pixels = _narrowed(content, pixels) if has_wide_colours else pixels
        # Not earlier: Pillow puts a TIFF upright by itself, when it loads it.
        return _upright(pixels, _header(image).orientation)


def _fraction(size: tuple[int, int], min_side_px: int | None) -> int:
    """Choose what Pillow's `draft` does: the smallest decoding that leaves so many pixels."""
    times = min(size) // min_side_px if min_side_px else 1
    return max(fraction for fraction in _FRACTIONS if fraction <= max(times, 1))


def _decode_known(content: bytes, fraction: int) -> ByteImage | None:
    """Decode a JPEG of three channels; None for one that OpenCV can't."""
    flags = _FRACTIONS[fraction] | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if decoded is None else np.asarray(decoded, dtype=np.uint8)


def _foreign_format(content: bytes) -> str | None:
    begin = content[:16]
    return next(
        (name for name, (at, marks) in _FOREIGN.items() if begin[at:].startswith(marks)), None
    )


def _open(content: bytes) -> Image.Image:
    if not content:
        raise DataError("empty file")
    array = open_array(content, MAX_PIXELS)
    if array is not None:
        return array
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata: the pixels decide
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        foreign = _foreign_format(content)
        found = f"is {foreign}; convert it" if foreign else f"starts with {content[:12]!r}"
        raise DataError(f"not a whole image of a known format, {found}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"too many pixels, the limit is {MAX_PIXELS:,}") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}x{image.height}"
        image.close()
        raise DataError(f"too many pixels: {size}, the limit is {MAX_PIXELS:,}")
    return image


def _header(image: Image.Image) -> Header:
    tag = _orientation_tag(image)
    is_valid = tag in _UPRIGHT
    return Header(
        format="JPEG" if image.format == "MPO" else str(image.format),
        mode=image.mode,
        width=image.width,
        height=image.height,
        orientation=int(tag) if is_valid else 1,
        has_invalid_orientation=tag is not None and not is_valid,
    )


def _orientation_tag(image: Image.Image) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # corrupt EXIF is common and harmless
            return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's EXIF parser lets many kinds of error through on corrupt blocks
        return None


def _to_rgb(image: Image.Image) -> ByteImage:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return _flatten(image)
    except (OSError, ValueError, SyntaxError, LookupError, EOFError, MemoryError) as error:
        raise DataError(f"cannot be decoded: {error}") from error


def _flatten(image: Image.Image) -> ByteImage:
    if image.mode.startswith(("I", "F")):  # Pillow clips such numbers to 8 bits
        grey = to_8_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if np.asarray(rgba)[:, :, 3].max(initial=0) <= MOST_INVISIBLE:
            return np.asarray(rgba)[:, :, :3]
        white = Image.new("RGBA", rgba.size, "white")
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _has_wide_colours(content: bytes, image: Image.Image) -> bool:
    """Whether an upright image has colours of 16 bits."""
    is_png = image.format == "PNG" and content[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10"
    depths = getattr(image, "tag_v2", {}).get(_TIFF_DEPTHS, ())
    is_wide = is_png or (len(depths) > 1 and set(depths) == {16})
    return is_wide and image.mode in {"RGB", "RGBA", "LA"} and _header(image).orientation == 1


def _narrowed(content: bytes, pixels: ByteImage) -> ByteImage:
    """Take the lower bits of colours that leave the upper ones of 16 empty.

    Pillow, of which the pixels are, keeps the upper 8 bits alone, so that 10 or 12 become black.
    """
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.ndim != 3 or decoded.dtype != np.uint16:
        return pixels
    colours = decoded[:, :, 2::-1]
    return pixels if range_of(colours) == "16 bits" else to_8_bits(colours)


def _upright(pixels: ByteImage, orientation: int) -> ByteImage:
    turns, is_mirrored = _UPRIGHT[orientation]
    turned = np.rot90(pixels, turns)
    return np.ascontiguousarray(turned[:, ::-1] if is_mirrored else turned)


# Pillow must say when an image is cut short: another library may have switched that off.
ImageFile.LOAD_TRUNCATED_IMAGES = False
