"""Explain what a disk refuses in one line: what was needed, what there is, what to do."""

import errno
import os
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DiskError

# What NumPy raises on spoiled `.npy` and `.npz` files: their header is Python's own syntax for a
# dictionary, and says how much memory to ask for.
DAMAGE = (
    OSError,
    EOFError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def explained_os_errors(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Turn "disk full", "not writable" and "is a folder" into one line that says what to do.

    Args:
        path: What is to be written.
        num_bytes: What it takes, where that is known.

    Raises:
        DiskError: Instead of an OSError of those kinds.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            needed = _needed(num_bytes, "this file")
            raise DiskError(
                f"{path}: the disk must have room for {needed}, {_free(path)} "
                f"({error.strerror}); free some and run the same command again"
            ) from error
        if error.errno == errno.EFBIG:
            raise DiskError(
                f"{path}: must be allowed {_needed(num_bytes, 'its size')}, {_largest_file()} "
                f"({error.strerror}); raise the limit or choose another --root"
            ) from error
        if error.errno == errno.EISDIR:
            raise DiskError(f"{path}: must be a file, is a folder; move it away") from error
        if error.errno in NOT_WRITABLE:
            raise DiskError(
                f"{path}: must be writable ({error.strerror}); choose another --root"
            ) from error
        raise


def check_room(what: str, num_bytes: int, folder: Path) -> None:
    """Refuse to begin what the disk can't hold.

    Args:
        what: Begins the message, e.g. "train.zip: unpacking".
        num_bytes: What is going to be written.
        folder: Where; needn't exist.

    Raises:
        DiskError: So much isn't free.
    """
    free = shutil.disk_usage(_existing_parent(folder / "x")).free
    if num_bytes > free:
        raise DiskError(
            f"{what} must find {num_bytes:,} bytes of disk, {free:,} are free; free some and run "
            "the same command again"
        )


def _needed(num_bytes: int | None, otherwise: str) -> str:
    return otherwise if num_bytes is None else f"{num_bytes:,} bytes"


def _largest_file() -> str:
    """Say what the process's own limit is; a file system may have a lower one."""
    try:
        import resource
    except ImportError:  # Windows
        return "this disk's file system allows fewer"
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return "this disk's file system allows fewer"
    return f"'ulimit -f' allows {limit:,}"


def _free(path: Path) -> str:
    """Say how many bytes are free, and whether it is files that the disk can't take more of."""
    parent = _existing_parent(path)
    free = f"{shutil.disk_usage(parent).free:,} bytes are free"
    if hasattr(os, "statvfs"):
        status = os.statvfs(parent)
        if status.f_files and not status.f_favail:
            return f"{free}, but no more files fit"
    return free


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())
