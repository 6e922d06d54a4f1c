"""One process at a time: the second waits, and says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import console
from pipeline.atomic import explained_os_errors


@contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; where another process holds it, say so once and wait.

    A killed holder frees its lock by dying, so there is nothing to clean up by hand.

    Args:
        path: The lock file; an empty one may stay.
        what: Who wants it, for the line that is said, e.g. "download cat-12".

    Raises:
        DataError: The file can't be made where it must be.
    """
    lock = FileLock(path)
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            console.say(f"{what}: waiting for another 'pipeline' command that holds {path}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
