"""Write files whole or not at all: write beside, flush to the disk, rename."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import has_fcntl, lock_descriptor

from pipeline.store.disk_errors import explained_os_errors

PARTIAL_SUFFIX = ".partial"
_PARTIAL_NAME = re.compile(rf"\..+\.[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}")


@contextmanager
def atomic_path(path: Path, num_bytes: int | None = None) -> Iterator[Path]:
    """Yield an empty file beside `path`; what was written there replaces it on success.

    On failure that file goes and what stood at `path` before stays. What a killed process left
    half-written in the folder goes, too.

    Args:
        path: The file to write or replace.
        num_bytes: What it will take, where that is known, for the message of a full disk.

    Raises:
        DiskError: The disk is full, read-only or not ours to write to.
    """
    with explained_os_errors(path, num_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        with _claimed(path) as partial:
            yield partial
            with partial.open("r+b") as file:  # Windows flushes what may be written alone
                os.fsync(file.fileno())
            partial.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, whole or not at all."""
    with atomic_path(path, len(content)) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content` in UTF-8, line ends as they stand in it."""
    write_bytes(path, content.encode("utf-8"))


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        DiskError: The disk is read-only, or not ours to write to.
    """
    with explained_os_errors(path):
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the half-written files of processes that are dead, on whatever machine they were."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if _PARTIAL_NAME.fullmatch(entry.name)]
    for name in found:
        with suppress(OSError):  # gone meanwhile, or another user's
            descriptor = os.open(folder / name, os.O_RDWR)
            try:
                if lock_descriptor(descriptor, blocking=False):
                    (folder / name).unlink()
            finally:
                os.close(descriptor)


@contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """Make a temporary file beside `path`, locked for as long as its writer lives.

    The kernel frees a dead process's locks, so who can lock such a file knows it for a leftover;
    where a disk knows no locks, nobody can, and leftovers stay.
    """
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if not has_fcntl:  # Windows writes to no locked file and renames no open one
            break
        with suppress(OSError):
            lock_descriptor(descriptor)
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # swept by another process before the lock was ours
    if not has_fcntl:
        os.close(descriptor)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        if has_fcntl:
            os.close(descriptor)
