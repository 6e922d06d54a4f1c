"""Read the entries of a tar, compressed by gzip, bzip2, xz or not at all, and of a 7z.

tarfile takes a damaged header in the middle for the end, reads headers of any length into memory
and leaves the checksum of the compressed file unread; all three are mended here. A 7z needs py7zr,
an optional package: LGPL, and few competitions need it.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, cast

from pipeline.data.archives.entries import Contents, Entry, Receive, Sink, decoded, extract_each
from pipeline.errors import ArchiveError, DataError, PipelineError
from pipeline.machine import is_installed, pip_install

if TYPE_CHECKING:
    from py7zr import FileInfo, SevenZipFile
    from py7zr.io import WriterFactory

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
TAR_FAULTS = (
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
def opened_tar(archive: Path) -> Iterator[Contents]:
    """Open a tar; the checksum of a compressed one is checked after the last of its entries."""
    with _decompressed(archive) as stream:
        file = cast("IO[bytes]", _Frugal(stream))
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            yield Contents(_tar_entries(tar, file, archive.stat().st_size), extract_each)


def looks_like_tar(archive: Path) -> bool:
    """Whether a file begins as a tar does."""
    try:
        with _decompressed(archive) as stream:
            begin = _Frugal(stream).read(tarfile.BLOCKSIZE)
            tarfile.TarInfo.frombuf(begin, "utf-8", "surrogateescape")
    except TAR_FAULTS:
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


def _tar_entries(tar: tarfile.TarFile, file: IO[bytes], archive_bytes: int) -> Iterator[Entry]:
    """List the entries one by one: to find the next, all before it has to be unpacked."""
    while (info := tar.next()) is not None:
        if info.size < 0:
            raise tarfile.ReadError(f"a header claims {info.size:,} bytes")
        yield Entry(
            name=_tar_name(info),
            num_bytes=info.size,
            packed_bytes=archive_bytes,
            is_dir=info.isdir(),
            flaw=_tar_flaw(info),
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


def _tar_name(info: tarfile.TarInfo) -> str:
    raw = info.name.encode("utf-8", "surrogateescape")
    return decoded(raw, fallback=raw.decode("latin-1"))


def _tar_flaw(info: tarfile.TarInfo) -> str:
    is_plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    return "" if is_plain else "must be a plain file, is a link, a device or sparse"


# 7z.

PACKAGE = "py7zr"
MAGIC = b"7z\xbc\xaf\x27\x1c"
ENCRYPTION = "7zAES"


class _DamageError(Exception):
    """The bytes aren't what they claim to be."""


SEVEN_ZIP_FAULTS = (_DamageError, EOFError)


def can_read_7z() -> bool:
    """Whether the package that reads and writes 7z archives is installed."""
    return is_installed(PACKAGE)


def require_seven_zip(archive: str) -> None:
    """Check that the package that reads and writes 7z archives is installed.

    Raises:
        DataError: It isn't.
    """
    if not can_read_7z():
        raise DataError(
            f"{archive}: a 7z needs the package {PACKAGE} (the extra 'sevenzip'), which isn't "
            f"installed; run '{pip_install(PACKAGE)}', or unpack it by hand "
            "into a folder of its name beside it"
        )


def looks_like_7z(archive: Path) -> bool:
    """Whether a file begins as a 7z does."""
    with archive.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def opened_7z(archive: Path) -> Iterator[Contents]:
    """Open a 7z; its entries are packed in blocks, so they are unpacked all together.

    Raises:
        DataError: py7zr isn't installed.
        ArchiveError: The names in the archive are encrypted.
    """
    require_seven_zip(str(archive))
    from py7zr import SevenZipFile
    from py7zr.exceptions import PasswordRequired

    # py7zr unpacks a file that it opens itself in several threads at once.
    with archive.open("rb") as file, ExitStack() as stack:
        try:
            with _named_damage():
                seven_zip = stack.enter_context(SevenZipFile(file, "r"))
                entries = _7z_entries(seven_zip, archive.stat().st_size)
        except PasswordRequired as error:
            raise ArchiveError(
                f"{archive}: must be readable without a password, is encrypted"
            ) from error

        def extract(wanted: Sequence[Entry], receive: Receive) -> None:
            with _named_damage():
                _extract_7z(seven_zip, wanted, receive)

        yield Contents(iter(entries), extract)


def _7z_entries(seven_zip: "SevenZipFile", archive_bytes: int) -> list[Entry]:
    is_encrypted = ENCRYPTION in seven_zip.archiveinfo().method_names
    return [
        Entry(
            name=info.filename,
            num_bytes=info.uncompressed,
            packed_bytes=archive_bytes,
            is_dir=info.is_directory,
            flaw=_7z_flaw(info, is_encrypted=is_encrypted),
        )
        for info in seven_zip.list()
    ]


def _7z_flaw(info: "FileInfo", *, is_encrypted: bool) -> str:
    if is_encrypted:
        return "must be readable without a password, is encrypted"
    return "" if info.is_file else "must be a plain file, is a link or a device"


def _extract_7z(seven_zip: "SevenZipFile", wanted: Sequence[Entry], receive: Receive) -> None:
    # py7zr makes paths of the names before it asks for a place to write to; nothing is written
    # to this folder.
    with TemporaryDirectory() as nowhere, ExitStack() as place:
        root = Path(nowhere).resolve()
        by_path = {(root / entry.name).as_posix(): entry for entry in wanted}
        receivers = _Receivers(by_path, receive, place)
        names = [entry.name for entry in wanted]
        seven_zip.extract(root, names, factory=cast("WriterFactory", receivers))
        if receivers.num_done != len(wanted):
            raise EOFError(f"{receivers.num_done:,} of {len(wanted):,} entries came")


@dataclass
class _Receivers:
    """Gives py7zr a place to write each entry to; one is open at a time, and stands in `place`."""

    by_path: dict[str, Entry]
    receive: Receive
    place: ExitStack
    num_done: int = 0

    def create(self, filename: str) -> "_Receiver":
        return _Receiver(self, self.place.enter_context(self.receive(self.by_path[filename])))


@dataclass
class _Receiver:
    """The file-like object that py7zr writes one entry to."""

    owner: _Receivers
    sink: Sink

    def write(self, chunk: bytes) -> int:
        self.sink.write(chunk)
        return len(chunk)

    def flush(self) -> None:
        pass

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Mark the entry complete; py7zr calls this after the last write."""
        self.owner.place.close()
        self.owner.num_done += 1


@contextmanager
def _named_damage() -> Iterator[None]:
    """Give damage a name: spoiled bytes lead py7zr to raise all kinds of errors."""
    from py7zr.exceptions import PasswordRequired

    try:
        yield
    except (OSError, EOFError, PipelineError, PasswordRequired):
        raise
    except Exception as error:
        raise _DamageError(f"{type(error).__name__}: {error}") from error
