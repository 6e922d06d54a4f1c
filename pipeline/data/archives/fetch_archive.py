"""Fetch an archive from the first source that gives it whole, and check what came."""

import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pooch

from pipeline import console
from pipeline.config.archive_table import Archive, Container
from pipeline.data.archives.entries import ZIP_FAULTS
from pipeline.data.archives.fetch import MAX_BYTES, fetch
from pipeline.data.archives.sources import DEFAULT_RETRY_POLICY, RetryPolicy, Source
from pipeline.data.archives.unpack import looks_like
from pipeline.errors import ArchiveError, DownloadError
from pipeline.store.atomic import atomic_path
from pipeline.store.disk_errors import check_room, explained_os_errors

SNIFFED_BYTES = 512
CHUNK_BYTES = 1 << 20


def fetch_archive(
    archive: Archive,
    sources: Sequence[Source],
    target: Path,
    policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> Source:
    """Copy or fetch an archive from the first source that gives it whole.

    A file on a disk that is read-only can't change, so a link to it is as good as a copy.

    Args:
        archive: What it must be.
        sources: At least one, tried in order.
        target: Appears only when whole and verified.
        policy: How long to try each URL.

    Returns:
        The source that gave it.

    Raises:
        ArchiveError: No source gave it; the message is the last one's, earlier ones are warned of.
    """
    for number, source in enumerate(sources, start=1):
        try:
            verify = partial(check, archive, source.place)
            if source.is_url:
                _fetch(archive, source.place, target, verify, policy)
            elif source.member is not None:
                _extract(Path(source.place), source.member, target, verify)
            elif is_read_only(Path(source.place)):
                _link(Path(source.place), target, verify)
            else:
                _copy(Path(source.place), target, verify)
        except ArchiveError as error:
            if number == len(sources):
                raise
            console.warn(f"{error}; trying {sources[number].place}")
        else:
            return source
    raise AssertionError(f"{archive.name}: called without sources")


def _fetch(
    archive: Archive, url: str, target: Path, verify: Callable[[Path], None], policy: RetryPolicy
) -> None:
    try:
        fetch(url, target, verify, policy, archive.num_bytes or MAX_BYTES)
    except DownloadError as error:
        raise ArchiveError(str(error)) from error


def is_read_only(place: Path) -> bool:
    """Whether a place is on a disk that nobody can write to, as data sets of notebooks are."""
    return hasattr(os, "statvfs") and bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _link(file: Path, target: Path, verify: Callable[[Path], None]) -> None:
    console.say(f"reading {file} in place")
    with explained_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        verify(file)
        target.unlink(missing_ok=True)
        target.symlink_to(file.resolve())


def _copy(file: Path, target: Path, verify: Callable[[Path], None]) -> None:
    """Copy with the time of change, so that `--from` the archives' own folder stays fresh."""
    num_bytes = file.stat().st_size
    console.say(f"copying {file} ({num_bytes / 1e6:,.1f} MB)")
    check_room(f"{file}: copying", num_bytes, target.parent)
    try:
        content = file.open("rb")
    except OSError as error:
        raise ArchiveError(f"{file}: must be readable ({error.strerror})") from error
    with content, atomic_path(target, num_bytes) as incomplete:
        with incomplete.open("wb") as copy:
            shutil.copyfileobj(content, copy, CHUNK_BYTES)
        verify(incomplete)
        status = file.stat()
        os.utime(incomplete, ns=(status.st_atime_ns, status.st_mtime_ns))


def _extract(packed: Path, member: str, target: Path, verify: Callable[[Path], None]) -> None:
    console.say(f"copying {member} out of {packed}")
    with atomic_path(target) as incomplete:
        try:
            with (
                zipfile.ZipFile(packed) as file,
                file.open(member) as content,
                incomplete.open("wb") as copy,
            ):
                shutil.copyfileobj(content, copy, CHUNK_BYTES)
        except (*ZIP_FAULTS, RuntimeError) as error:  # the last one where it is encrypted
            raise ArchiveError(f"{packed}: must hold a whole {member} ({error})") from error
        verify(incomplete)


def check(archive: Archive, place: str, path: Path) -> None:
    """Check that a file that came is what it was named, before anything is made of it.

    Args:
        archive: What it must be.
        place: Where it came from, for the error.
        path: What came.

    Raises:
        ArchiveError: It is empty, a web page, no such archive, or has another size or hash.
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
    difference = mismatch(archive, path)
    if difference:
        raise ArchiveError(f"{place}: {difference}")


def mismatch(archive: Archive, path: Path) -> str:
    """Compare a file with the size and hashes that are known; say what differs, or nothing."""
    num_bytes = path.stat().st_size
    if archive.num_bytes not in (None, num_bytes):
        return f"must have {archive.num_bytes:,} bytes, has {num_bytes:,}"
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
