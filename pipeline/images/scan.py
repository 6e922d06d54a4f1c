"""The one strict look at every file: type, size, hash, thumbnail, or why it can't be read."""

import hashlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, Header, decode_rgb, read_header
from pipeline.machine import num_cpus

THUMBNAIL_PX = 32
_CHUNK = 32


@dataclass(frozen=True)
class Scan:
    """What one look at a file found.

    Attributes:
        sha256: Digest of the file's bytes.
        header: What the file says of itself; None if it isn't an image.
        thumbnail: `(32, 32)` uint8 grey, squeezed to a square; None if unreadable.
        reason: Why the file can't be read, else empty.
    """

    sha256: str
    header: Header | None
    thumbnail: ByteImage | None
    reason: str


def scan_file(path: Path) -> Scan:
    """Read and decode one file completely; an unreadable one is a finding, not an error."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Scan("", None, None, f"cannot be opened: {error.strerror}")
    sha256 = hashlib.sha256(content).hexdigest()
    header = None
    try:
        header = read_header(content)
        pixels = decode_rgb(content)
    except DataError as error:
        return Scan(sha256, header, None, str(error))
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return Scan(sha256, header, grey, "")


def _scan_chunk(paths: list[Path]) -> list[Scan]:
    return [scan_file(path) for path in paths]


def scan_files(
    paths: list[Path], workers: int | None, advance: Callable[[int], None]
) -> list[Scan]:
    """Scan files in parallel.

    Args:
        paths: The files.
        workers: Number of processes; None for one per core.
        advance: Called with the number of files newly done.

    Returns:
        One Scan per path, in their order.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    # Spawned, not forked: the same on every platform, and safe beside threads.
    context = multiprocessing.get_context("spawn")
    scans: list[Scan] = []
    with ProcessPoolExecutor(
        workers or num_cpus(), mp_context=context, initializer=_one_thread
    ) as pool:
        for chunk in pool.map(_scan_chunk, chunks):
            scans.extend(chunk)
            advance(len(chunk))
    return scans


def _one_thread() -> None:
    cv2.setNumThreads(0)  # the processes share the cores already
