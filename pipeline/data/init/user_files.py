"""List the user's archives, folders and lists as they will lie once `download` has run."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.archive_table import container_of, stem_of
from pipeline.data.archives.cifar import META
from pipeline.data.archives.unpack import peek
from pipeline.data.init.words import unread_kind
from pipeline.data.split_folders import bare_images, has_no_suffix, is_hidden_image, is_image_name
from pipeline.errors import ConfigError, DataError
from pipeline.images.arrays import JsonImages, find_json_images
from pipeline.store.folders import is_litter, list_files
from pipeline.store.freshness import file_sha256

LIST_SUFFIXES = {".csv", ".tsv", ".txt", ".lst", ".list", ".tab", ".json"}
MAX_LISTS = 20  # in one folder, of text or JSON; more are notes on single images
MAX_PROBED = 20  # files without a suffix, of an archive, looked into


@dataclass(frozen=True)
class UserList:
    """A file of text or JSON that may hold labels or ids.

    Attributes:
        path: Where it can be read.
        folder: Where it will lie below `data/<competition>/images`; None for one that will not.
        found: Where it was found, relative.
    """

    path: Path
    folder: PurePosixPath | None
    found: PurePosixPath


@dataclass
class UserFiles:
    """The archives, files and lists that were found.

    Attributes:
        root: The folder that holds it: what `download --from` is given.
        archives: Names for `[[archives]]`; none where all lies unpacked in plain folders.
        files: Paths below `data/<competition>/images`, once they lie there, but for litter.
        bare: Those of the files that have no suffix and are images.
        hidden: Images in hidden folders, which count as litter, relative to where they were found.
        lists: Those that may hold labels or ids, by a name that `find_file` finds them by.
        unread: Files that can't be read and may hold something, relative to where they were found;
            all JSON files are among them.
        records: By archive whose JSON files hold images, the key `records` of its table.
        meta: `batches.meta` of CIFAR's batches, unpacked, if an archive holds them.
    """

    root: Path
    archives: list[str] = field(default_factory=list)
    files: list[PurePosixPath] = field(default_factory=list)
    bare: set[PurePosixPath] = field(default_factory=set)
    hidden: list[PurePosixPath] = field(default_factory=list)
    lists: dict[str, UserList] = field(default_factory=dict)
    unread: list[PurePosixPath] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    meta: Path | None = None

    @property
    def images(self) -> list[PurePosixPath]:
        """The files that are images."""
        return [file for file in self.files if is_image_name(file) or file in self.bare]

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


def is_json(path: Path | PurePosixPath) -> bool:
    """Whether a file is called as JSON."""
    return path.suffix.lower() == ".json"


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
    containers = _containers(top) if is_whole else [path for path in entries if _is_archive(path)]
    if is_whole and not containers:
        entries = [top]
    user_files = UserFiles(top)
    lists: dict[Path, UserList] = {}
    for number, path in enumerate(containers):
        _add_archive(user_files, lists, path, scratch / str(number))
    unpacked = {stem_of(path.name) for path in containers}
    for path in entries:
        if (
            path.is_dir()
            and path.name not in unpacked
            and not is_litter(PurePosixPath(path.name, "x"))
        ):
            _add_folder(user_files, lists, path, name, is_plain=not containers)
        elif path.is_file():
            _add_file(user_files, lists, path)
    user_files.lists = _named(lists.values())
    return user_files


def _named(lists: Collection[UserList]) -> dict[str, UserList]:
    """Call each list by its file's name; of several of one name by so much of the path as tells."""
    named: dict[str, UserList] = {}
    rest = sorted(lists, key=lambda one: one.folder is not None)
    for way in (_by_name, _by_path, _by_place):
        count = Counter(map(way, rest))
        named |= {way(one): one for one in rest if count[way(one)] == 1}
        rest = [one for one in rest if count[way(one)] > 1]
        # The same list once more, as beside the archive that holds it, counts once.
        rest = list({(one.found.name, file_sha256(one.path)): one for one in rest[::-1]}.values())
    return named


def _by_name(one: UserList) -> str:
    return one.found.name


def _by_path(one: UserList) -> str:
    return str(one.found)


def _by_place(one: UserList) -> str:
    return str((one.folder or PurePosixPath()) / one.found.name)


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


def _is_archive(path: Path) -> bool:
    return path.is_file() and container_of(path.name) is not None


def _containers(top: Path) -> list[Path]:
    """Find all archives, but for those that lie in what another one was unpacked into.

    Raises:
        DataError: Two have one name, so that a competition's file can't name them.
    """
    found = [
        top / file
        for file in list_files(top)
        if container_of(file.name) is not None and not is_litter(file)
    ]
    stems = {path.parent / stem_of(path.name) for path in found}
    found = [path for path in found if stems.isdisjoint(path.parents)]
    # A list beside itself packed, as Kaggle's train.csv and train.csv.zip, is brought once.
    found = [path for path in found if not path.with_name(stem_of(path.name)).is_file()]
    repeated = [name for name, num in Counter(path.name for path in found).items() if num > 1]
    if repeated:
        raise DataError(
            f"{top}: archives must differ in name, {len(repeated)} names stand for several, the "
            f"first is '{repeated[0]}'; rename them, or name one folder by --from"
        )
    return sorted(found)


def _add_archive(
    user_files: UserFiles, lists: dict[Path, UserList], archive: Path, scratch: Path
) -> None:
    probed = iter(range(MAX_PROBED))

    def is_wanted(name: PurePosixPath) -> bool:
        is_list = name.name == META or name.suffix.lower() in LIST_SUFFIXES
        return is_list or (has_no_suffix(name) and next(probed, None) is not None)

    stem = PurePosixPath(stem_of(archive.name))
    user_files.archives.append(archive.name)
    files = peek(archive, scratch, is_wanted)
    files = _with_json_images(user_files, archive.name, files, scratch)
    looked_into = {file for file in files if has_no_suffix(file) and (scratch / file).exists()}
    bare = bare_images(scratch, looked_into)
    if bare:  # those that weren't looked into are taken for the same
        bare |= {file for file in files if has_no_suffix(file)} - looked_into
    _add_files(user_files, files, bare, stem)
    _add_lists(lists, scratch, files, lambda file: stem / file.parent)
    user_files.meta = next((scratch / file for file in files if file.name == META), user_files.meta)


def _with_json_images(
    user_files: UserFiles, archive: str, files: list[PurePosixPath], scratch: Path
) -> list[PurePosixPath]:
    """Put images in JSON, as `download` will make files of them, in the place of that.

    All JSON files of an archive must hold images by the same keys.
    """
    found: dict[PurePosixPath, JsonImages] = {}
    for file in filter(is_json, files):
        images = find_json_images(scratch / file)
        if images is None or any(images.keys != other.keys for other in found.values()):
            return files
        found[file] = images
    made = [file for file in files if file not in found]
    for file, images in found.items():
        user_files.records[archive] = images.keys
        made += [file.with_suffix("") / f"{name}.npy" for name in images.names]
        made.append(file.with_suffix(".csv"))
        with (scratch / made[-1]).open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows(images.rows)
    return made


def _add_folder(
    user_files: UserFiles, lists: dict[Path, UserList], folder: Path, name: str, *, is_plain: bool
) -> None:
    """Add a folder; beside archives it counts as one that lies unpacked, if it holds files."""
    files = [file for file in list_files(folder) if container_of(file.name) is None]
    above = name / PurePosixPath(folder.relative_to(user_files.root).as_posix())
    above = above if is_plain else PurePosixPath(folder.name)
    bare = bare_images(folder, files)
    images = [file for file in files if is_image_name(file) or file in bare]
    if is_plain or images:
        if not is_plain:
            user_files.archives.append(f"{folder.name}.zip")
        _add_files(user_files, files, bare, above)
        _add_lists(lists, folder, files, lambda file: above / file.parent)
        return
    user_files.unread += [file for file in files if unread_kind(file)]
    _add_lists(lists, folder, files, lambda _: None)


def _add_file(user_files: UserFiles, lists: dict[Path, UserList], path: Path) -> None:
    file = PurePosixPath(path.name)
    if container_of(path.name) is None and unread_kind(file):
        user_files.unread.append(file)
    if path.suffix.lower() in LIST_SUFFIXES and not is_litter(file):
        lists[path] = UserList(path, None, file)


def _add_files(
    user_files: UserFiles,
    files: list[PurePosixPath],
    bare: set[PurePosixPath],
    above: PurePosixPath,
) -> None:
    user_files.files += [above / file for file in files if not is_litter(file)]
    user_files.hidden += [file for file in files if is_hidden_image(file)]
    user_files.bare |= {above / file for file in bare}
    user_files.unread += [file for file in files if unread_kind(file)]


def _add_lists(
    found: dict[Path, UserList],
    folder: Path,
    files: list[PurePosixPath],
    lies_in: Callable[[PurePosixPath], PurePosixPath | None],
) -> None:
    """Add the lists, those that lie least deep first."""
    lists = [file for file in files if file.suffix.lower() in LIST_SUFFIXES and not is_litter(file)]
    siblings = Counter((file.parent, is_json(file)) for file in lists)
    lists = [file for file in lists if siblings[file.parent, is_json(file)] <= MAX_LISTS]
    for file in sorted(lists, key=lambda file: len(file.parts)):
        found.setdefault(folder / file, UserList(folder / file, lies_in(file), file))
