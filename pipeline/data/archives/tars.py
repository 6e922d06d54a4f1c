"""Read the entries of a tar, compressed by gzip, bzip2, xz or not at all.

tarfile takes a damaged header in the middle for the end, reads headers of any length into memory
and leaves the checksum of the compressed file unread; all three are mended here.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, cast

from pipeline.data.archives.entries import Contents, Entry, decoded, extract_each

COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], AbstractContextManager[object]]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
LONGEST_MAGIC = max(map(len, COMPRESSIONS))
LONGEST_READ = 1 << 20
# Blocks of zeros behind the last entry: a few kilobytes in earnest, a terabyte packed into one.
LONGEST_PADDING = 64 << 20
# What tarfile and gzip raise on bytes that aren't what they claim to be.
FAULTS = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
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
        try:
            return self._read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            raise tarfile.ReadError(str(error)) from error  # so bz2 tells of damage


@contextmanager
def opened(archive: Path) -> Iterator[Contents]:
    """Open a tar; the checksum of a compressed one is checked after the last of its entries."""
    with _decompressed(archive) as stream:
        file = cast("IO[bytes]", _Frugal(stream))
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            yield Contents(_entries(tar, file, archive.stat().st_size), extract_each)


def looks_like_tar(archive: Path) -> bool:
    """Whether a file begins as a tar does."""
    try:
        with _decompressed(archive) as stream:
            begin = _Frugal(stream).read(tarfile.BLOCKSIZE)
            tarfile.TarInfo.frombuf(begin, "utf-8", "surrogateescape")
    except FAULTS:
        return False
    return True


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    """Undo the compression by what the file is: some browsers have done so and kept the name."""
    with archive.open("rb") as raw:
        begin = raw.read(LONGEST_MAGIC)
        raw.seek(0)
        opener = next(
            (COMPRESSIONS[magic] for magic in COMPRESSIONS if begin.startswith(magic)), None
        )
        if opener is None:
            yield raw
            return
        with opener(raw) as stream:
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
    """Hold the tar to the empty block that must end it, and its compression to the checksum."""
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it ends, or has no header, at byte {tar.offset:,}")
    while file.read(LONGEST_READ):
        if file.tell() - tar.offset > LONGEST_PADDING:
            raise tarfile.ReadError(f"more than {LONGEST_PADDING:,} bytes follow its last entry")


def _name(info: tarfile.TarInfo) -> str:
    raw = info.name.encode("utf-8", "surrogateescape")
    return decoded(raw, fallback=raw.decode("latin-1"))


def _flaw(info: tarfile.TarInfo) -> str:
    is_plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    return "" if is_plain else "must be a plain file, is a link, a device or sparse"
