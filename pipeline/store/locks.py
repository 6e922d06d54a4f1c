"""Let one process in at a time: the second waits, and says for whom."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import console
from pipeline.store.disk_errors import explained_os_errors


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; where another process holds it, say so once and wait.

    A killed holder frees its lock by dying, so there is nothing to clean up by hand.

    Args:
        path: The lock file; it stays, empty unless its holder was killed.
        what: Who wants it, for the line that is said, e.g. "download cat-12".

    Raises:
        DiskError: The file can't be made where it must be.
    """
    lock = FileLock(path)
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            console.say(f"{what}: waiting for {_holder(path)}, which holds {path}")
            lock.acquire()
    _note(path, f"{what} (process {os.getpid()} on {platform.node()})\n")
    try:
        yield
    finally:
        _note(path, "")
        lock.release()


def _note(path: Path, holder: str) -> None:
    with suppress(OSError):  # a full disk must not keep anyone from a lock
        path.write_text(holder, encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        holder = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        holder = ""
    return f"'{holder}'" if holder else "another 'pipeline' command"
