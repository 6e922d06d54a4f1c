"""Read the images of any folder in batches, one batch ahead of the prediction."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from pipeline.config.experiment import ImageConfig
from pipeline.data.split_folders import IMAGE_SUFFIXES
from pipeline.errors import DataError
from pipeline.images.decoder_pool import map_in_processes
from pipeline.images.views import View
from pipeline.images.working_copy import ReadOutcome, read_copies, working_side_px
from pipeline.machine import num_cpus
from pipeline.store.folders import list_files


@dataclass(frozen=True)
class FolderBatch:
    """A batch of a folder's images.

    Attributes:
        names: Their paths below it, n of them.
        faults: By name, the reason why an image can't be read.
        pixels: `(m, V, H, W, 3)` uint8: views of the m that can, in the order of `names`.
    """

    names: list[str]
    faults: dict[str, str]
    pixels: torch.Tensor


def list_images(folder: Path) -> tuple[list[str], list[str]]:
    """List the files below a folder: images by their suffix, and others.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    files = list_files(folder)
    images = [str(file) for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        state = "holds none" if folder.is_dir() else "doesn't exist"
        raise DataError(f"{folder}: must be a folder with images, {state}; choose another --images")
    return images, [str(file) for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]


def read_batches(
    folder: Path, names: Sequence[str], views: Sequence[View], images: ImageConfig, size: int
) -> Iterator[FolderBatch]:
    """Read images in batches; memory doesn't grow with their number.

    Args:
        folder: Where they lie.
        names: Their paths below it.
        views: V views of each.
        images: The working size.
        size: Images of a batch.
    """
    outcomes = _read_ahead(folder, names, images, size)
    for start in range(0, len(names), size):
        batch = list(names[start : start + size])
        copies = dict(zip(batch, itertools.islice(outcomes, len(batch)), strict=True))
        faults = {name: one for name, one in copies.items() if isinstance(one, str)}
        readable = [one for one in copies.values() if not isinstance(one, str)]
        pixels = np.empty((len(readable), len(views), *2 * (images.size_px,), 3), np.uint8)
        for place, copy in zip(pixels, readable, strict=True):
            for row, view in zip(place, views, strict=True):
                row[:] = view.crop(copy, images)
        yield FolderBatch(batch, faults, torch.from_numpy(pixels))


def _read_ahead(
    folder: Path, names: Sequence[str], images: ImageConfig, size: int
) -> Iterator[ReadOutcome]:
    """Read images in order; what the processes have in hand is about as much as `size`."""
    share = -(-size // num_cpus())
    read = partial(read_copies, folder, working_side_px(images), images.interpolation)

    def one_by_one(together: Sequence[str], _: str) -> list[ReadOutcome]:
        alone = [[name] for name in together]
        return [one for (one,) in map_in_processes(read, alone, 1, _mark_unreadable)]

    shares = [names[start : start + share] for start in range(0, len(names), share)]
    for outcomes in map_in_processes(read, shares, None, one_by_one):
        yield from outcomes


def _mark_unreadable(_: Sequence[str], cause: str) -> list[ReadOutcome]:
    return [f"cannot be decoded: it ends the process that tries ({cause})"]
