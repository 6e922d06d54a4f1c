"""Features of a frozen trunk: computed once for all folds, and cached under what made them.

The cache holds one file per block of images and view. A block's name is the hash of all that
decides its numbers (weights, precision, preparation, view, the images' own hashes), so nothing
stale can be read, a broken-off run goes on where it stopped, and experiments share what they have
in common.
"""

import io
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

from pipeline.atomic import write_bytes
from pipeline.config import Experiment
from pipeline.console import progress
from pipeline.errors import ArtifactError
from pipeline.freshness import fingerprint
from pipeline.images.dataset import ViewDataset, load_batches
from pipeline.images.transforms import transform_text
from pipeline.images.views import View
from pipeline.models.registry import Trunk, build_trunk
from pipeline.paths import Paths
from pipeline.training.device import fast_dtype, keep_freed_memory, pick_device
from pipeline.training.inputs import to_inputs

FeatureArray = npt.NDArray[np.float16]

BLOCK_SIZE = 256
BATCH_SIZE = 32
FLOAT16_MAX = float(np.finfo(np.float16).max)
# Views that run through the trunk together: on a CPU, more of them fall out of its caches.
CPU_CHUNK = 16


@dataclass(frozen=True)
class Block:
    """Up to BLOCK_SIZE consecutive images of a table and the views that aren't cached yet."""

    images: pd.DataFrame
    missing: tuple[View, ...]


class FeatureExtractor:
    """Computes and caches the features of one experiment's trunk."""

    def __init__(self, paths: Paths, experiment: Experiment) -> None:
        self._paths = paths
        self._experiment = experiment
        self._trunk: Trunk = build_trunk(experiment.model, experiment.seed)
        self._device = pick_device()
        self._dtype = fast_dtype(self._device)

    def extract(self, images: pd.DataFrame, views: Sequence[View], what: str) -> FeatureArray:
        """Return the features of images under views, computing those that aren't cached.

        Args:
            images: Readable rows of `train.csv` or `test.csv`, N of them.
            views: V views.
            what: What to call the images on the progress bar.

        Returns:
            `(V, N, D)` float16, rows in the order of the table.

        Raises:
            ArtifactError: A cached block is damaged.
            DataError: An image can't be read any more.
        """
        starts = range(0, len(images), BLOCK_SIZE)
        blocks = [images.iloc[start : start + BLOCK_SIZE] for start in starts]
        self._fill_cache([self._pending(block, views) for block in blocks], what)
        return np.stack(
            [np.concatenate([self._read(block, view) for block in blocks]) for view in views]
        )

    def _pending(self, images: pd.DataFrame, views: Sequence[View]) -> Block:
        missing = (view for view in views if not self._cache_path(images, view).is_file())
        return Block(images, tuple(missing))

    def _cache_path(self, images: pd.DataFrame, view: View) -> Path:
        key: dict[str, Any] = {
            "model": self._experiment.model.name,
            "weights": self._trunk.weights_sha256,
            "device": self._device.type,
            "dtype": str(self._dtype),
            "preparation": self._experiment.images.model_dump(mode="json"),
            "view": [*view.key(), transform_text(view.recipe, self._experiment.images)],
            "versions": [metadata.version(name) for name in ("torch", "pillow")],
            "images": images["sha256"].tolist(),
        }
        name = fingerprint(key)
        return self._paths.features_dir / name[:2] / f"{name}.npy"

    def _fill_cache(self, blocks: list[Block], what: str) -> None:
        blocks = [block for block in blocks if block.missing]
        if not blocks:
            return
        keep_freed_memory()
        network = self._trunk.network.to(self._device).eval()
        network = network.to(memory_format=torch.channels_last)
        batches = self._load(blocks)
        total = sum(len(block.images) for block in blocks)
        with progress(f"features {self._experiment.name} {what}", total) as advance:
            for block in blocks:
                parts = []
                for _ in range(0, len(block.images), BATCH_SIZE):
                    pixels = next(batches)  # (B, V, H, W, 3) uint8
                    parts.append(self._forward(network, pixels))
                    advance(len(pixels))
                features = np.concatenate(parts)  # (n, V, D)
                for number, view in enumerate(block.missing):
                    self._write(block.images, view, features[:, number])

    def _load(self, blocks: list[Block]) -> Iterator[torch.Tensor]:
        parts = [(block.images, block.missing) for block in blocks]
        dataset = ViewDataset(self._paths, parts, self._experiment.images)
        sizes = [len(block.images) for block in blocks]
        return load_batches(dataset, _batches(sizes), self._device.type)

    @torch.inference_mode()
    def _forward(self, network: nn.Module, pixels: torch.Tensor) -> npt.NDArray[np.float32]:
        """Run the trunk: `(B, V, H, W, 3)` uint8 → `(B, V, D)`."""
        images = pixels.flatten(0, 1)  # (B·V, H, W, 3)
        size = CPU_CHUNK if self._device.type == "cpu" else len(images)
        is_fast = self._dtype != torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=is_fast):
            parts = [
                network(to_inputs(chunk, self._experiment.images, self._device)).float()
                for chunk in torch.split(images, size)
            ]
        grouped = torch.cat(parts).reshape(*pixels.shape[:2], -1).cpu()
        return np.asarray(grouped)

    def _write(self, images: pd.DataFrame, view: View, features: npt.NDArray[np.float32]) -> None:
        buffer = io.BytesIO()
        np.save(
            buffer, features.clip(-FLOAT16_MAX, FLOAT16_MAX).astype(np.float16), allow_pickle=False
        )
        write_bytes(self._cache_path(images, view), buffer.getvalue())

    def _read(self, images: pd.DataFrame, view: View) -> FeatureArray:
        path = self._cache_path(images, view)
        try:
            features: FeatureArray = np.load(path, allow_pickle=False)
            if features.ndim != 2 or len(features) != len(images):
                raise ValueError(f"{len(images)} rows expected, shape is {features.shape}")
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(
                f"{path}: damaged ({error}); delete it and run the same command again"
            ) from error
        return features


def _batches(block_sizes: Sequence[int]) -> list[list[int]]:
    """Cut the images, numbered through all blocks, into batches that never cross a block.

    Batches depend on the block alone, so its numbers do too: which blocks were cached before
    can't change a rounding.
    """
    batches = []
    first = 0
    for size in block_sizes:
        numbers = range(first, first + size)
        batches += [
            list(numbers[start : start + BATCH_SIZE]) for start in range(0, size, BATCH_SIZE)
        ]
        first += size
    return batches
