"""Split images into training and test images by their folders."""

import os
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.config.images_table import ImageFolders
from pipeline.data.catalog import IMAGE_SUFFIXES, find_images
from pipeline.errors import DataError

TRAIN_NAME = re.compile(r"train|val|训练|验证", re.IGNORECASE)
TEST_NAME = re.compile(r"test|unlabel|测试", re.IGNORECASE)


@dataclass(frozen=True)
class Split:
    """One split's folders, and why.

    Attributes:
        folders: Their names; empty where the user has none.
        why: What they were inferred from.
        ids: image_ids of the images below them.
    """

    folders: tuple[str, ...]
    why: str
    ids: tuple[str, ...] = ()


def split_images(
    files: Sequence[PurePosixPath], train_at: PurePosixPath | None, test_at: PurePosixPath | None
) -> tuple[Split, Split]:
    """Tell the training images from the test images.

    Args:
        files: Paths below `data/<competition>/images`.
        train_at: The folder there that the user calls the training images', if any.
        test_at: That of the test images.

    Returns:
        Train and test; they name one folder where their images lie mixed.

    Raises:
        DataError: There are no images.
    """
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(
            f"init: expected images, found {len(files):,} files, none of them one; name the "
            "folder or archive that holds them by --from, --train or --test"
        )
    test_files = _below(images, test_at) if test_at else _named(images, TEST_NAME, TRAIN_NAME)
    train_files = _below(images, train_at) if train_at else _named(images, TRAIN_NAME, TEST_NAME)
    others = [file for file in images if file not in {*test_files, *train_files}]
    if not train_files:
        train_files = others or test_files
    elif not test_files:
        test_files = others
    train = _folders(train_files, train_at, TRAIN_NAME, test_files)
    test = _folders(test_files, test_at, TEST_NAME, train_files)
    if not test_files and not train_at:
        test = train  # all in one folder: a list must tell them apart
    return _with_ids(images, train, test), _with_ids(images, test, train)


def split_by_list(
    files: Iterable[PurePosixPath], mixed: Split, listed: Set[str]
) -> tuple[Split, Split]:
    """Tell images apart by which of them are labelled, if they lie in folders of their own.

    Args:
        files: Paths below `data/<competition>/images`.
        mixed: All images.
        listed: image_ids of those that have labels.

    Returns:
        Train and test; the latter without folders where there are none of its own.
    """
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    found = find_images(images, ImageFolders(folders=mixed.folders), ImageFolders(folders=("",)))
    ours = [PurePosixPath(image.path) for image in found if image.image_id in listed]
    others = [PurePosixPath(image.path) for image in found if image.image_id not in listed]
    names = [_own_folder(*pair) for pair in ((ours, others), (others, ours))]
    if None in names:
        return mixed, Split((), "no images or lists of such names were found")
    train = Split((str(names[0]),), f"{len(ours):,} images, those that have labels")
    test = Split((str(names[1]),), f"{len(others):,} images, those that have no labels")
    return _with_ids(images, train, test), _with_ids(images, test, train)


def _own_folder(images: Sequence[PurePosixPath], others: Sequence[PurePosixPath]) -> str | None:
    """Name a folder that holds these images and none of the others, if there is one."""
    if not images or not others:
        return None
    common = PurePosixPath(os.path.commonpath([image.parent for image in images]))
    name = _distinct(common, others, outermost=False)
    return None if any(name in image.parent.parts for image in others) else name


def _below(images: Iterable[PurePosixPath], folder: PurePosixPath) -> list[PurePosixPath]:
    return [image for image in images if image.is_relative_to(folder)]


def _named(
    images: Iterable[PurePosixPath], ours: re.Pattern[str], others: re.Pattern[str]
) -> list[PurePosixPath]:
    """Pick the images whose innermost folder that names a split names ours."""
    return [
        image
        for image in images
        if _split_folder(image, ours) and not _is_deeper(image, others, ours)
    ]


def _split_folder(image: PurePosixPath, names: re.Pattern[str]) -> str:
    """Return the innermost folder of an image that says which split it is of, or nothing."""
    return next((part for part in reversed(image.parent.parts) if names.search(part)), "")


def _is_deeper(image: PurePosixPath, one: re.Pattern[str], other: re.Pattern[str]) -> bool:
    matches_one = [
        bool(one.search(part)) and not other.search(part)
        for part in image.parent.parts
        if one.search(part) or other.search(part)
    ]
    return matches_one[-1]


def _folders(
    files: Sequence[PurePosixPath],
    given: PurePosixPath | None,
    names: re.Pattern[str],
    others: Sequence[PurePosixPath],
) -> Split:
    count = f"{len(files):,} images"
    if not files:
        return Split((), "no such images were found")
    if given is not None:
        # An inner part, as `train`, may stand in folders that weren't looked at, too.
        name = _distinct(given, others, outermost=True)
        return Split((name,), f"{count} in the folder that you named")
    found = sorted({_split_folder(file, names) for file in files} - {""})
    if found:
        return Split(tuple(found), f"{count} below folders of such names")
    common = PurePosixPath(os.path.commonpath([file.parent for file in files]))
    return Split(
        (_distinct(common, others, outermost=False),), f"{count} that no other folder accounts for"
    )


def _distinct(folder: PurePosixPath, others: Iterable[PurePosixPath], *, outermost: bool) -> str:
    """Name a folder by a part of its path that no image of the other split has, if there is one."""
    taken = {part for image in others for part in image.parent.parts}
    parts = folder.parts if outermost else folder.parts[::-1]
    return next((part for part in parts if part not in taken), folder.name)


def _with_ids(images: list[PurePosixPath], split: Split, other: Split) -> Split:
    if not split.folders:
        return split
    ours, theirs = (ImageFolders(folders=one.folders or ("",)) for one in (split, other))
    if split.folders == other.folders:
        theirs = ImageFolders(folders=("",))
    ids = tuple(image.image_id for image in find_images(images, ours, theirs))
    return Split(split.folders, split.why, ids)
