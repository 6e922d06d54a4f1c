"""Files that exist are complete: write beside, flush to the disk, rename."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DataError

PARTIAL_SUFFIX = ".partial"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces it on success.

    On failure the temporary file goes and what stood at `path` before stays.

    Raises:
        DataError: The disk is full, read-only or not ours to write to.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Replace `path` by `content` in UTF-8, line ends as they stand in it."""
    write_bytes(path, content.encode("utf-8"))


@contextmanager
def explained_os_errors(path: Path) -> Iterator[None]:
    """Turn "disk full", "not writable" and "is a folder" into one line that says what to do.

    Raises:
        DataError: Instead of an OSError of those kinds.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(_existing_parent(path)).free
            raise DataError(
                f"{path}: the disk must have room for this file, {free:,} bytes are free "
                f"({error.strerror}); free some and run the same command again"
            ) from error
        if error.errno == errno.EISDIR:
            raise DataError(f"{path}: must be a file, is a folder; move it away") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise DataError(
                f"{path}: must be writable ({error.strerror}); choose another --root"
            ) from error
        raise


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())
