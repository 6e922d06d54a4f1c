"""List the user's archives, folders and lists as they will lie once `download` has run."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.config.archive_table import container_of, stem_of
from pipeline.data.archives.cifar import META
from pipeline.data.archives.unpack import peek
from pipeline.errors import ConfigError
from pipeline.store.folders import list_files

LIST_SUFFIXES = {".csv", ".tsv", ".txt"}
MAX_LISTS = 20  # in one folder; more are notes on single images


@dataclass
class UserFiles:
    """The archives, files and lists that were found.

    Attributes:
        root: The folder that holds it: what `download --from` is given.
        archives: Names for `[[archives]]`; none where all lies unpacked in plain folders.
        files: Paths below `data/<competition>/images`, once they lie there.
        lists: Text files that may hold labels or ids, by a name that `find_file` finds them by.
        meta: `batches.meta` of CIFAR's batches, unpacked, if an archive holds them.
    """

    root: Path
    archives: list[str] = field(default_factory=list)
    files: list[PurePosixPath] = field(default_factory=list)
    lists: dict[str, Path] = field(default_factory=dict)
    meta: Path | None = None

    def place(self, path: Path, name: str) -> PurePosixPath:
        """Return where a folder or archive of the user's will lie.

        Args:
            path: It, below the root.
            name: The competition's.
        """
        if path.is_file():
            return PurePosixPath(stem_of(path.name))
        if self.archives:
            return PurePosixPath(path.resolve().name)
        return name / PurePosixPath(path.resolve().relative_to(self.root).as_posix())


def scan_user_files(
    name: str, given: Iterable[Path], root: Path | None, scratch: Path
) -> UserFiles:
    """List the files of what the user named, those in archives included.

    Args:
        name: The competition's name, that of the folder where plain folders will lie.
        given: Files and folders that were named.
        root: The folder that holds all; None for the innermost that holds what is given.
        scratch: An empty folder for lists out of archives; they stay there.

    Raises:
        ConfigError: Nothing is given, it doesn't exist, or lies outside the root.
        DataError: An archive or folder can't be read.
    """
    places = list(dict.fromkeys(path.resolve() for path in given))
    top = _checked_top(places, root)
    is_whole = root is not None or places == [top]
    entries = sorted(top.iterdir()) if is_whole else places
    containers = [path for path in entries if path.is_file() and container_of(path.name)]
    if is_whole and not containers:
        entries = [top]
    user_files = UserFiles(top)
    for path in containers:
        _add_archive(user_files, path, scratch / path.name)
    unpacked = {stem_of(path.name) for path in containers}
    for path in entries:
        if path.is_dir() and path.name not in unpacked:
            _add_folder(user_files, path, name, is_plain=not containers)
        elif path.suffix.lower() in LIST_SUFFIXES:
            user_files.lists[path.name] = path
    return user_files


def _checked_top(places: list[Path], root: Path | None) -> Path:
    """Return the folder that holds all, after checking that all is there and below it."""
    if root is None and not places:
        raise ConfigError(
            "init: must be given files or folders to look at, got none; name --from, --train, "
            "--test, --labels or --sample-submission"
        )
    missing = [path for path in [*places, *([root] if root else [])] if not path.exists()]
    if missing:
        raise ConfigError(f"{missing[0]}: must exist, is missing; correct the path")
    folders = [path if path.is_dir() else path.parent for path in places]
    top = root.resolve() if root else Path(os.path.commonpath(folders))
    outside = [path for path in places if not path.is_relative_to(top)]
    if outside:
        raise ConfigError(
            f"{outside[0]}: must lie below --from {top}, lies elsewhere; name another --from"
        )
    return top


def _add_archive(user_files: UserFiles, archive: Path, scratch: Path) -> None:
    def is_wanted(name: PurePosixPath) -> bool:
        return name.name == META or name.suffix.lower() in LIST_SUFFIXES

    user_files.archives.append(archive.name)
    files = peek(archive, scratch, is_wanted)
    user_files.files += [stem_of(archive.name) / file for file in files]
    _add_lists(user_files, scratch, files)
    user_files.meta = next((scratch / file for file in files if file.name == META), user_files.meta)


def _add_folder(user_files: UserFiles, folder: Path, name: str, *, is_plain: bool) -> None:
    """Add a folder; beside archives it counts as one that lies unpacked."""
    if not is_plain:
        user_files.archives.append(f"{folder.name}.zip")
    above = name / PurePosixPath(folder.relative_to(user_files.root).as_posix())
    files = list_files(folder)
    user_files.files += [
        (above if is_plain else PurePosixPath(folder.name)) / file for file in files
    ]
    _add_lists(user_files, folder, files)


def _add_lists(user_files: UserFiles, folder: Path, files: list[PurePosixPath]) -> None:
    """Add the lists; of several of one name the least deep, which `find_file` finds, too."""
    lists = [file for file in files if file.suffix.lower() in LIST_SUFFIXES]
    siblings = Counter(file.parent for file in lists)
    for file in sorted(lists, key=lambda file: len(file.parts)):
        if siblings[file.parent] <= MAX_LISTS:
            user_files.lists.setdefault(file.name, folder / file)
