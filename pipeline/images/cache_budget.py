"""How much of the disk cached features may take, and which go when it isn't enough."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.errors import ConfigError

# How much of the disk cached working copies may take, and which go when it isn't enough.

# The size of a competition's cache at most, in GB of 10⁹ bytes; 0 builds none.
VARIABLE = "PIPELINE_CACHE_GB"
DEFAULT_GB = 10.0


def limit_bytes(files: Mapping[Path, int], folder: Path) -> int:
    """Return what a cache may take: what PIPELINE_CACHE_GB says, and at most half of the room.

    Args:
        files: The cache's files and their sizes, which count as room.
        folder: Where it lies.

    Raises:
        ConfigError: PIPELINE_CACHE_GB isn't a number of at least 0.
    """
    text = os.environ.get(VARIABLE, str(DEFAULT_GB))
    try:
        wanted = float(text)
        if not wanted >= 0:  # nan is neither
            raise ValueError
    except ValueError as error:
        raise ConfigError(
            f"{VARIABLE}: must be a number of GB, 0 for no cache, is '{text}'"
        ) from error
    room = shutil.disk_usage(folder).free + sum(files.values())
    return int(min(wanted * 1e9, room / 2))


def make_room(folder: Path, wanted: Mapping[Path, int], suffix: str) -> list[Path]:
    """Choose files there is room for, and delete others that stand in their way, oldest first.

    Who reads a deleted file has it open, or finds that it is gone and decodes.

    Args:
        folder: The folder of a cache; it exists.
        wanted: Files in it, there already or not, and their sizes in bytes.
        suffix: What the names of the cache's files end with.

    Returns:
        The first of the wanted files, as many as fit.

    Raises:
        ConfigError: PIPELINE_CACHE_GB isn't a number of at least 0.
    """
    files = {path: path.stat().st_size for path in folder.glob(f"*{suffix}")}
    room = limit_bytes(files, folder)
    chosen = []
    for path, num_bytes in wanted.items():
        if num_bytes > room:
            break
        chosen.append(path)
        room -= num_bytes
    others = files.keys() - set(chosen)
    room -= sum(files[path] for path in others)
    for path in sorted(others, key=lambda path: path.stat().st_mtime):
        if room >= 0:
            break
        path.unlink()
        room += files[path]
    return chosen


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
