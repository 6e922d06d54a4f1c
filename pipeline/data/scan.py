"""Scan every file once, strictly: type, size, hash, thumbnail, or why it can't be read."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, Header, decode_rgb, read_header
from pipeline.images.decoder_pool import map_in_processes
from pipeline.store.freshness import file_sha256

THUMBNAIL_PX = 32


@dataclass(frozen=True)
class Scan:
    """The findings of one look at a file.

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


def scan_files(
    paths: list[Path], workers: int | None, advance: Callable[[int], None]
) -> list[Scan]:
    """Scan files in parallel; one that a decoder crashes on is unreadable, and costs no other.

    Args:
        paths: The files.
        workers: Number of processes; None for one per core.
        advance: Called with the number of files newly done.

    Returns:
        One Scan per path, in their order.

    Raises:
        DataError: Processes can't be started.
    """
    scans: list[Scan] = []
    for scan in map_in_processes(scan_file, paths, workers, _unreadable):
        scans.append(scan)
        advance(1)
    return scans


def _unreadable(path: Path, cause: str) -> Scan:
    """Record a file that processes died of; only its bytes are looked at here."""
    try:
        sha256 = file_sha256(path)
    except OSError:
        sha256 = ""
    return Scan(sha256, None, None, f"cannot be decoded: it ends the process that tries ({cause})")
