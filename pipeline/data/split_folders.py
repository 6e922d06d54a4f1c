"""Find the images of each split below the folders that are named for it."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.images_table import ImageFolders
from pipeline.images.decode import NUM_MARK_BYTES, has_image_mark
from pipeline.store.folders import is_litter, same_form

IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".npy", ".dcm", ".dicom",
}  # fmt: skip

KEPT_BY_PROGRAMS = {
    ".ipynb_checkpoints", ".thumbnails", ".cache", ".git", ".AppleDouble", ".Trash", ".comments",
}  # fmt: skip

Splits = frozenset[str]  # none, "train", "test" or both
NONE: Splits = frozenset()


@dataclass(frozen=True)
class ImageFile:
    """An image file of the unpacked archives.

    Attributes:
        image_id: Its key: the path below the innermost folder that holds all images of its
            split, so `cat_0.jpg` in a flat folder and `cats/0.jpg` where folders name classes; or
            as a list of the test images says.
        path: The path below `data/<competition>/images`, with forward slashes; empty where a list
            names the image and there is no such file.
        listed_as: What a list calls it, where that isn't quite the file's name.
        answer: The answer that it belongs to, where one is of several images.
    """

    image_id: str
    path: str
    listed_as: str = ""
    answer: str = ""


def is_image_name(file: PurePosixPath) -> bool:
    """Whether a file is called like an image, and isn't what a system leaves beside images."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not is_litter(file)


def is_hidden_image(file: PurePosixPath) -> bool:
    """Whether a file is called like an image and lies in a folder that is hidden by its name."""
    is_hidden = any(part.startswith(".") for part in file.parts[:-1])
    known = not KEPT_BY_PROGRAMS.isdisjoint(file.parts)
    return is_hidden and not known and is_image_name(PurePosixPath(file.name))


def has_no_suffix(file: PurePosixPath) -> bool:
    """Whether only its content can tell what a file is; `.5` or `.0001` is no suffix."""
    return not file.suffix[1:2].isalpha() and not is_litter(file)


def bare_images(root: Path, files: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Find the images without a suffix, by how their content begins.

    Args:
        root: Where the files lie; what can't be read there is none.
        files: Relative to it.
    """
    return {file for file in files if has_no_suffix(file) and _begins_as_image(root / file)}


def _begins_as_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return has_image_mark(file.read(NUM_MARK_BYTES))
    except OSError:
        return False


def find_images(
    files: Sequence[PurePosixPath],
    folders: ImageFolders,
    other: ImageFolders,
    bare: Collection[PurePosixPath] = (),
) -> list[ImageFile]:
    """Find the images of a split: those below a folder of one of its names, at any depth.

    Archives nest folders as they like (`train/train/cat_0.jpg`), so names count, not depth. Where
    folders of both splits stand side by side, these decide, the outermost such pair first; else
    the innermost named folder does. A folder that both splits name belongs to both.

    Args:
        files: As `list_files` gives them.
        folders: The split's folder names.
        other: The other split's.
        bare: Those of the files that are images without a suffix.

    Returns:
        The images, sorted by image_id.
    """
    images = [file for file in files if is_image_name(file) or file in bare]
    left_out = matched_by(images, folders.leave_out)
    splits = splits_of(images, {"ours": folders.folders, "other": other.folders})
    images = [file for file in images if "ours" in splits[file] and file not in left_out]
    if not images:
        return []
    common = PurePosixPath(os.path.commonpath([file.parent for file in images]))
    found = [ImageFile(str(file.relative_to(common)), str(file)) for file in images]
    return sorted(found, key=lambda image: image.image_id)


def matched_by(files: Collection[PurePosixPath], patterns: Sequence[str]) -> set[PurePosixPath]:
    """Find the files of which the path, or that of a folder around them, ends as a pattern says.

    Args:
        files: Files, relative.
        patterns: As of a shell, each for as many parts of a path as it has.
    """
    if not patterns:
        return set()
    folders = {one for one in folders_around(files) if any(map(one.match, patterns))}
    return {
        file
        for file in files
        if any(map(file.match, patterns)) or not folders.isdisjoint(file.parents)
    }


def splits_of(
    files: Iterable[PurePosixPath], names: Mapping[str, Iterable[str]]
) -> dict[PurePosixPath, Splits]:
    """Tell to which splits each file belongs, by the names of the folders around it.

    Args:
        files: Files, relative.
        names: Folder names by split; several parts of a path, as `train/images`, must follow
            each other.
    """
    by_last: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for split, ours in names.items():
        for name in ours:
            parts = PurePosixPath(same_form(name)).parts or ("",)
            by_last.setdefault(parts[-1], []).append((parts, split))

    def named(folder: PurePosixPath) -> Splits:
        parts = tuple(map(same_form, folder.parts))
        ends = by_last.get(parts[-1], [])
        return frozenset(split for end, split in ends if parts[-len(end) :] == end)

    files = list(files)
    splits = {folder: named(folder) for folder in folders_around(files)}
    deciding = deciding_folders(files, splits)
    return {file: splits.get(folder, NONE) for file, folder in deciding.items()}


def folders_around(files: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """List all folders that files lie in, at any depth."""
    folders: set[PurePosixPath] = set()
    for parent in {file.parent for file in files}:
        folders.update((parent, *parent.parents))
    return folders - {PurePosixPath()}


def deciding_folders(
    files: Iterable[PurePosixPath], splits: Mapping[PurePosixPath, Splits]
) -> dict[PurePosixPath, PurePosixPath]:
    """Find the folder around each file that decides to which splits it belongs.

    Args:
        files: Files, relative.
        splits: For which splits each folder around one of them is named.

    Returns:
        The folder by file; the file itself where no folder decides.
    """
    beside: dict[PurePosixPath, set[Splits]] = {}
    for folder, named in splits.items():
        if named:
            beside.setdefault(folder.parent, set()).add(named)
    pairs = {parent for parent, found in beside.items() if len(found) > 1}
    of_parent: dict[PurePosixPath, PurePosixPath | None] = {}
    deciding = {}
    for file in files:
        if file.parent not in of_parent:
            around = [one for one in file.parents if splits.get(one)]
            paired = [one for one in around if one.parent in pairs][::-1]
            of_parent[file.parent] = next(iter((*paired, *around)), None)
        deciding[file] = of_parent[file.parent] or file
    return deciding
