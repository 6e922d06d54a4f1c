"""Compute what frozen layers make of images, once for all folds.

Features come from the cache; where it has no room for them all, none is kept: they are computed
whenever they are wanted, and rounded alike.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.config.experiment import Experiment
from pipeline.console import progress, warn
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.machine import num_processes, rank
from pipeline.models.registry import FrozenLayers
from pipeline.store.paths import Paths
from pipeline.training import processes
from pipeline.training.device import (
    Precision,
    pick_device,
    round_to_float16,
    set_up,
)
from pipeline.training.feature_cache import (
    FeatureArray,
    FeatureCache,
    GoneError,
    blocks_of,
)
from pipeline.training.frozen import Forward, frozen_forward
from pipeline.training.loader import Batch, ViewDataset, ViewLoader

BATCH_SIZE = 32


@dataclass(frozen=True)
class Block:
    """Up to BLOCK_SIZE consecutive images of a table and the views that aren't cached yet."""

    first: int
    images: pd.DataFrame
    missing: tuple[View, ...]

    def batches(self) -> list[Batch]:
        """Cut the images into batches that never cross a block.

        Batches depend on the block alone, so its numbers do too: which blocks were cached before
        can't change a rounding.
        """
        rows = list(range(self.first, self.first + len(self.images)))
        starts = range(0, len(rows), BATCH_SIZE)
        return [Batch(rows[start : start + BATCH_SIZE], self.missing) for start in starts]


class FeatureExtractor:
    """Computes and caches what one experiment's frozen layers make of images.

    A feature is what the layers make of one image: a vector `(D,)` or a map `(C, h, w)`.

    Args:
        paths: Where the images lie and the cache goes.
        experiment: How views are made of images, and in which precision it is computed.
        layers: The frozen layers.
        since: When the run began that they serve, see `FeatureCache`.

    Attributes:
        cache: Where they are kept.
    """

    def __init__(
        self, paths: Paths, experiment: Experiment, layers: FrozenLayers, since: int | None = None
    ) -> None:
        self._paths = paths
        self._experiment = experiment
        self._layers = layers
        self.cache = FeatureCache(paths, experiment, layers, since)
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
                by_view = (self.cache.open_blocks(images, view) for view in views)
                return np.stack([np.concatenate(blocks) for blocks in by_view])
            except GoneError as error:
                _warn_of_lost(error)
        blocks = [Block(first, block, tuple(views)) for first, block in blocks_of(images)]
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
            found = {view: self.cache.open_blocks(images, view) for view in views}
        except GoneError as error:
            _warn_of_lost(error)
        return None if processes.any_of(not found) else found

    def _fill_cache(self, images: pd.DataFrame, views: Sequence[View], what: str) -> bool:
        """Compute the features that aren't cached, if there is room; processes share the blocks."""
        has_room = processes.is_main() and self.cache.has_room(images, views, self._num_bytes)
        if not processes.broadcast(has_room):
            return False
        blocks = [
            Block(first, block, self.cache.missing(block, views))
            for first, block in blocks_of(images)[rank() :: num_processes()]
        ]
        for block, features in self._compute(images, [one for one in blocks if one.missing], what):
            for number, view in enumerate(block.missing):
                self.cache.write(block.images, view, features[:, number])
        processes.wait_for_all()
        return True

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
                for pixels in itertools.islice(loading, len(block.batches())):
                    parts.append(self._features(forward, pixels))  # (B, V, H, W, 3) uint8
                    advance(len(pixels))
                yield block, np.concatenate(parts)

    def _load(self, images: pd.DataFrame, blocks: list[Block]) -> Iterator[torch.Tensor]:
        """Read each image once; its features are cached, so no cache of images is needed."""
        config = self._experiment
        copies = WorkingCopies(
            self._paths, working_side_px(config.images), config.images.interpolation
        )
        dataset = ViewDataset(copies, images, config.images, config.views)
        batches = [batch for block in blocks for batch in block.batches()]
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


def _warn_of_lost(error: GoneError) -> None:
    warn(f"{error}, or wait: features are computed whenever they are wanted")
