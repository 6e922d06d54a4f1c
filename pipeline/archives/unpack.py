"""Unpack a zip that anyone may have made: never outside its folder, never endlessly."""

import errno
import re
import shutil
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pipeline.archives.errors import ArchiveError
from pipeline.atomic import explained_os_errors
from pipeline.console import progress
from pipeline.errors import DataError

CHUNK_BYTES = 1 << 20
FLAG_ENCRYPTED = 0x1
FLAG_UTF8 = 0x800
LITTER = {".ds_store", "thumbs.db"}
# What zipfile raises on bytes that aren't what they claim to be; ValueError covers bad UTF-8.
FAULTS = (BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, zlib.error)


@dataclass(frozen=True)
class Limits:
    """What an archive may claim before it is taken for a zip bomb.

    `ratio` is unpacked bytes per packed byte; small files may exceed it, as blank images do.
    """

    num_entries: int = 5_000_000
    total_bytes: int = 50 * 10**9
    ratio: int = 1000
    ratio_from_bytes: int = 10 * 10**6


DEFAULT_LIMITS = Limits()


def unpack(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpack a zip into a folder of its own; the files become read-only.

    Folders without files and what macOS and Windows add (`__MACOSX`, `._*`, `Thumbs.db`) are
    left out. On failure the folder holds whatever came before: build it aside and drop it.

    Args:
        archive: The zip.
        folder: Where its entries go; made where missing, and must be empty.
        limits: What is refused for its size.

    Returns:
        The number of files written.

    Raises:
        ArchiveError: The zip is damaged, encrypted, a bomb, or would write elsewhere.
        DataError: The disk hasn't enough room.
    """
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _opened(archive) as zip_file:
        entries = zip_file.infolist()
        _check_sizes(archive, entries, folder, limits)
        files = _files_to_write(archive, entries)
        with progress(f"unpack {archive.name}", len(files), "files") as advance:
            for entry, name in files:
                with _explained_faults(archive, name), explained_os_errors(folder / name):
                    _extract(zip_file, entry, folder / name)
                advance(1)
    return len(files)


@contextmanager
def _opened(archive: Path) -> Iterator[ZipFile]:
    try:
        zip_file = ZipFile(archive)
    except FAULTS as error:
        raise ArchiveError(
            f"{archive}: must be a whole zip archive, is damaged ({error})"
        ) from error
    with zip_file:
        yield zip_file


def _check_sizes(archive: Path, entries: list[ZipInfo], folder: Path, limits: Limits) -> None:
    """Believe the declared sizes; `_extract` holds every entry to its own."""
    if len(entries) > limits.num_entries:
        raise ArchiveError(
            f"{archive}: must hold at most {limits.num_entries:,} entries, holds {len(entries):,}"
        )
    total = sum(entry.file_size for entry in entries)
    if total > limits.total_bytes:
        raise ArchiveError(
            f"{archive}: must unpack to at most {limits.total_bytes:,} bytes, claims {total:,}"
        )
    for entry in entries:
        is_dense = entry.file_size > limits.ratio * max(entry.compress_size, 1)
        if is_dense and entry.file_size > limits.ratio_from_bytes:
            raise ArchiveError(
                f"{archive}: entry '{entry.filename}' must unpack to at most {limits.ratio:,} "
                f"times its {entry.compress_size:,} bytes, claims {entry.file_size:,}: a zip bomb"
            )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise DataError(
            f"{archive}: unpacking must find {total:,} bytes of disk, {free:,} are free; "
            "free some and run the same command again"
        )


def _files_to_write(archive: Path, entries: list[ZipInfo]) -> list[tuple[ZipInfo, PurePosixPath]]:
    """Pair every entry worth writing with its name, after checking all of them."""
    files = []
    for entry in entries:
        name = _safe_name(archive, entry)
        if not entry.is_dir() and name.parts and not _is_litter(name):
            _check_kind(archive, entry, name)
            files.append((entry, name))
    if not files:
        raise ArchiveError(f"{archive}: must hold files, its {len(entries)} entries are none")
    return files


def _safe_name(archive: Path, entry: ZipInfo) -> PurePosixPath:
    """Read an entry's name as a path below the folder, whatever its separators.

    Harmless oddities (`./`, doubled slashes) vanish; a name that leads out is refused, because
    whoever made the archive meant harm or packed the wrong thing.
    """
    name = _decoded_name(entry).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    has_drive = re.match(r"[A-Za-z]:", name) is not None
    has_controls = re.search(r"[\x00-\x1f\x7f]", name) is not None
    if name.startswith("/") or has_drive or has_controls or ".." in parts:
        raise ArchiveError(
            f"{archive}: entries must stay below the archive's folder, {name!r} doesn't"
        )
    return PurePosixPath(*parts)


def _decoded_name(entry: ZipInfo) -> str:
    """Undo zipfile's guess of cp437 where UTF-8 or GBK fits: Chinese Windows writes GBK."""
    name = entry.orig_filename
    if entry.flag_bits & FLAG_UTF8 or name.isascii():
        return name
    try:
        raw = name.encode("cp437")
    except UnicodeEncodeError:  # the name came from a Unicode extra field
        return name
    for encoding in ("utf-8", "gbk"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name


def _is_litter(name: PurePosixPath) -> bool:
    is_resource_fork = "__MACOSX" in name.parts or name.name.startswith("._")
    return is_resource_fork or name.name.lower() in LITTER


def _check_kind(archive: Path, entry: ZipInfo, name: PurePosixPath) -> None:
    """Take plain files only, packed in a way whose unpacking needs no more than a chunk."""
    where = f"{archive}: entry '{name}'"
    if entry.flag_bits & FLAG_ENCRYPTED:
        raise ArchiveError(f"{where} must be readable without a password, is encrypted")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ArchiveError(f"{where} must be a plain file, is a link or a device")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ArchiveError(
            f"{where} must be stored or deflated, is packed by method {entry.compress_type}"
        )


@contextmanager
def _explained_faults(archive: Path, name: PurePosixPath) -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        reason = str(error) or "its data end too early"
        raise ArchiveError(
            f"{archive}: entry '{name}' must be whole, is damaged ({reason})"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(
            f"{archive}: entries must differ in name, '{name}' is there twice "
            "(to this disk, 'a' and 'A' may be one name)"
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArchiveError(f"{archive}: entry '{name}' must have a shorter name") from error


def _extract(zip_file: ZipFile, entry: ZipInfo, target: Path) -> None:
    """Stream one entry; zipfile checks its CRC at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    num_bytes = 0
    with zip_file.open(entry) as packed, target.open("xb") as file:
        while chunk := packed.read(CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > entry.file_size:
                break
            file.write(chunk)
    if num_bytes != entry.file_size:
        raise BadZipFile(f"{num_bytes:,} bytes came, {entry.file_size:,} were declared")
    target.chmod(0o444)
