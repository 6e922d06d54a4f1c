"""Check an archive's entries and write them, whatever the kind of archive; read those of zips.

Entries are judged by their names before any is written, and none is written further than it claims.
"""

import re
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, NamedTuple, Protocol, Self
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.errors import ArchiveError
from pipeline.store.folders import is_litter

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One thing that an archive says it holds; nothing of it is believed yet.

    Two entries are two things even if they say the same.

    Attributes:
        name: As the archive spells it.
        num_bytes: Size that it claims to unpack to.
        packed_bytes: Size that this comes from.
        is_dir: Whether it is a folder.
        flaw: Why it mustn't be unpacked, as the end of a sentence that begins with its name.
        open: Opens its content; None where entries can't be read one by one.
    """

    name: str
    num_bytes: int
    packed_bytes: int
    is_dir: bool
    flaw: str
    open: Callable[[], IO[bytes]] | None = None


class Sink(Protocol):
    """Takes the content of an entry, piece by piece."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


Receive = Callable[[Entry], AbstractContextManager[Sink]]


class Contents(NamedTuple):
    """An open archive: its entries, and a function that unpacks some of them."""

    entries: Iterator[Entry]
    extract: Callable[[Sequence[Entry], Receive], None]


def extract_each(entries: Sequence[Entry], receive: Receive) -> None:
    """Unpack entries that can be read one by one."""
    for entry in entries:
        with receive(entry) as sink:
            assert entry.open is not None, entry.name
            with entry.open() as packed:
                while chunk := packed.read(CHUNK_BYTES):
                    sink.write(chunk)


def decoded(raw: bytes, fallback: str) -> str:
    """Read a name of unknown encoding as UTF-8, else as GBK, which Chinese Windows writes."""
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return fallback


def files_to_write(where: str, entries: Sequence[Entry]) -> dict[Entry, PurePosixPath]:
    """Name the entries worth writing by their paths below the folder, after checking all of them.

    Raises:
        ArchiveError: A name leads out of the folder, an entry is no plain file or is there
            twice, or none is a file.
    """
    names: dict[Entry, PurePosixPath] = {}
    for entry in entries:
        name = _safe_name(where, entry.name)
        if not entry.is_dir and name.parts and not is_litter(name):
            if entry.flaw:
                raise ArchiveError(f"{where}: entry '{name}' {entry.flaw}")
            names[entry] = name
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        raise ArchiveError(f"{where}: entries must differ in name, '{repeated[0]}' is there twice")
    if not names:
        raise ArchiveError(f"{where}: must hold files, holds {len(entries)} entries and no file")
    return names


def _safe_name(where: str, name: str) -> PurePosixPath:
    """Read an entry's name as a path below the folder, whatever its separators.

    Harmless oddities (`./`, doubled slashes) vanish; a name that leads out is refused, because
    whoever made the archive meant harm or packed the wrong thing.
    """
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    has_drive = any(re.match(r"[A-Za-z]:", part) for part in parts)
    has_controls = re.search(r"[\x00-\x1f\x7f]", name) is not None
    if name.startswith("/") or has_drive or has_controls or ".." in parts:
        raise ArchiveError(
            f"{where}: entries must stay below the archive's folder, {name!r} leads elsewhere"
        )
    return PurePosixPath(*parts)


class OutFile:
    """A new file of a size that is known beforehand; read-only when it is complete.

    Raises:
        EOFError: More or fewer bytes came than were declared.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self._path = path
        self._declared = num_bytes
        self._num_written = 0

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")
        return self

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._num_written += len(chunk)
        if self._num_written > self._declared:
            self._check_size()
        self._file.write(chunk)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._check_size()
            self._path.chmod(0o444)

    def _check_size(self) -> None:
        if self._num_written != self._declared:
            raise EOFError(f"{self._num_written:,} bytes came, {self._declared:,} were declared")


# Zips, of which entries are read one by one.

FLAG_ENCRYPTED = 0x1
FLAG_UTF8 = 0x800
# What zipfile raises on bytes that aren't what they claim to be; ValueError covers bad UTF-8.
ZIP_FAULTS = (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error)


@contextmanager
def opened_zip(archive: Path) -> Iterator[Contents]:
    """Open a zip; zipfile checks each entry's CRC when it has been read."""
    with ZipFile(archive) as zip_file:
        entries = (
            Entry(
                name=_name(info),
                num_bytes=info.file_size,
                packed_bytes=info.compress_size,
                is_dir=info.is_dir(),
                flaw=_flaw(info),
                open=partial(zip_file.open, info),
            )
            for info in zip_file.infolist()
        )
        yield Contents(entries, extract_each)


def _name(info: ZipInfo) -> str:
    """Undo zipfile's guess of cp437 where UTF-8 or GBK fits."""
    name = info.orig_filename
    if info.flag_bits & FLAG_UTF8 or name.isascii():
        return name
    try:
        return decoded(name.encode("cp437"), fallback=name)
    except UnicodeEncodeError:  # the name came from a Unicode extra field
        return name


def _flaw(info: ZipInfo) -> str:
    """Take plain files only, packed in a way whose unpacking needs no more than a chunk."""
    if info.flag_bits & FLAG_ENCRYPTED:
        return "must be readable without a password, is encrypted"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "must be a plain file, is a link or a device"
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return f"must be stored or deflated, is packed by method {info.compress_type}"
    return ""
