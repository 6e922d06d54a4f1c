"""Where archives come from: URLs tried in order, or files of a folder, found by name."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch

from pipeline import console
from pipeline.archives.errors import ArchiveError
from pipeline.archives.fetch import DEFAULT_PATIENCE, Patience, fetch
from pipeline.archives.unpack import looks_like
from pipeline.atomic import atomic_path
from pipeline.competition import Archive, Competition, Container
from pipeline.errors import ConfigError, DataError

NUM_NAMES_SHOWN = 3
SNIFFED_BYTES = 512
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A URL, or a file as it was when looked at: another size or time means other content."""

    place: str
    num_bytes: int | None = None
    mtime_ns: int | None = None

    @property
    def is_url(self) -> bool:
        """Whether the place is fetched rather than copied."""
        return is_url(self.place)

    @property
    def record(self) -> dict[str, Any]:
        """What a stamp says of it."""
        return asdict(self)


def is_url(place: str) -> bool:
    """Whether a `--from` is a base URL rather than a folder."""
    return place.lower().startswith(("http://", "https://"))


def find_sources(competition: Competition, place: str | None) -> dict[str, tuple[Source, ...]]:
    """List for every archive, by name, the sources to try in order.

    Args:
        competition: Its archives, with their aliases and urls.
        place: A folder or base URL that holds them all; None for each archive's own urls.

    Returns:
        Sources by the archive's name; none where an archive has no urls.

    Raises:
        ConfigError: The base URL holds a password.
        DataError: The folder is none, or archives are missing in it.
    """
    if place is None:
        return {archive.name: tuple(map(Source, archive.urls)) for archive in competition.archives}
    if is_url(place):
        if "@" in urlsplit(place).netloc:
            raise ConfigError("--from: must not hold a password; put it into ~/.netrc")
        base = place.rstrip("/")
        return {
            archive.name: tuple(Source(f"{base}/{name}") for name in _names(archive))
            for archive in competition.archives
        }
    return _files_of_folder(competition, Path(place))


def _names(archive: Archive) -> tuple[str, ...]:
    return (archive.name, *archive.aliases)


def _files_of_folder(competition: Competition, folder: Path) -> dict[str, tuple[Source, ...]]:
    wanted = ", ".join(_shown_names(archive) for archive in competition.archives)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is missing"
        raise DataError(
            f"--from {folder}: must be an http(s) URL or a folder that holds {wanted}, {found}"
        )
    files = {archive.name: _find_file(folder, archive) for archive in competition.archives}
    missing = [archive for archive in competition.archives if files[archive.name] is None]
    if missing:
        names = ", ".join(_shown_names(archive) for archive in missing)
        raise DataError(
            f"{competition.name}: {names} must be in {folder}, which {_shown_content(folder)}; "
            f"put {'it' if len(missing) == 1 else 'them'} there and run "
            f"'pipeline download {competition.name} --from {folder}'"
        )
    return {name: (_describe(file),) for name, file in files.items() if file is not None}


def _find_file(folder: Path, archive: Archive) -> Path | None:
    """Look in the folder itself; only where nothing is there, in the folders below it."""
    for name in _names(archive):
        if (folder / name).is_file():
            return folder / name
    for name in _names(archive):
        below = sorted(path for path in folder.rglob(name) if path.is_file())
        if len(below) > 1:
            shown = ", ".join(path.relative_to(folder).as_posix() for path in below)
            raise DataError(
                f"{folder}: must hold one file '{name}', holds {len(below)} below it: {shown}; "
                "pass --from with the folder of the right one"
            )
        if below:
            return below[0]
    return None


def _describe(file: Path) -> Source:
    status = file.stat()
    return Source(str(file.resolve()), status.st_size, status.st_mtime_ns)


def _shown_names(archive: Archive) -> str:
    return archive.name + (f" (or {' or '.join(archive.aliases)})" if archive.aliases else "")


def _shown_content(folder: Path) -> str:
    entries = sorted(folder.iterdir())
    if not entries:
        return "is empty"
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    more = ", ..." if len(names) > NUM_NAMES_SHOWN else ""
    count = f"{len(names):,} {'entry' if len(names) == 1 else 'entries'}"
    return f"holds {', '.join(names[:NUM_NAMES_SHOWN])}{more} ({count})"


def bring(
    archive: Archive,
    sources: Sequence[Source],
    target: Path,
    patience: Patience = DEFAULT_PATIENCE,
) -> Source:
    """Copy or fetch an archive from the first source that gives it whole.

    Args:
        archive: What it must be.
        sources: At least one, tried in order.
        target: Appears only when whole and verified.
        patience: How long to try each URL.

    Returns:
        The source that gave it.

    Raises:
        ArchiveError: No source gave it; the message is the last one's, earlier ones are warned of.
    """
    for number, source in enumerate(sources, start=1):
        try:
            verify = partial(check, archive, source.place)
            if source.is_url:
                fetch(source.place, target, verify, patience)
            else:
                _copy(Path(source.place), target, verify)
        except ArchiveError as error:
            if number == len(sources):
                raise
            console.warn(f"{error}; trying {sources[number].place}")
        else:
            return source
    raise AssertionError(f"{archive.name}: called without sources")


def _copy(file: Path, target: Path, verify: Callable[[Path], None]) -> None:
    """Copy with the time of change, so that `--from` the archives' own folder stays fresh."""
    console.say(f"copying {file} ({file.stat().st_size / 1e6:,.1f} MB)")
    try:
        content = file.open("rb")
    except OSError as error:
        raise ArchiveError(f"{file}: must be readable ({error.strerror})") from error
    with content, atomic_path(target) as incomplete:
        with incomplete.open("wb") as copy:
            shutil.copyfileobj(content, copy, CHUNK_BYTES)
        verify(incomplete)
        status = file.stat()
        os.utime(incomplete, ns=(status.st_atime_ns, status.st_mtime_ns))


def check(archive: Archive, place: str, path: Path) -> None:
    """Check that a file that came is what it was named, before anything is made of it.

    Args:
        archive: What it must be.
        place: Where it came from, for the error.
        path: What came.

    Raises:
        ArchiveError: It is empty, a web page, no zip or tar, or has another hash.
    """
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(SNIFFED_BYTES)
    container = archive.container
    if container is not None and not looks_like(path, container):
        wanted = f"must be a {container} archive"
        raise ArchiveError(f"{place}: {wanted}, {_kind(begin, container)} ({num_bytes:,} bytes)")
    if num_bytes == 0 or _is_web_page(begin):
        raise ArchiveError(f"{place}: must be a file of data, {_kind(begin)} ({num_bytes:,} bytes)")
    mismatch = hash_mismatch(archive, path)
    if mismatch:
        raise ArchiveError(f"{place}: {mismatch}")


def hash_mismatch(archive: Archive, path: Path) -> str:
    """Compare a file with the hashes that are known; say what differs, or nothing."""
    for algorithm, wanted in archive.hashes.items():
        found = pooch.file_hash(str(path), alg=algorithm)
        if found != wanted:
            return f"must have {algorithm} {wanted}, has {found}"
    return ""


def _is_web_page(begin: bytes) -> bool:
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html"))


def _kind(begin: bytes, container: Container | None = None) -> str:
    if not begin:
        return "is empty"
    if _is_web_page(begin):
        return "is a web page, perhaps of a login or an error"
    if container == "zip" and begin.startswith(b"PK\x03\x04"):
        return "begins as one but its end is missing"
    return f"begins with {begin[:8]!r}"
