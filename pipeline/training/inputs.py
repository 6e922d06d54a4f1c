"""Load what the learning part of a network reads: pixels, or cached outputs of frozen layers."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.config.experiment import Experiment
from pipeline.images.views import View, plain_views
from pipeline.images.working_copy import WorkingCopies
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.device import (
    Precision,
    pick_device,
    round_to_float16,
    to_device,
    to_inputs,
)
from pipeline.training.feature_cache import FeatureRows
from pipeline.training.frozen import Forward, frozen_forward
from pipeline.training.loader import Batch, ViewDataset, ViewLoader
from pipeline.training.memory import GPU_VIEWS


class Inputs(ABC):
    """Loads batches of one table of images, and makes of them what the learning part reads."""

    @abstractmethod
    def load(
        self, views: Sequence[View], batches: Sequence[list[int]]
    ) -> Generator[Tensor, None, None]:
        """Load batches, in the order given.

        Args:
            views: V views of every image.
            batches: Rows of the table, batch by batch.

        Yields:
            `(B, V, ...)`, compact and still on the CPU.

        Raises:
            DataError: An image can't be read any more.
        """

    @abstractmethod
    def prepare(self, loaded: Tensor) -> Tensor:
        """Move `(N, ...)` of what was loaded to the device and make inputs of it, `(N, ...)`."""

    def through_finished(self, module: nn.Module, precision: Precision) -> Forward:
        """Return what runs `(N, ...)` of what was loaded through layers that learn no more."""
        run = frozen_forward(module, pick_device(), precision)
        return lambda loaded: run(self.prepare(loaded))


@dataclass(frozen=True)
class TrainSet:
    """The images that one training learns from, with their targets.

    Attributes:
        inputs: Where they come from.
        rows: Which rows of their table, `(n,)`.
        targets: Their soft targets, `(n, K)` float32; rows sum to 1 unless there are several
            labels.
        image_ids: Their ids, n of them.
        metric: The competition's metric, by which epochs are compared.
        seed: Seed of the order of images, of mixing and of dropout.
        has_several: Whether an image may have several labels.
    """

    inputs: Inputs
    rows: IntArray
    targets: FloatArray
    image_ids: list[str]
    metric: str
    seed: int
    has_several: bool = False


def images_at_once(experiment: Experiment, num_views: int) -> int:
    """Return how many images are predicted at once: on a GPU more than are learned from."""
    size = experiment.train.micro_batch_size or experiment.train.batch_size
    return max(size, GPU_VIEWS // num_views) if pick_device().type == "cuda" else size


class PixelInputs(Inputs):
    """Views of images, drawn anew; what is frozen runs without gradient.

    Its output is rounded as in the feature cache: where there is no room, as much is learned.

    Args:
        copies: The images' working copies.
        experiment: How views are made and normalised.
        images: The table.
        lower: The frozen layers; None where nothing is frozen.
        device: Where to.
    """

    def __init__(
        self,
        copies: WorkingCopies,
        experiment: Experiment,
        images: pd.DataFrame,
        lower: nn.Module | None,
        device: torch.device,
    ) -> None:
        dataset = ViewDataset(copies, images, experiment.images, experiment.views)
        self._loader = ViewLoader(dataset, device.type)
        self._first = 0
        self._experiment = experiment
        self._device = device
        precision = Precision.choose(experiment.train.precision, device)
        self._lower = lower and frozen_forward(lower, device, precision, experiment.images)

    def load(
        self, views: Sequence[View], batches: Sequence[list[int]]
    ) -> Generator[Tensor, None, None]:
        """See `Inputs.load`; yields `(B, V, size_px, size_px, 3)` uint8."""
        first, together = self._first, tuple(views)
        own = [Batch([first + row for row in rows], together) for rows in batches]
        return self._loader.load(own, self._most_bytes())

    def rows_from(self, first: int) -> Self:
        """Return the images from this row on, read by the same processes, not at the same time."""
        shared = copy.copy(self)
        shared._first = self._first + first
        return shared

    def _most_bytes(self) -> int:
        """Return what the largest batch takes, learned from or predicted."""
        num_views = len(plain_views(self._experiment))
        predicted = num_views * images_at_once(self._experiment, num_views)
        num_views_most = max(self._experiment.train.batch_size, predicted)
        return int(num_views_most * self._experiment.images.size_px**2 * 3)

    def prepare(self, loaded: Tensor) -> Tensor:
        """See `Inputs.prepare`; `(N, H, W, 3)` uint8 in."""
        if self._lower is None:
            return to_inputs(loaded, self._experiment.images, self._device)
        with torch.no_grad():
            return round_to_float16(self._lower(loaded)).float()

    def through_finished(self, module: nn.Module, precision: Precision) -> Forward:
        """See `Inputs.through_finished`; pixels are normalised with the layers, not before."""
        if self._lower is not None:
            return super().through_finished(module, precision)
        return frozen_forward(module, self._device, precision, self._experiment.images)


class CachedInputs(Inputs):
    """Outputs of frozen layers, read from the feature cache.

    Args:
        features: By view, those of the table's images.
        device: Where to.
    """

    def __init__(self, features: Mapping[View, FeatureRows], device: torch.device) -> None:
        self._features = features
        self._device = device

    def load(
        self, views: Sequence[View], batches: Sequence[list[int]]
    ) -> Generator[Tensor, None, None]:
        """See `Inputs.load`; yields `(B, V, ...)` float16."""
        for batch in batches:
            by_view = [torch.from_numpy(self._features[view].take(batch)) for view in views]
            loaded = torch.stack(by_view, dim=1)
            yield loaded.pin_memory() if self._device.type == "cuda" else loaded

    def prepare(self, loaded: Tensor) -> Tensor:
        """See `Inputs.prepare`."""
        inputs = to_device(loaded, self._device).float()
        is_map = inputs.ndim == 4
        return inputs.contiguous(memory_format=torch.channels_last) if is_map else inputs
