"""Hold the caches of a competition to one budget: what is longest unused goes first.

Decoded images and features of frozen layers may take PIPELINE_CACHE_GB (10) together, and at most
half of the disk that is free without them. Whoever reads a deleted file has it open, or finds it
gone and makes its content anew. Runs that ask at the same moment don't see each other's plans.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.store.paths import Paths

# In GB of 10⁹ bytes; 0 caches nothing.
VARIABLE = "PIPELINE_CACHE_GB"
DEFAULT_GB = 10.0

COPIES_SUFFIX = ".copies"
FEATURES_SUFFIX = ".npy"

# A file server's clock may be behind ours by so much.
CLOCKS_DIFFER_NS = 60 * 10**9


class Room(NamedTuple):
    """The room that the budget leaves for some files.

    Attributes:
        paths: Those that fit, in the order in which they were asked for.
        num_bytes: What all of them may take.
    """

    paths: list[Path]
    num_bytes: int


def make_room(
    paths: Paths, wanted: Mapping[Path, int], since: int, *, in_part: bool = False
) -> Room:
    """Choose the files there is room for, and delete what stands in their way.

    What else is cached counts, but for what nobody has used since this run began: that goes as far
    as it must, the longest unused first.

    Args:
        paths: The competition's files.
        wanted: Files of one of its caches, there already or not, and their sizes in bytes.
        since: When this run began, in nanoseconds since 1970.
        in_part: Whether the first of the files are of use without the others.

    Raises:
        ConfigError: PIPELINE_CACHE_GB isn't a number of at least 0.
    """
    cached = _cached_files(paths)
    room = budget_bytes(next(iter(wanted)).parent, cached.values())
    others = {path: state for path, state in cached.items() if path not in wanted}
    idle = [path for path, state in others.items() if state.st_mtime_ns < since - CLOCKS_DIFFER_NS]
    free = room - sum(state.st_size for state in others.values())
    room = max(free + sum(others[path].st_size for path in idle), 0)
    chosen = _first_that_fit(wanted, room)
    if len(chosen) < len(wanted) and not in_part:
        chosen = []
    needed = sum(wanted[path] for path in chosen)
    for path in sorted(idle, key=lambda path: others[path].st_mtime_ns):
        if needed <= free:
            break
        with suppress(OSError):  # open on Windows
            path.unlink(missing_ok=True)
            free += others[path].st_size
    return Room(chosen, room)


def most_bytes(paths: Paths) -> int:
    """Return what the features of one training may take, where all else may be deleted for them.

    Raises:
        ConfigError: PIPELINE_CACHE_GB isn't a number of at least 0.
    """
    return budget_bytes(paths.features_dir, _cached_files(paths).values())


def budget_bytes(folder: Path, cached: Iterable[os.stat_result]) -> int:
    """Return what the caches may take: PIPELINE_CACHE_GB, and at most half of the room.

    Args:
        folder: Where more is to be cached; needn't exist.
        cached: What there is, which counts as room where it lies on the same disk.

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
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    disk = place.stat().st_dev
    room = shutil.disk_usage(place).free + sum(one.st_size for one in cached if one.st_dev == disk)
    return int(min(wanted * 1e9, room / 2))


def mark_used(path: Path) -> bool:
    """Note that a cached file is used now; return whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:  # another user's, or read-only
        return path.is_file()
    return True


def _first_that_fit(wanted: Mapping[Path, int], room: int) -> list[Path]:
    chosen = []
    for path, num_bytes in wanted.items():
        room -= num_bytes
        if room < 0:
            break
        chosen.append(path)
    return chosen


def _cached_files(paths: Paths) -> dict[Path, os.stat_result]:
    found = {}
    for folder, suffix in (
        (paths.cache_dir, COPIES_SUFFIX),
        (paths.features_dir, FEATURES_SUFFIX),
    ):
        for path in folder.rglob(f"*{suffix}"):
            with suppress(FileNotFoundError):  # another run has just deleted it
                found[path] = path.stat()
    return found
