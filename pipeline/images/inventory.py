"""Which image files there are, and what each is called."""

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.schema.images import ImageFolders

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class ImageFile:
    """An image file of the unpacked archives.

    Attributes:
        image_id: Its key: the path below the innermost folder that holds all images of its
            split, so `cat_0.jpg` in a flat folder and `cats/0.jpg` where folders name classes.
        path: The path below `data/<competition>/images`, with forward slashes; empty where a list
            names the image and there is no such file.
    """

    image_id: str
    path: str


def find_images(
    files: list[PurePosixPath], folders: ImageFolders, other: ImageFolders
) -> list[ImageFile]:
    """Pick the images of a split: those below a folder of one of its names, at any depth.

    Archives nest folders as they like (`train/train/cat_0.jpg`), so names count, not depth. An
    image below folders of both splits (`train.zip` that holds `train` and `test`) belongs to that
    of the innermost; a folder that both splits name belongs to both.

    Args:
        files: As `list_files` gives them.
        folders: The split's folder names.
        other: The other split's.

    Returns:
        The images, sorted by image_id.
    """
    split_of = dict.fromkeys(other.folders, other) | dict.fromkeys(folders.folders, folders)
    images = [
        file
        for file in files
        if file.suffix.lower() in IMAGE_SUFFIXES
        and next((split_of[part] for part in reversed(file.parent.parts) if part in split_of), None)
        is folders
    ]
    if not images:
        return []
    common = PurePosixPath(os.path.commonpath([file.parent for file in images]))
    found = [ImageFile(str(file.relative_to(common)), str(file)) for file in images]
    return sorted(found, key=lambda image: image.image_id)
