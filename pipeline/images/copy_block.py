"""The file format of cached working copies: a block of images, read without copying.

A block is NumPy's `.npy` of the heights and widths, `(n, 2)`, and behind it the pixels of all
images, one after the other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.files.atomic import atomic_path
from pipeline.images.decode import ByteImage

CHANNELS = 3


def write_block(path: Path, copies: Sequence[ByteImage]) -> None:
    """Write working copies, whole or not at all."""
    shapes = np.array([copy.shape[:2] for copy in copies], dtype=np.int64)
    num_bytes = sum(copy.nbytes for copy in copies)
    with atomic_path(path, num_bytes) as partial, partial.open("wb") as file:
        np.save(file, shapes, allow_pickle=False)
        for copy in copies:
            file.write(np.ascontiguousarray(copy).data)


class CopyBlock:
    """A block of working copies, mapped into memory; processes that read it share the pages.

    Raises:
        Exception: There is no whole block; one of `array_files.DAMAGE`.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            shapes = np.load(file, allow_pickle=False)  # (n, 2)
            pixels_start = file.tell()
        self._shapes = [(height, width, CHANNELS) for height, width in shapes.tolist()]
        self._ends = np.cumsum(shapes.prod(axis=1) * CHANNELS).tolist()
        self._pixels = np.asarray(np.memmap(path, np.uint8, "r", offset=pixels_start))
        if len(self._pixels) != self._ends[-1] or shapes.min() < 1:
            raise ValueError(f"{self._ends[-1]:,} bytes expected, {len(self._pixels):,} found")

    def __getitem__(self, row: int) -> ByteImage:
        """Return a working copy, `(H, W, 3)`, read-only; its bytes are read when they are used."""
        start = self._ends[row - 1] if row else 0
        return self._pixels[start : self._ends[row]].reshape(self._shapes[row])
