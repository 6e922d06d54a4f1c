"""Read the entries of a 7z by py7zr, an optional package: LGPL, and few competitions need it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from pipeline.data.archives.entries import Contents, Entry, Receive, Sink
from pipeline.errors import ArchiveError, DataError, PipelineError
from pipeline.machine import is_installed

if TYPE_CHECKING:
    from py7zr import FileInfo, SevenZipFile
    from py7zr.io import WriterFactory

PACKAGE = "py7zr"
MAGIC = b"7z\xbc\xaf\x27\x1c"
ENCRYPTION = "7zAES"


class _DamageError(Exception):
    """The bytes aren't what they claim to be."""


FAULTS = (_DamageError, EOFError)


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
            f"installed; run '{sys.executable} -m pip install {PACKAGE}', or unpack it by hand "
            "into a folder of its name beside it"
        )


def looks_like_7z(archive: Path) -> bool:
    """Whether a file begins as a 7z does."""
    with archive.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def opened(archive: Path) -> Iterator[Contents]:
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
                entries = _entries(seven_zip, archive.stat().st_size)
        except PasswordRequired as error:
            raise ArchiveError(
                f"{archive}: must be readable without a password, is encrypted"
            ) from error

        def extract(wanted: Sequence[Entry], receive: Receive) -> None:
            with _named_damage():
                _extract(seven_zip, wanted, receive)

        yield Contents(iter(entries), extract)


def _entries(seven_zip: "SevenZipFile", archive_bytes: int) -> list[Entry]:
    is_encrypted = ENCRYPTION in seven_zip.archiveinfo().method_names
    return [
        Entry(
            name=info.filename,
            num_bytes=info.uncompressed,
            packed_bytes=archive_bytes,
            is_dir=info.is_directory,
            flaw=_flaw(info, is_encrypted=is_encrypted),
        )
        for info in seven_zip.list()
    ]


def _flaw(info: "FileInfo", *, is_encrypted: bool) -> str:
    if is_encrypted:
        return "must be readable without a password, is encrypted"
    return "" if info.is_file else "must be a plain file, is a link or a device"


def _extract(seven_zip: "SevenZipFile", wanted: Sequence[Entry], receive: Receive) -> None:
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
