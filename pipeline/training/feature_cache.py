"""Cache features of frozen layers under what made them.

The cache holds one file per block of images and view. A block's name is the hash of all that
decides its numbers (weights, precision, preparation, view, the images' own hashes), so nothing
stale can be read, a broken-off run goes on where it stopped, and experiments share what they have
in common.
"""

import functools
import io
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.experiment import Experiment
from pipeline.console import warn
from pipeline.errors import ArtifactError
from pipeline.images.transforms import transform_text
from pipeline.images.views import View
from pipeline.machine import most_open_files
from pipeline.models.registry import FrozenLayers
from pipeline.store.atomic import write_bytes
from pipeline.store.cache_budget import FEATURES_SUFFIX, VARIABLE, make_room, mark_used
from pipeline.store.disk_errors import DAMAGE
from pipeline.store.freshness import fingerprint
from pipeline.store.locks import try_hold
from pipeline.store.paths import Paths
from pipeline.training.device import Precision, frozen_backend, pick_device

FeatureArray = npt.NDArray[np.float16]

BLOCK_SIZE = 256


class FeatureRows:
    """Features of a table's images in one view, in blocks that are read when they are wanted.

    Memory holds what is asked for and no more: files are mapped, and few of them at a time.

    Args:
        blocks: `(n, ...)` float16 each, or what opens one; all but the last of the same length.
        lengths: The n of each.
    """

    def __init__(
        self, blocks: Sequence[FeatureArray | Callable[[], FeatureArray]], lengths: Sequence[int]
    ) -> None:
        self._blocks = blocks
        self._size = lengths[0] if lengths else 1
        self._count = sum(lengths)

    def __len__(self) -> int:
        return self._count

    def take(self, rows: npt.ArrayLike) -> FeatureArray:
        """Return the features of some images, `(n, ...)`, in the order of their numbers `(n,)`.

        Raises:
            GoneError: A block was deleted since it was found.
            ArtifactError: A block is damaged.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        numbers = wanted // self._size
        features: FeatureArray | None = None
        for number in np.unique(numbers).tolist():
            block = self._block(number)
            if features is None:
                features = np.empty((len(wanted), *block.shape[1:]), dtype=np.float16)
            places = np.flatnonzero(numbers == number)
            features[places] = block[wanted[places] - number * self._size]
        return self._block(0)[:0] if features is None else features

    def _block(self, number: int) -> FeatureArray:
        block = self._blocks[number]
        return block() if callable(block) else block


class GoneError(ArtifactError):
    """A block of the cache was deleted by another command, which needed the room."""


class FeatureCache:
    """Keeps what one experiment's frozen layers make of images, block by block.

    Args:
        paths: Where the cache goes.
        experiment: How views are made of images, and in which precision it is computed.
        layers: The frozen layers.
        since: When the run began that they serve, in nanoseconds since 1970: what was used later
            isn't deleted to make room. None is now.
    """

    def __init__(
        self, paths: Paths, experiment: Experiment, layers: FrozenLayers, since: int | None = None
    ) -> None:
        self._paths = paths
        self._experiment = experiment
        self._layers = layers
        self._since = time.time_ns() if since is None else since
        # Every block that is mapped keeps its file open.
        self._open = functools.lru_cache(maxsize=most_open_files())(_open_block)
        self._device = pick_device()
        self._precision = Precision.choose(experiment.train.precision, self._device)

    def has_room(
        self, images: pd.DataFrame, views: Sequence[View], num_bytes: Callable[[], int]
    ) -> bool:
        """Tell whether the disk budget allows these features; warn if it doesn't.

        Vectors are small whatever the data; the maps of lower layers aren't.

        Args:
            images: Rows of `train.csv` or `test.csv`.
            views: Their views.
            num_bytes: Counts the bytes of one image's feature; asked if any is missing.
        """
        counts = {
            self._path(block, view): len(block) for _, block in blocks_of(images) for view in views
        }
        are_there = [mark_used(path) for path in counts]
        if all(are_there):
            return True
        size = num_bytes()
        sizes = {path: num * size for path, num in counts.items()}
        room = make_room(self._paths, sizes, self._since)
        if not room.paths:
            warn(
                f"{self._paths.features_dir}: has room for {room.num_bytes / 1e9:.1f} GB, what the "
                f"frozen layers make of {len(images):,} images in {len(views)} views takes "
                f"{sum(sizes.values()) / 1e9:.1f} GB and is computed whenever it is wanted; "
                f"{VARIABLE} and free space allow more"
            )
        return bool(room.paths)

    def has(self, images: pd.DataFrame, views: Sequence[View]) -> bool:
        """Tell whether the features of all these images are in the cache."""
        return not any(self.missing(block, views) for _, block in blocks_of(images))

    def rows(self, images: pd.DataFrame, view: View) -> FeatureRows:
        """Return the cached features of a view, which are read when they are wanted.

        Raises:
            GoneError: A block is missing.
            ArtifactError: A block is damaged.
        """
        openers, lengths = [], []
        for _, block in blocks_of(images):
            opener = functools.partial(self._open, self._path(block, view), len(block))
            opener()  # what is wrong with it is said now
            openers.append(opener)
            lengths.append(len(block))
        return FeatureRows(openers, lengths)

    def missing(self, images: pd.DataFrame, views: Sequence[View]) -> tuple[View, ...]:
        """List the views whose features of a block of images aren't there."""
        return tuple(view for view in views if not self._path(images, view).is_file())

    def claim(self, images: pd.DataFrame, view: View) -> Callable[[], None] | None:
        """Take a block of images for oneself; return what gives it back, None if it is taken.

        Blocks whose names begin alike share a lock, so one may be taken for another's sake.

        Args:
            images: The block.
            view: The first of its views.
        """
        return try_hold(self._path(images, view).with_name(".lock"))

    def _path(self, images: pd.DataFrame, view: View) -> Path:
        config = self._experiment
        key: dict[str, Any] = {
            "model": config.model.name,
            "weights": self._layers.weights_sha256,
            "device": self._device.type,
            "dtype": str(self._precision.dtype),
            "preparation": config.images.model_dump(
                mode="json", exclude={"interpolation", "crop_mode"}
            ),
            "view": [*view.key(), transform_text(view.recipe, config.images, config.views)],
            "versions": [metadata.version(name) for name in ("torch", "pillow")],
            "images": images["sha256"].tolist(),
        }
        if backend := frozen_backend(self._device):
            key["backend"] = backend
        name = fingerprint(key)
        return self._paths.features_dir / name[:2] / f"{name}{FEATURES_SUFFIX}"

    def write(self, images: pd.DataFrame, view: View, features: FeatureArray) -> None:
        """Keep the features of a block of images under a view, `(n, ...)`."""
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        write_bytes(self._path(images, view), buffer.getvalue())


def blocks_of(images: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    """Cut a table into blocks of up to BLOCK_SIZE rows, each with the number of its first."""
    starts = range(0, len(images), BLOCK_SIZE)
    return [(start, images.iloc[start : start + BLOCK_SIZE]) for start in starts]


def _open_block(path: Path, num_images: int) -> FeatureArray:
    mark_used(path)  # a run that came later makes no room by deleting it
    return read_block(path, num_images)


def read_block(path: Path, num_images: int) -> FeatureArray:
    """Map a file of the cache.

    Raises:
        GoneError: It is missing.
        ArtifactError: It is damaged.
    """
    try:
        features: FeatureArray = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(features) != num_images or features.dtype != np.float16:
            found = f"{features.dtype} of shape {features.shape}"
            raise ValueError(f"float16 of {num_images} rows expected, found {found}")
    except FileNotFoundError as error:
        raise GoneError(
            f"{path}: must be in the cache, another command has made room there; give it more by "
            f"{VARIABLE} and run the same command again"
        ) from error
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(
            f"{path}: damaged ({reason}); delete it and run the same command again"
        ) from error
    return features
