"""How much of the disk cached features may take, and which go when it isn't enough."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.images.cache_room import limit_bytes

SUFFIX = ".npy"
# A file server's clock may be behind ours by so much.
CLOCKS_DIFFER_NS = 60 * 10**9


def room_for(folder: Path, wanted: Mapping[Path, int], since: int) -> int:
    """Return the bytes there are for some files, having made room for them if all fit.

    What else lies there counts, but for what nobody has used since this run began: that goes as
    far as it stands in the way, the longest unused first. Who reads a deleted file has it open, or
    finds that it is gone and computes. Runs that ask at the same moment don't see each other's
    plans.

    Args:
        folder: The cache; it exists.
        wanted: Files in it, there already or not, and their sizes in bytes.
        since: When this run began, in nanoseconds since 1970.

    Raises:
        ConfigError: PIPELINE_CACHE_GB isn't a number of at least 0.
    """
    files = _states(folder)
    others = {path: state for path, state in files.items() if path not in wanted}
    idle = [path for path, state in others.items() if state.st_mtime_ns < since - CLOCKS_DIFFER_NS]
    free = limit_bytes({path: state.st_size for path, state in files.items()}, folder)
    free -= sum(state.st_size for state in others.values())
    room = free + sum(others[path].st_size for path in idle)
    total = sum(wanted.values())
    for path in sorted(idle, key=lambda path: others[path].st_mtime_ns):
        if total <= free or total > room:
            break
        with suppress(OSError):  # open on Windows
            path.unlink(missing_ok=True)
            free += others[path].st_size
    return max(room, 0)


def mark_used(path: Path) -> bool:
    """Note that a file of the cache is used now; whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, or read-only
        return path.is_file()
    return True


def _states(folder: Path) -> dict[Path, os.stat_result]:
    found = {}
    for path in folder.rglob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another run has just deleted it
            found[path] = path.stat()
    return found
