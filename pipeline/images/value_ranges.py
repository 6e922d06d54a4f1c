"""Bring pixels of any range to 8 bits: 10 to 16 bits, 32 bits, fractions, decibels."""

from typing import Any

import numpy as np
import numpy.typing as npt

WHITE = 255
DEPTHS = (8, 10, 12, 14, 16)  # bits of a pixel

Numbers = npt.NDArray[Any]


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
