"""Compute what frozen layers make of images, once for all folds, and cache it.

The cache holds one file per block of images and view. A block's name is the hash of all that
decides its numbers (weights, precision, preparation, view, the images' own hashes), so nothing
stale can be read, a broken-off run goes on where it stopped, and experiments share what they have
in common. Where there is no room for them all, none is kept: they are computed whenever they are
wanted, and rounded alike.
"""

import io
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from pipeline.config.experiment import Experiment
from pipeline.console import progress, warn
from pipeline.errors import ArtifactError
from pipeline.images.transforms import transform_text
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.machine import num_processes, rank
from pipeline.models.registry import FrozenLayers
from pipeline.store.atomic import write_bytes
from pipeline.store.cache_budget import FEATURES_SUFFIX, VARIABLE, make_room, mark_used
from pipeline.store.disk_errors import DAMAGE
from pipeline.store.freshness import fingerprint
from pipeline.store.paths import Paths
from pipeline.training import processes
from pipeline.training.dataset import Batch, ViewDataset
from pipeline.training.device import (
    Precision,
    frozen_backend,
    pick_device,
    round_to_float16,
    set_up,
)
from pipeline.training.frozen import Forward, frozen_forward
from pipeline.training.loader import ViewLoader

FeatureArray = npt.NDArray[np.float16]

BLOCK_SIZE = 256
BATCH_SIZE = 32


class GoneError(ArtifactError):
    """A block of the cache was deleted by another command, which needed the room."""


@dataclass(frozen=True)
class Block:
    """Up to BLOCK_SIZE consecutive images of a table and the views that aren't cached yet."""

    first: int
    images: pd.DataFrame
    missing: tuple[View, ...]

    def batches(self, size_px: int) -> list[Batch]:
        """Cut the images into batches that never cross a block.

        Batches depend on the block alone, so its numbers do too: which blocks were cached before
        can't change a rounding.
        """
        rows = list(range(self.first, self.first + len(self.images)))
        starts = range(0, len(rows), BATCH_SIZE)
        return [Batch(rows[start : start + BATCH_SIZE], self.missing, size_px) for start in starts]


class FeatureExtractor:
    """Computes and caches what one experiment's frozen layers make of images.

    A feature is what the layers make of one image: a vector `(D,)` or a map `(C, h, w)`.

    Args:
        paths: Where the images lie and the cache goes.
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
        self._device = pick_device()
        self._precision = Precision.choose(experiment.train.precision, self._device)

    def extract(self, images: pd.DataFrame, views: Sequence[View], what: str) -> FeatureArray:
        """Return the features of images under views, from the cache if there is room for them.

        Args:
            images: Readable rows of `train.csv` or `test.csv`, N of them.
            views: V views.
            what: What to call the images on the progress bar.

        Returns:
            `(V, N, ...)` float16, rows in the order of the table.

        Raises:
            ArtifactError: A cached block is damaged.
            DataError: An image can't be read any more.
        """
        if self._fill_cache(images, views, what):
            try:
                return np.stack([np.concatenate(self.open_blocks(images, view)) for view in views])
            except GoneError as error:
                _warn_of_lost(error)
        blocks = _blocks_with(images, views)
        parts = [features for _, features in self._compute(images, blocks, what)]  # (n, V, ...)
        return np.ascontiguousarray(np.concatenate(parts).swapaxes(0, 1))

    def cached(
        self, images: pd.DataFrame, views: Sequence[View], what: str
    ) -> dict[View, list[FeatureArray]] | None:
        """Return the same as memory-mapped blocks, by view; None where there is no room for them.

        All processes of a launch compute them together, and agree on what is returned.

        Raises:
            ArtifactError: A cached block is damaged.
            DataError: An image can't be read any more.
        """
        if not self._fill_cache(images, views, what):
            return None
        found = {}
        try:
            found = {view: self.open_blocks(images, view) for view in views}
        except GoneError as error:
            _warn_of_lost(error)
        return None if processes.any_of(not found) else found

    def _fill_cache(self, images: pd.DataFrame, views: Sequence[View], what: str) -> bool:
        """Compute the features that aren't cached, if there is room; processes share the blocks."""
        if not processes.broadcast(processes.is_main() and self._has_room(images, views)):
            return False
        blocks = [
            Block(block.first, block.images, self._missing(block.images, views))
            for block in _blocks_with(images, views)[rank() :: num_processes()]
        ]
        for block, features in self._compute(images, [one for one in blocks if one.missing], what):
            for number, view in enumerate(block.missing):
                self._write(block.images, view, features[:, number])
        processes.wait_for_all()
        return True

    def _has_room(self, images: pd.DataFrame, views: Sequence[View]) -> bool:
        """Tell whether the disk budget allows these features; warn if it doesn't.

        Vectors are small whatever the data; the maps of lower layers aren't.
        """
        counts = {
            self._cache_path(block, view): len(block) for block in _blocks(images) for view in views
        }
        are_there = [mark_used(path) for path in counts]
        if all(are_there):
            return True
        size = self._num_bytes()
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

    @torch.inference_mode()
    def _num_bytes(self) -> int:
        """Count the bytes of one image's feature."""
        size_px = self._experiment.images.size_px
        feature = self._network()(torch.zeros(1, 3, size_px, size_px, device=self._device))
        return int(feature.numel()) * np.dtype(np.float16).itemsize

    def _network(self) -> nn.Module:
        network = self._layers.module.to(self._device).eval()
        return network.to(memory_format=torch.channels_last)

    def _compute(
        self, images: pd.DataFrame, blocks: list[Block], what: str
    ) -> Iterator[tuple[Block, FeatureArray]]:
        """Yield blocks with the features that they lack, `(n, V, ...)`."""
        if not blocks:
            return
        set_up(self._device)
        forward = self._forward()
        loading = self._load(images, blocks)
        total = sum(len(block.images) for block in blocks)
        with progress(f"features {self._experiment.name} {what}", total) as advance:
            for block in blocks:
                parts = []
                for pixels in itertools.islice(loading, len(block.batches(0))):
                    parts.append(self._features(forward, pixels))  # (B, V, H, W, 3) uint8
                    advance(len(pixels))
                yield block, np.concatenate(parts)

    def is_cached(self, images: pd.DataFrame, views: Sequence[View]) -> bool:
        """Tell whether the features of all these images are in the cache."""
        return not any(self._missing(block, views) for block in _blocks(images))

    def open_blocks(self, images: pd.DataFrame, view: View) -> list[FeatureArray]:
        """Open the cached features of a view, one memory-mapped array per BLOCK_SIZE images.

        Raises:
            GoneError: A block is missing.
            ArtifactError: A block is damaged.
        """
        return [read_block(self._cache_path(block, view), len(block)) for block in _blocks(images)]

    def _missing(self, images: pd.DataFrame, views: Sequence[View]) -> tuple[View, ...]:
        return tuple(view for view in views if not self._cache_path(images, view).is_file())

    def _cache_path(self, images: pd.DataFrame, view: View) -> Path:
        config = self._experiment
        key: dict[str, Any] = {
            "model": config.model.name,
            "weights": self._layers.weights_sha256,
            "device": self._device.type,
            "dtype": str(self._precision.dtype),
            "preparation": config.images.model_dump(mode="json"),
            "view": [*view.key(), transform_text(view.recipe, config.images, config.views)],
            "versions": [metadata.version(name) for name in ("torch", "pillow")],
            "images": images["sha256"].tolist(),
        }
        if backend := frozen_backend(self._device):
            key["backend"] = backend
        name = fingerprint(key)
        return self._paths.features_dir / name[:2] / f"{name}{FEATURES_SUFFIX}"

    def _load(self, images: pd.DataFrame, blocks: list[Block]) -> Iterator[torch.Tensor]:
        """Read each image once; its features are cached, so no cache of images is needed."""
        config = self._experiment
        copies = WorkingCopies(self._paths, working_side_px(config.images))
        dataset = ViewDataset(copies, images, config.images, config.views)
        batches = [batch for block in blocks for batch in block.batches(config.images.size_px)]
        return ViewLoader(dataset, self._device.type).load(batches)

    def _forward(self) -> Forward:
        """Return the trunk as it is run: `(n, H, W, 3)` uint8 → `(n, ...)`."""
        images = self._experiment.images
        return frozen_forward(self._network(), self._device, self._precision, images)

    @torch.inference_mode()
    def _features(self, forward: Forward, pixels: torch.Tensor) -> FeatureArray:
        """Make features of pixels: `(B, V, H, W, 3)` uint8 → `(B, V, ...)`."""
        features = round_to_float16(forward(pixels.flatten(0, 1))).contiguous()
        return np.asarray(features.reshape(*pixels.shape[:2], *features.shape[1:]).cpu())

    def _write(self, images: pd.DataFrame, view: View, features: FeatureArray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        write_bytes(self._cache_path(images, view), buffer.getvalue())


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


def _warn_of_lost(error: GoneError) -> None:
    warn(f"{error}, or wait: features are computed whenever they are wanted")


def _blocks(images: pd.DataFrame) -> list[pd.DataFrame]:
    return [images.iloc[start : start + BLOCK_SIZE] for start in range(0, len(images), BLOCK_SIZE)]


def _blocks_with(images: pd.DataFrame, views: Sequence[View]) -> list[Block]:
    numbered = enumerate(_blocks(images))
    return [Block(number * BLOCK_SIZE, block, tuple(views)) for number, block in numbered]
