"""Entries of a tar, gzipped or not.

tarfile takes a damaged header in the middle for the end, reads headers of any length into memory
and leaves the checksum of the gzip unread; all three are mended here.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

from pipeline.archives.entries import Entry, decoded

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_READ = 1 << 20
# What tarfile and gzip raise on bytes that aren't what they claim to be.
FAULTS = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
)


class _Frugal:
    """A file that is read in small pieces only: a long name may claim to be gigabytes long."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._read = file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_READ:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._read(size)


@contextmanager
def opened(archive: Path) -> Iterator[Iterator[Entry]]:
    """Open a tar and yield its entries; a gzip's checksum is checked after the last of them."""
    with _unzipped(archive) as stream:
        file = cast("IO[bytes]", _Frugal(stream))
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            yield _entries(tar, file, archive.stat().st_size)


def looks_like_tar(archive: Path) -> bool:
    """Whether a file begins as a tar does."""
    try:
        with _unzipped(archive) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except FAULTS:
        return False
    return True


@contextmanager
def _unzipped(archive: Path) -> Iterator[IO[bytes]]:
    """Undo the gzip, if it is one: some browsers have done so already and kept the name."""
    with archive.open("rb") as raw:
        is_gzip = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        if not is_gzip:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield cast("IO[bytes]", stream)


def _entries(tar: tarfile.TarFile, file: IO[bytes], archive_bytes: int) -> Iterator[Entry]:
    """List the entries one by one: to find the next, all before it has to be unpacked."""
    while (info := tar.next()) is not None:
        if info.size < 0:
            raise tarfile.ReadError(f"a header claims {info.size:,} bytes")
        yield Entry(
            name=_name(info),
            num_bytes=info.size,
            packed_bytes=archive_bytes,
            is_dir=info.isdir(),
            flaw=_flaw(info),
            open=cast("Callable[[], IO[bytes]]", partial(tar.extractfile, info)),
        )
    _check_end(tar, file)


def _check_end(tar: tarfile.TarFile, file: IO[bytes]) -> None:
    """Hold the tar to the empty block that must end it, and the gzip to its checksum."""
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it ends, or has no header, at byte {tar.offset:,}")
    while file.read(LONGEST_READ):
        pass


def _name(info: tarfile.TarInfo) -> str:
    raw = info.name.encode("utf-8", "surrogateescape")
    return decoded(raw, fallback=raw.decode("latin-1"))


def _flaw(info: tarfile.TarInfo) -> str:
    is_plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    return "" if is_plain else "must be a plain file, is a link, a device or sparse"
