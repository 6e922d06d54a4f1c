"""Compute what frozen layers make of images, once for all folds.

Features come from the cache; where it has no room for them all, none is kept: they are computed
whenever they are wanted, and rounded alike.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.config.experiment import Experiment
from pipeline.console import Advance, progress, warn
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
    FeatureRows,
    GoneError,
    blocks_of,
)
from pipeline.training.frozen import Forward, frozen_forward
from pipeline.training.loader import Batch, ViewDataset, ViewLoader
from pipeline.training.memory import GPU_VIEWS
from pipeline.training.readback import delayed_by_one
from pipeline.training.shared_blocks import Block, SharedBlocks

BATCH_SIZE = 32
# Of a measurement: batches, of which the first isn't timed, views of each at most, and when it is
# enough.
MEASURED_BATCHES, MEASURED_VIEWS, MEASURED_SECONDS = 6, 4, 1.0


@dataclass(frozen=True)
class Pace:
    """How fast features are computed.

    Attributes:
        image_seconds: Of one image under all its views, loading included.
        timed_seconds: How long was measured.
        shape: Of the feature of one view.
    """

    image_seconds: float
    timed_seconds: float
    shape: tuple[int, ...]


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
        self._is_gpu = self._device.type == "cuda"
        self._precision = Precision.choose(experiment.train.precision, self._device)

    def extract(self, images: pd.DataFrame, views: Sequence[View], what: str) -> list[FeatureRows]:
        """Return the features of images under views, from the cache if there is room for them.

        Args:
            images: Readable rows of `train.csv` or `test.csv`, N of them.
            views: V views.
            what: What to call the images on the progress bar.

        Returns:
            By view, N rows in the order of the table; in memory where the cache has no room.

        Raises:
            ArtifactError: A cached block is damaged.
            DataError: An image can't be read any more.
        """
        if self._fill_cache(images, views, what):
            try:
                return [self.cache.rows(images, view) for view in views]
            except GoneError as error:
                _warn_of_lost(error)
        blocks = [Block(first, block, tuple(views)) for first, block in blocks_of(images)]
        with progress(f"features {self._experiment.name} {what}", len(images)) as advance:
            computed = self._compute(images, blocks, len(views), advance)
            parts = [features for _, features in computed]  # (n, V, ...)
        lengths = [len(part) for part in parts]
        by_view = ([part[:, number] for part in parts] for number in range(len(views)))
        return [FeatureRows(blocks, lengths) for blocks in by_view]

    def cached(
        self, images: pd.DataFrame, views: Sequence[View], what: str
    ) -> dict[View, FeatureRows] | None:
        """Return the same as mapped files, by view; None where there is no room for them.

        All processes of a launch compute them together, and agree on what is returned.

        Raises:
            ArtifactError: A cached block is damaged.
            DataError: An image can't be read any more.
        """
        if not self._fill_cache(images, views, what):
            return None
        found = {}
        try:
            found = {view: self.cache.rows(images, view) for view in views}
        except GoneError as error:
            _warn_of_lost(error)
        return None if processes.any_of(not found) else found

    def measure(self, images: pd.DataFrame, views: Sequence[View]) -> Pace:
        """Time some batches as they would be computed; nothing is cached.

        Raises:
            DataError: An image can't be read any more.
        """
        set_up(self._device)
        some = tuple(views[:: -(-len(views) // MEASURED_VIEWS)])
        size = min(self._batch_size(len(some)), len(images))
        firsts = (number * size % len(images) for number in range(MEASURED_BATCHES))
        batches = (Batch([*range(first, min(first + size, len(images)))], some) for first in firsts)
        computed = self._features(self._load(images, batches, len(some)))
        shape = next(computed).cpu().shape[2:]  # layers are converted here
        begun, num_timed = time.monotonic(), 0
        for features in computed:
            num_timed += len(features.cpu())
            if time.monotonic() - begun > MEASURED_SECONDS:
                break
        seconds = time.monotonic() - begun
        return Pace(seconds / num_timed * len(views) / len(some), seconds, shape)

    def _fill_cache(self, images: pd.DataFrame, views: Sequence[View], what: str) -> bool:
        """Compute the features that aren't cached, if there is room; processes share the blocks."""
        has_room = processes.is_main() and self.cache.has_room(images, views, self._num_bytes)
        if not processes.broadcast(has_room):
            return False
        own = blocks_of(images)[rank() :: num_processes()]
        shared = SharedBlocks(self.cache, views, own)
        if shared.waiting:
            title = f"features {self._experiment.name} {what}"
            with progress(title, shared.num_images()) as advance, shared:
                while shared.waiting:
                    if not self._compute_free(images, shared, advance):
                        shared.pause(title)
        processes.wait_for_all()
        return True

    def _compute_free(self, images: pd.DataFrame, shared: SharedBlocks, advance: Advance) -> bool:
        """Compute and keep the blocks whose locks are free; tell whether any was.

        A lock that isn't may be this command's own, for another block whose name begins alike.
        """
        taken = shared.take(advance)
        if (first := next(taken, None)) is None:
            return False
        blocks = itertools.chain([first], taken)
        written: deque[tuple[Block, Future[None]]] = deque()
        with ThreadPoolExecutor(1, "writes features") as thread:
            for block, features in self._compute(images, blocks, len(shared.views), advance):
                written.append((block, thread.submit(self._write, block, features)))
                while len(written) > 1:  # memory holds one that waits
                    _give_back(shared, *written.popleft())
            for one in written:
                _give_back(shared, *one)
        return True

    def _write(self, block: Block, features: FeatureArray) -> None:
        for number, view in enumerate(block.missing):
            self.cache.write(block.images, view, features[:, number])

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
        self, images: pd.DataFrame, blocks: Iterable[Block], num_views: int, advance: Advance
    ) -> Iterator[tuple[Block, FeatureArray]]:
        """Yield blocks with the features that they lack, `(n, V, ...)`.

        Args:
            images: The table.
            blocks: Asked for one by one, as many ahead as images are read ahead.
            num_views: What no block lacks more of.
            advance: Moves a progress bar.
        """
        set_up(self._device)
        begun: deque[Block] = deque()

        def batches() -> Iterator[Batch]:
            for block in blocks:
                begun.append(block)
                yield from block.batches(self._batch_size(len(block.missing)))

        parts: list[FeatureArray] = []
        computed = self._features(self._load(images, batches(), num_views))
        # A GPU has the next batch to work on while the last one's features are copied and written.
        for features in delayed_by_one(computed) if self._is_gpu else computed:
            parts.append(features.numpy())
            advance(len(features))
            if sum(map(len, parts)) == len(begun[0].images):
                yield begun.popleft(), np.concatenate(parts)
                parts = []

    def _batch_size(self, num_views: int) -> int:
        """Return how many images are loaded together: a GPU wants more views at once than a CPU."""
        return max(BATCH_SIZE, GPU_VIEWS // num_views) if self._is_gpu else BATCH_SIZE

    def _load(
        self, images: pd.DataFrame, batches: Iterator[Batch], num_views: int
    ) -> Iterator[torch.Tensor]:
        """Read each image once; its features are cached, so no cache of images is needed."""
        config = self._experiment
        copies = WorkingCopies(
            self._paths, working_side_px(config.images), config.images.interpolation
        )
        dataset = ViewDataset(copies, images, config.images, config.views)
        most = self._batch_size(num_views) * num_views * config.images.size_px**2 * 3
        return ViewLoader(dataset, self._device.type).load(batches, most)

    @cached_property
    def _forward(self) -> Forward:
        """The trunk as it is run: `(n, H, W, 3)` uint8 → `(n, ...)`."""
        images = self._experiment.images
        return frozen_forward(self._network(), self._device, self._precision, images)

    @torch.inference_mode()
    def _features(self, loading: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Make features of pixels: `(B, V, H, W, 3)` uint8 → `(B, V, ...)`, on the device."""
        for pixels in loading:
            features = round_to_float16(self._forward(pixels.flatten(0, 1))).contiguous()
            yield features.reshape(*pixels.shape[:2], *features.shape[1:])


def _give_back(shared: SharedBlocks, block: Block, writing: "Future[None]") -> None:
    writing.result()
    shared.give_back(block)


def _warn_of_lost(error: GoneError) -> None:
    warn(f"{error}, or wait: features are computed whenever they are wanted")
