"""Read images that are arrays of numbers (`.npy`, DICOM), and bring pixels of any range to 8 bits.

The ranges are those of cameras, scanners and radars: 10 to 16 bits, 32 bits, fractions, decibels.
Arrays that stand in JSON become `.npy` files first.
"""

import csv
import io
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import DataError
from pipeline.machine import pip_install

WHITE = 255
DEPTHS = (8, 10, 12, 14, 16)  # bits of a pixel

NPY_MARK = b"\x93NUMPY"
DICOM_MARK, DICOM_AT = b"DICM", 128
NUM_COLOURS = 3
FLAT, STACKED = 2, 3  # dimensions

Numbers = npt.NDArray[Any]


def open_array(content: bytes, max_pixels: int) -> Image.Image | None:
    """Read the numbers of a `.npy` file or of a DICOM as an image; None for another kind of file.

    `(H, W)` is an image of one channel, `(H, W, 3)` of colours if it is of 8 bits; of any other
    `(C, H, W)` or `(H, W, C)`, whose shorter end counts as C, the channels stand below each other.
    A DICOM's numbers are rescaled by its slope and intercept and seen through its window, if it has
    one; where low ones are white (MONOCHROME1) they are inverted.

    Args:
        content: The file's bytes.
        max_pixels: The most that an image may have.

    Raises:
        DataError: The file is damaged or no image, claims to be enormous, or needs pydicom or what
            that needs for its compression.
    """
    if content.startswith(NPY_MARK):
        return _as_image(_read_npy(content), "NPY", max_pixels)
    if content[DICOM_AT:].startswith(DICOM_MARK):
        return _as_image(_read_dicom(content, max_pixels), "DICOM", max_pixels)
    return None


def _read_npy(content: bytes) -> Numbers:
    file = io.BytesIO(content)
    try:
        major = np.lib.format.read_magic(file)[0]
        read = np.lib.format.read_array_header_1_0 if major == 1 else _read_later_header
        shape, is_fortran, dtype = read(file)
    except (ValueError, SyntaxError, TypeError) as error:
        raise DataError(f"not a whole .npy file: {error}") from error
    if dtype.kind not in "biuf":
        raise DataError(f"a .npy file must hold numbers to be an image, holds {dtype}")
    # Not `np.load`, which takes memory for what the header claims before it reads.
    body = content[file.tell() :]
    if min(shape, default=0) <= 0 or len(body) < dtype.itemsize * _product(shape):
        raise DataError(f"not a whole .npy file, has {len(body):,} bytes for the shape {shape}")
    values = np.frombuffer(body, dtype, count=_product(shape))
    values = values.reshape(shape, order="F" if is_fortran else "C")
    return values.astype(dtype.newbyteorder("="))


def _read_later_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    return np.lib.format.read_array_header_2_0(file)


def _product(shape: tuple[int, ...]) -> int:
    """Multiply in numbers of any size: what a header claims may overflow 64 bits."""
    size = 1
    for side in shape:
        size *= side
    return size


def _read_dicom(content: bytes, max_pixels: int) -> Numbers:
    try:
        import pydicom
        from pydicom.pixels.processing import apply_rescale, apply_voi_lut
        from pydicom.pixels.utils import pixel_array
    except ImportError as error:
        raise DataError(
            f"is DICOM, which needs the package pydicom; run '{pip_install('pydicom')}'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata: the pixels decide
            file = pydicom.dcmread(io.BytesIO(content))
            claimed = int(file.Rows) * int(file.Columns) * int(file.get("NumberOfFrames") or 1)
            if claimed > max_pixels:
                raise DataError(f"too many pixels: {claimed:,}, the limit is {max_pixels:,}")
            stored: Numbers = pixel_array(file)
            if stored.ndim == STACKED and file.SamplesPerPixel == NUM_COLOURS:
                return stored
            values: Numbers = apply_voi_lut(apply_rescale(stored, file), file)
    except DataError:
        raise
    except Exception as error:  # its readers and their plugins let many kinds of error through
        reason = " ".join(str(error).split())
        raise DataError(f"cannot be decoded as DICOM: {reason}") from error
    if file.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() - values + values.min()
    is_seen = "WindowWidth" in file or "VOILUTSequence" in file
    return _stretched(values) if is_seen else values


def _stretched(values: Numbers) -> Numbers:
    """Bring what is seen through a window to 8 bits: its range says nothing of bits."""
    numbers = values.astype(np.float64)
    spread = float(numbers.max() - numbers.min())
    scaled = (numbers - numbers.min()) * (WHITE / spread if spread else 0)
    rounded: Numbers = np.rint(scaled).astype(np.uint8)
    return rounded


def _as_image(values: Numbers, kind: str, max_pixels: int) -> Image.Image:
    is_colour = values.ndim == STACKED and values.shape[-1] == NUM_COLOURS
    if values.size > max_pixels * (NUM_COLOURS if is_colour else 1):
        raise DataError(f"too many pixels: {values.size:,}, the limit is {max_pixels:,}")
    if is_colour and values.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(values))
    else:
        image = Image.fromarray(_storable(_flat(values)))
    image.format = kind
    return image


def _flat(values: Numbers) -> Numbers:
    """Put channels below each other: `(C, H, W)` and `(H, W, C)` → `(C * H, W)`."""
    values = values.squeeze() if values.ndim > FLAT else values
    values = values[None] if values.ndim < FLAT else values
    if values.ndim == FLAT:
        return values
    if values.ndim != STACKED:
        raise DataError(f"an array must have 2 or 3 dimensions to be an image, has {values.ndim}")
    if values.shape[2] < values.shape[0]:
        values = np.moveaxis(values, 2, 0)
    return values.reshape(-1, values.shape[2])


def _storable(values: Numbers) -> Numbers:
    """Choose the numbers that Pillow keeps as they are: 8 and 16 bits, else of 32."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * WHITE
    if values.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(values)
    bounds = np.iinfo(np.int32)
    is_small = values.dtype.kind in "iu" and (
        not values.size or bounds.min <= values.min() <= values.max() <= bounds.max
    )
    return values.astype(np.int32 if is_small else np.float32)


def range_of(values: Numbers) -> str:
    """Name the range that the numbers of an image use.

    Whole numbers are of 8, 10, 12, 14 or 16 bits, whichever holds the largest: cameras and scanners
    leave the upper bits of 16 empty. Fractions are of 0 to 1, or of 8 bits. Whatever else, decibels
    as well as 32 bits, is of its own range.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    is_whole = np.issubdtype(values.dtype, np.integer)
    if low < 0 or high >= (1 << DEPTHS[-1] if is_whole else WHITE + 1):
        return f"{low:g} to {high:g}"
    if not is_whole:
        return "0 to 1" if high <= 1 else "8 bits"
    return f"{next(depth for depth in DEPTHS if high < 1 << depth)} bits"


def to_8_bits(values: Numbers) -> npt.NDArray[np.uint8]:
    """Bring numbers to 8 bits by the range that they use; what is no number becomes black.

    A range of its own is stretched from the least to the largest value.
    """
    used = range_of(values)
    is_whole = np.issubdtype(values.dtype, np.integer)
    if used.endswith(" bits") and is_whole:
        shift = int(used.partition(" ")[0]) - DEPTHS[0]
        return (values.astype(np.int64) >> shift).astype(np.uint8)
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    low, high = 0.0, {"8 bits": float(WHITE), "0 to 1": 1.0}.get(used)
    if high is None:
        low, high = float(numbers[finite].min()), float(numbers[finite].max())
    scale = WHITE / (high - low) if high > low else 0.0
    scaled = (np.where(finite, numbers, low) - low) * scale
    rounded: npt.NDArray[np.uint8] = np.rint(scaled.clip(0, WHITE)).astype(np.uint8)
    return rounded


# Images in JSON.

CHUNK = 1 << 20  # characters


def unpack_records(path: Path, id_key: str, array_keys: Sequence[str]) -> int:
    """Make of a list of objects in JSON, one per image, a folder of `.npy` files and a CSV.

    Both are called as the file and lie beside it, and it goes. Each image is `(C, S, S)` float32;
    the CSV holds what else is said of it. One object is in memory at a time.

    Args:
        path: The file.
        id_key: The key that names an image.
        array_keys: The keys of its C channels, S² numbers each.

    Returns:
        The number of images.

    Raises:
        DataError: The file isn't such a list, or an image has no name, or one that is no file's.
    """
    folder, names = path.with_suffix(""), set[str]()
    folder.mkdir()
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for number, record in enumerate(_objects(path)):
            where = f"{path}: image {number}"
            others = {key: value for key, value in record.items() if key not in array_keys}
            name = str(others.get(id_key, ""))
            if not name or name in names or _is_odd_name(name):
                raise DataError(f"{where} must have a name of its own in '{id_key}', has {name!r}")
            names.add(name)
            np.save(folder / f"{name}.npy", _channels(where, record, array_keys))
            writer = writer or csv.DictWriter(file, list(others), extrasaction="ignore")
            if len(names) == 1:
                writer.writeheader()
            writer.writerow(others)
    path.unlink()
    return len(names)


MIN_SIDE = 8  # px of a picture in JSON; shorter lists are boxes and the like


@dataclass(frozen=True)
class JsonImages:
    """The images that a JSON file holds.

    Attributes:
        id_key: The key that names an image.
        array_keys: The keys of its channels.
        names: The images' names.
        rows: The keys that hold something else, then what each image has of them.
    """

    id_key: str
    array_keys: tuple[str, ...]
    names: tuple[str, ...]
    rows: list[list[str]]

    @property
    def keys(self) -> dict[str, Any]:
        """The key `records` of an archive that holds the file."""
        return {"id": self.id_key, "arrays": list(self.array_keys)}


def find_json_images(path: Path) -> JsonImages | None:
    """Tell whether a JSON file is a list of images as `unpack_records` reads, and by which keys.

    One object is in memory at a time, but for what isn't its arrays. None where it is no such list,
    or no key names each image.
    """
    others: list[dict[str, Any]] = []
    arrays: tuple[str, ...] = ()
    try:
        for record in _objects(path):
            arrays = arrays or _array_keys(record)
            if not arrays:
                return None
            others.append({key: value for key, value in record.items() if key not in arrays})
    except (DataError, OSError, ValueError):
        return None
    keys = list(others[0]) if others else []
    named = [key for key in keys if _are_names([str(one.get(key, "")) for one in others])]
    if not named:
        return None
    id_key = next((key for key in named if key.lower() == "id"), named[0])
    rows = [keys, *([str(one.get(key, "")) for key in keys] for one in others)]
    return JsonImages(id_key, arrays, tuple(str(one[id_key]) for one in others), rows)


def _array_keys(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Find the keys whose lists have as many numbers as one square of a picture's size."""
    sides = {
        key: math.isqrt(len(value))
        for key, value in record.items()
        if isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    }
    keys = tuple(key for key, side in sides.items() if len(record[key]) == side**2 >= MIN_SIDE**2)
    return keys if len({sides[key] for key in keys}) == 1 else ()


def _are_names(texts: Sequence[str]) -> bool:
    """Whether these can name a file each."""
    are_plain = all(text and not _is_odd_name(text) for text in texts)
    return are_plain and len(set(texts)) == len(texts)


def _is_odd_name(name: str) -> bool:
    return bool(set(name) & set("/\\\0")) or name.startswith(".")


def _channels(where: str, record: dict[str, Any], keys: Sequence[str]) -> Numbers:
    try:
        values = np.array([record[key] for key in keys], dtype=np.float32)
        side = math.isqrt(values.shape[1])
        return values.reshape(len(keys), side, side)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{where} must hold lists of as many numbers as a square has in "
            f"{', '.join(map(repr, keys))}"
        ) from error


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, reading no further than needed."""
    decoder, text = json.JSONDecoder(), ""
    with path.open(encoding="utf-8") as file:
        while not text and (more := file.read(CHUNK)):
            text = more.lstrip()
        if not text.startswith("["):
            raise DataError(f"{path}: must be a list of objects, begins with {text[:1]!r}")
        text = text[1:]
        while True:
            text = text.lstrip(" \t\r\n,")
            if text.startswith("]"):
                return
            try:
                record, end = decoder.raw_decode(text)
            except (json.JSONDecodeError, RecursionError) as error:
                more = file.read(max(CHUNK, len(text)))
                if not more:
                    raise DataError(f"{path}: must be whole JSON, isn't ({error})") from error
                text += more
                continue
            if not isinstance(record, dict):
                raise DataError(f"{path}: must be a list of objects, holds {str(record)[:40]!r}")
            yield record
            text = text[end:]
