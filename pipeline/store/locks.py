"""Let one process in at a time: the second waits, and says for whom."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import console
from pipeline.errors import PipelineError
from pipeline.store.disk_errors import explained_os_errors

# How often those are asked for that are held, so many times longer as there are several.
POLL_SECONDS = 0.05
MOST_POLL_SECONDS = 1.0


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
    with first_held({path: what}):
        yield


@contextmanager
def held_alone(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; where another process holds it, refuse.

    Args:
        path: As of `held`.
        what: As of `held`.

    Raises:
        PipelineError: Another process holds it.
        DiskError: The file can't be made where it must be.
    """
    free = try_hold(path)
    if free is None:
        raise PipelineError(
            f"{what}: must be the only one, {_holder(path)} is running and holds {path}; wait "
            "until it is over, or stop it"
        )
    with _noted(path, what, free):
        yield


@contextmanager
def first_held(wanted: Mapping[Path, str]) -> Iterator[Path]:
    """Hold one of some lock files, the first that is free; where none is, say so once and wait.

    Args:
        wanted: The lock files, and who wants each; see `held`.

    Yields:
        The one that is held.

    Raises:
        DiskError: A file can't be made where it must be.
    """
    is_told = False
    while (found := _first_free(wanted)) is None:
        if not is_told:
            path, what = next(iter(wanted.items()))
            console.say(f"{what}: waiting for {_holder(path)}, which holds {path}")
            is_told = True
        time.sleep(min(POLL_SECONDS * len(wanted), MOST_POLL_SECONDS))
    path, free = found
    with _noted(path, wanted[path], free):
        yield path


@contextmanager
def _noted(path: Path, what: str, free: Callable[[], None]) -> Iterator[None]:
    """Say in a lock file who holds it, and free it in the end."""
    _note(path, f"{what} (process {os.getpid()} on {platform.node()})\n")
    try:
        yield
    finally:
        _note(path, "")
        free()


def _first_free(wanted: Iterable[Path]) -> tuple[Path, Callable[[], None]] | None:
    for path in wanted:
        if free := try_hold(path):
            return path, free
    return None


def try_hold(path: Path) -> Callable[[], None] | None:
    """Hold a lock file if nobody else does; return what frees it, None where it is held.

    Raises:
        DiskError: The file can't be made where it must be.
    """
    lock = FileLock(path)
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
    return lock.release


def _note(path: Path, holder: str) -> None:
    with suppress(OSError):  # a full disk must not keep anyone from a lock
        path.write_text(holder, encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        holder = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        holder = ""
    return f"'{holder}'" if holder else "another 'pipeline' command"
