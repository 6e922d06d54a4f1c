"""How much of the disk cached working copies may take, and which go when it isn't enough."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import ConfigError

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
