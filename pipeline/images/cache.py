"""Keep working copies on the disk: decoded once, read in every epoch.

Blocks of images lie in `data/<competition>/.cache`. A block's name is the hash of all that decides
its pixels (the files' digests, the short side, the decoder), so nothing stale can be read, and a
building that was killed goes on where it stopped. A block that isn't there, for want of room, costs
time and changes nothing: its images are decoded whenever they are wanted.
"""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import progress, warn
from pipeline.images.decode import ByteImage
from pipeline.images.decoder_pool import map_in_processes
from pipeline.images.working_copy import (
    ImageRow,
    ImageRows,
    WorkingCopies,
    describe_working_copies,
    working_shape,
)
from pipeline.machine import most_open_files
from pipeline.store.atomic import atomic_path
from pipeline.store.cache_budget import COPIES_SUFFIX, VARIABLE, make_room, mark_used
from pipeline.store.disk_errors import DAMAGE
from pipeline.store.freshness import fingerprint
from pipeline.store.locks import held
from pipeline.store.paths import Paths

CHANNELS = 3
# Small enough that one lost to a kill is soon made again, large enough that a cache is few files.
BLOCK_BYTES = 64 * 2**20


def write_block(path: Path, copies: Sequence[ByteImage]) -> None:
    """Write working copies, whole or not at all.

    A block is NumPy's `.npy` of the heights and widths, `(n, 2)`, and behind it the pixels of all
    images, one after the other, so that it can be read without copying.
    """
    shapes = np.array([copy.shape[:2] for copy in copies], dtype=np.int64)
    num_bytes = sum(copy.nbytes for copy in copies)
    with atomic_path(path, num_bytes) as partial, partial.open("wb") as file:
        np.save(file, shapes, allow_pickle=False)
        for copy in copies:
            file.write(np.ascontiguousarray(copy).data)


class CopyBlock:
    """A block of working copies, mapped into memory; processes that read it share the pages.

    Raises:
        Exception: There is no whole block; one of `disk_errors.DAMAGE`.
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


@dataclass(frozen=True)
class Block:
    """Consecutive images of a table.

    Attributes:
        path: The file of their working copies.
        images: The images, at least one.
        num_bytes: What their pixels take, or nearly: a JPEG decoded smaller may differ by a pixel.
    """

    path: Path
    images: ImageRows
    num_bytes: int


class CachedCopies(WorkingCopies):
    """Working copies of some tables' images, kept on the disk as far as there is room.

    Args:
        paths: Where the images lie and the cache goes.
        side_px: Their short side, see `working_copy`.
        tables: Readable rows of `train.csv` or `test.csv`; room goes to the first ones first.
        since: When the run began that they serve, in nanoseconds since 1970: what was used later
            isn't deleted to make room. None is now.
        interpolation: How they are scaled.
    """

    def __init__(
        self,
        paths: Paths,
        side_px: int,
        *tables: pd.DataFrame,
        since: int | None = None,
        interpolation: str = "bicubic",
    ) -> None:
        super().__init__(paths, side_px, interpolation)
        self._since = time.time_ns() if since is None else since
        blocks = (block for images in tables for block in self._cut(images))
        self._blocks = list({block.path: block for block in blocks}.values())
        self._index = _Index(self._blocks)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what only `build` needs, on the way to processes that read."""
        return vars(self) | {"_blocks": []}

    def _cut(self, images: pd.DataFrame) -> Iterator[Block]:
        """Cut a table into blocks of about BLOCK_BYTES."""
        made_by = describe_working_copies(self.side_px, self.interpolation)
        shapes = zip(images["height"].tolist(), images["width"].tolist(), strict=True)
        copies = (working_shape(*shape, self.side_px) for shape in shapes)
        sizes = np.array([CHANNELS * math.prod(shape) for shape in copies])
        for _, part in images.assign(num_bytes=sizes).groupby(sizes.cumsum() // BLOCK_BYTES):
            name = fingerprint([made_by, part["sha256"].tolist()])
            path = self._paths.cache_dir / f"{name}{COPIES_SUFFIX}"
            yield Block(path, ImageRows(part), int(part["num_bytes"].sum()))

    def build(self) -> None:
        """Make the blocks that are missing, in parallel; of several processes, one after another.

        Raises:
            ConfigError: PIPELINE_CACHE_GB isn't a number.
            DataError: An image can't be read any more, or the disk is full.
        """
        for block in self._blocks:
            mark_used(block.path)
        if not _missing(self._blocks):
            return
        what = f"cache {self._paths.competition}"
        with held(self._paths.cache_lock, what):
            missing = _missing(self._affordable())
            if missing:  # another process may have just made them
                self._write(missing, what)

    def _affordable(self) -> list[Block]:
        """Return the blocks there is room for, and say so if it isn't all of them."""
        sizes = {block.path: block.num_bytes for block in self._blocks}
        room = make_room(self._paths, sizes, self._since, in_part=True)
        kept = [block for block in self._blocks if block.path in room.paths]
        if len(kept) < len(self._blocks):
            warn(
                f"{self._paths.cache_dir}: has room for {room.num_bytes / 1e9:.1f} GB, the decoded "
                f"images take {sum(sizes.values()) / 1e9:.1f} GB: {_count(kept):,} of "
                f"{_count(self._blocks):,} are kept, the others decoded whenever they are wanted; "
                f"{VARIABLE} and free space allow more"
            )
        return kept

    def _write(self, blocks: Sequence[Block], what: str) -> None:
        write = functools.partial(
            _write_block, WorkingCopies(self._paths, self.side_px, self.interpolation)
        )
        with progress(what, _count(blocks)) as advance:
            for num_written in map_in_processes(write, blocks):
                advance(num_written)

    def read(self, image: ImageRow) -> ByteImage:
        """See `WorkingCopies.read`; what is cached is mapped from the disk, read-only."""
        if place := self._index.find(image.sha256):
            path, row = place
            block = _opened(path)
            if block:
                return block[row]
        return super().read(image)


class _Index:
    """Where each image's working copy stands: in arrays, as every process that reads has them."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._paths = [block.path for block in blocks]
        lengths = [len(block.images) for block in blocks]
        digests = [image.sha256.encode() for block in blocks for image in block.images]
        keys = np.array(digests, dtype=np.bytes_)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._block_of = np.repeat(np.arange(len(blocks), dtype=np.int32), lengths)[order]
        rows = [np.arange(length, dtype=np.int32) for length in lengths]
        self._row_of = np.concatenate(rows)[order] if rows else np.empty(0, np.int32)

    def find(self, sha256: str) -> tuple[Path, int] | None:
        """Return the block of an image's copy and its row there; None if it is in none."""
        key = sha256.encode()
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        return self._paths[int(self._block_of[place])], int(self._row_of[place])


def _write_block(copies: WorkingCopies, block: Block) -> int:
    write_block(block.path, [copies.read(image) for image in block.images])
    return len(block.images)


def _count(blocks: Sequence[Block]) -> int:
    return sum(len(block.images) for block in blocks)


def _missing(blocks: Sequence[Block]) -> list[Block]:
    return [block for block in blocks if not _opened(block.path)]


def _opened(path: Path) -> CopyBlock | None:
    """Open a block; None where there is none, or none that is whole."""
    try:
        return _open(path)
    except DAMAGE:
        return None


# Every block that is mapped keeps its file open.
@functools.lru_cache(maxsize=2 * most_open_files())
def _open(path: Path) -> CopyBlock:
    return CopyBlock(path)
