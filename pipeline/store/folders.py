"""List and find files below a folder, links followed: data read in place are linked to."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.errors import DataError

Identity = tuple[int, int]

# What systems and programs leave beside a user's files.
LITTER = {"thumbs.db", "desktop.ini", "ehthumbs.db"}
LITTER_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}


def is_litter(file: PurePosixPath) -> bool:
    """Whether a system or a program left a file there, as macOS, Windows and Jupyter do."""
    folders = [part.lower() for part in file.parts[:-1]]
    is_hidden = any(part.startswith(".") for part in file.parts)
    name = file.name.lower()
    is_left = name in LITTER or name.startswith("~$")
    return is_left or is_hidden or not LITTER_FOLDERS.isdisjoint(folders)


def same_form(name: str) -> str:
    """Write a name in the one form of Unicode in which all can be compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def list_files(folder: Path) -> list[PurePosixPath]:
    """List every file below a folder, relative to it and sorted.

    Raises:
        DataError: A folder can't be read, or a name isn't text that a table could hold.
    """
    if not folder.is_dir():
        return []
    return sorted(_walk(folder, PurePosixPath(), frozenset()), key=str)


def find_file(name: str, folders: Iterable[Path]) -> Path | None:
    """Find a file by its name or the end of its path; the first folder wins, then the least depth.

    Raises:
        DataError: A folder can't be read.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
        end = f"/{same_form(name)}"
        files = (file for file in list_files(folder) if not is_litter(file))
        found = [file for file in files if same_form(f"/{file}").endswith(end)]
        if found:
            return folder / min(found, key=lambda file: len(file.parts))
    return None


def _walk(
    folder: Path, relative: PurePosixPath, above: frozenset[Identity]
) -> Iterator[PurePosixPath]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link to a folder that it lies in
        return
    try:
        with os.scandir(folder) as entries:
            listed = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise DataError(
            f"{folder}: must be readable ({error.strerror}); change its permissions"
        ) from error
    for name, is_dir in listed:
        _check_name(folder, name)
        if is_dir:
            yield from _walk(folder / name, relative / name, above | {identity})
        else:
            yield relative / name


def _check_name(folder: Path, name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{folder}: names of files must be UTF-8, {name!r} isn't; rename it, or unpack its "
            "archive anew with names in UTF-8"
        ) from error
