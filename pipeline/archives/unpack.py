"""Unpack a zip or tar that anyone may have made: never outside its folder, never endlessly."""

import errno
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import is_zipfile

from pipeline.archives import tars, zips
from pipeline.archives.entries import Entry
from pipeline.archives.errors import ArchiveError
from pipeline.atomic import explained_os_errors
from pipeline.competition import Container, container_of
from pipeline.console import progress
from pipeline.errors import DataError

CHUNK_BYTES = 1 << 20
LITTER = {".ds_store", "thumbs.db"}
FAULTS = (*zips.FAULTS, *tars.FAULTS)
OPENERS = {"zip": zips.opened, "tar": tars.opened}


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


def looks_like(path: Path, container: Container) -> bool:
    """Whether a file seems to be a zip or a tar; only unpacking it finds every fault."""
    return is_zipfile(path) if container == "zip" else tars.looks_like_tar(path)


def unpack(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpack a zip or tar into a folder of its own; the files become read-only.

    Folders without files and what macOS and Windows add (`__MACOSX`, `._*`, `Thumbs.db`) are
    left out. On failure the folder holds whatever came before: build it aside and drop it.

    Args:
        archive: The zip or tar; its name says which.
        folder: Where its entries go; made where missing, and must be empty.
        limits: What is refused for its size.

    Returns:
        The number of files written.

    Raises:
        ArchiveError: The archive is damaged, encrypted, a bomb, or would write elsewhere.
        DataError: The disk hasn't enough room.
    """
    container = container_of(archive.name)
    assert container is not None, archive
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _explained_damage(f"{archive}: must be a whole {container} archive"):
            listed = stack.enter_context(OPENERS[container](archive))
            entries = _within_limits(archive, listed, limits)
        _check_room(archive, entries, folder)
        files = _files_to_write(archive, entries)
        with progress(f"unpack {archive.name}", len(files), "files") as advance:
            for entry, name in files:
                with explained_os_errors(folder / name), _explained_faults(archive, name):
                    _extract(entry, folder / name)
                advance(1)
    return len(files)


def _within_limits(archive: Path, listed: Iterable[Entry], limits: Limits) -> list[Entry]:
    """List the entries up to the first that is too much, as listing a tar means unzipping it.

    The declared sizes are believed; `_extract` holds every entry to its own.
    """
    entries: list[Entry] = []
    total = 0
    for entry in listed:
        entries.append(entry)
        total += entry.num_bytes
        if len(entries) > limits.num_entries:
            raise ArchiveError(
                f"{archive}: must hold at most {limits.num_entries:,} entries, "
                f"holds {len(entries):,} or more"
            )
        if total > limits.total_bytes:
            raise ArchiveError(
                f"{archive}: must unpack to at most {limits.total_bytes:,} bytes, "
                f"claims {total:,} or more"
            )
        is_dense = entry.num_bytes > limits.ratio * max(entry.packed_bytes, 1)
        if is_dense and entry.num_bytes > limits.ratio_from_bytes:
            raise ArchiveError(
                f"{archive}: entry {entry.name!r} must unpack to at most {limits.ratio:,} "
                f"times its {entry.packed_bytes:,} bytes, claims {entry.num_bytes:,}: a zip bomb"
            )
    return entries


def _check_room(archive: Path, entries: list[Entry], folder: Path) -> None:
    total = sum(entry.num_bytes for entry in entries)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise DataError(
            f"{archive}: unpacking must find {total:,} bytes of disk, {free:,} are free; "
            "free some and run the same command again"
        )


def _files_to_write(archive: Path, entries: list[Entry]) -> list[tuple[Entry, PurePosixPath]]:
    """Pair every entry worth writing with its name, after checking all of them."""
    files = []
    for entry in entries:
        name = _safe_name(archive, entry.name)
        if not entry.is_dir and name.parts and not _is_litter(name):
            if entry.flaw:
                raise ArchiveError(f"{archive}: entry '{name}' {entry.flaw}")
            files.append((entry, name))
    if not files:
        raise ArchiveError(f"{archive}: must hold files, its {len(entries)} entries are none")
    return files


def _safe_name(archive: Path, name: str) -> PurePosixPath:
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
            f"{archive}: entries must stay below the archive's folder, {name!r} doesn't"
        )
    return PurePosixPath(*parts)


def _is_litter(name: PurePosixPath) -> bool:
    is_resource_fork = "__MACOSX" in name.parts or name.name.startswith("._")
    return is_resource_fork or name.name.lower() in LITTER


@contextmanager
def _explained_damage(rule: str) -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        reason = str(error) or "its data end too early"
        raise ArchiveError(f"{rule}, is damaged ({reason})") from error


@contextmanager
def _explained_faults(archive: Path, name: PurePosixPath) -> Iterator[None]:
    try:
        with _explained_damage(f"{archive}: entry '{name}' must be whole"):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(
            f"{archive}: entries must differ in name, '{name}' is there twice "
            "(to this disk, 'a' and 'A' may be one name)"
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArchiveError(f"{archive}: entry '{name}' must have a shorter name") from error


def _extract(entry: Entry, target: Path) -> None:
    """Stream one entry, no further than it claims to go."""
    target.parent.mkdir(parents=True, exist_ok=True)
    num_bytes = 0
    with entry.open() as packed, target.open("xb") as file:
        while chunk := packed.read(CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > entry.num_bytes:
                break
            file.write(chunk)
    if num_bytes != entry.num_bytes:
        raise EOFError(f"{num_bytes:,} bytes came, {entry.num_bytes:,} were declared")
    target.chmod(0o444)
