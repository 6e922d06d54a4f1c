"""Outputs of frozen layers: computed once for all folds, and cached under what made them.

The cache holds one file per block of images and view. A block's name is the hash of all that
decides its numbers (weights, precision, preparation, view, the images' own hashes), so nothing
stale can be read, a broken-off run goes on where it stopped, and experiments share what they have
in common.
"""

import io
import itertools
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

from pipeline.config import Experiment
from pipeline.console import progress, warn
from pipeline.errors import ArtifactError
from pipeline.files.array_files import DAMAGE
from pipeline.files.atomic import write_bytes
from pipeline.files.freshness import fingerprint
from pipeline.images.cache_room import VARIABLE, limit_bytes
from pipeline.images.dataset import Batch, ViewDataset
from pipeline.images.loader import ViewLoader
from pipeline.images.transforms import transform_text
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.machine import num_processes, rank
from pipeline.models.registry import Trunk
from pipeline.paths import Paths
from pipeline.training import processes
from pipeline.training.device import Precision, pick_device, set_up
from pipeline.training.inputs import to_inputs
from pipeline.training.memory import in_parts

FeatureArray = npt.NDArray[np.float16]

BLOCK_SIZE = 256
BATCH_SIZE = 32
FLOAT16_MAX = float(np.finfo(np.float16).max)
# Views that run through the trunk together: on a CPU, more of them fall out of its caches.
CPU_CHUNK = 16


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

    A feature is what `trunk` gives for one image: a vector `(D,)` or a map `(C, h, w)`.
    """

    def __init__(self, paths: Paths, experiment: Experiment, trunk: Trunk) -> None:
        self._paths = paths
        self._experiment = experiment
        self._trunk = trunk
        self._device = pick_device()
        self._precision = Precision.choose(experiment.train.precision, self._device)

    def extract(self, images: pd.DataFrame, views: Sequence[View], what: str) -> FeatureArray:
        """Return the features of images under views, computing those that aren't cached.

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
        self.fill_cache(images, views, what)
        return np.stack([np.concatenate(self.open_blocks(images, view)) for view in views])

    @torch.inference_mode()
    def has_room(self, images: pd.DataFrame, views: Sequence[View]) -> bool:
        """Whether the disk budget allows these features; says so if it doesn't.

        Vectors are small whatever the data; the maps of lower layers aren't.
        """
        size_px = self._experiment.images.size_px
        feature = self._trunk.network(torch.zeros(1, 3, size_px, size_px, device=self._device))
        wanted = feature.numel() * len(images) * len(views) * np.dtype(np.float16).itemsize
        folder = self._paths.features_dir
        folder.mkdir(parents=True, exist_ok=True)
        allowed = limit_bytes({path: path.stat().st_size for path in folder.rglob("*.npy")}, folder)
        if wanted > allowed:
            warn(
                f"{folder}: has room for {allowed / 1e9:.1f} GB, what the frozen layers make of "
                f"{len(images):,} images in {len(views)} views takes {wanted / 1e9:.1f} GB and is "
                f"computed in every epoch; {VARIABLE} and free space allow more"
            )
        return bool(wanted <= allowed)

    def fill_cache(self, images: pd.DataFrame, views: Sequence[View], what: str) -> None:
        """Compute the features that aren't cached; all processes of a launch share the blocks."""
        blocks = [
            Block(number * BLOCK_SIZE, block, self._missing(block, views))
            for number, block in enumerate(_blocks(images))
            if number % num_processes() == rank()
        ]
        blocks = [block for block in blocks if block.missing]
        if blocks:
            self._compute(images, blocks, what)
        processes.wait_for_all()

    def _compute(self, images: pd.DataFrame, blocks: list[Block], what: str) -> None:
        set_up(self._device)
        network = self._trunk.network.to(self._device).eval()
        network = network.to(memory_format=torch.channels_last)
        loading = self._load(images, blocks)
        total = sum(len(block.images) for block in blocks)
        with progress(f"features {self._experiment.name} {what}", total) as advance:
            for block in blocks:
                parts = []
                for pixels in itertools.islice(loading, len(block.batches(0))):
                    parts.append(self._forward(network, pixels))  # (B, V, H, W, 3) uint8
                    advance(len(pixels))
                features = np.concatenate(parts)  # (n, V, ...)
                for number, view in enumerate(block.missing):
                    self._write(block.images, view, features[:, number])

    def is_cached(self, images: pd.DataFrame, views: Sequence[View]) -> bool:
        """Whether the features of all these images are at hand."""
        return not any(self._missing(block, views) for block in _blocks(images))

    def open_blocks(self, images: pd.DataFrame, view: View) -> list[FeatureArray]:
        """Open the cached features of a view, one memory-mapped array per BLOCK_SIZE images.

        Raises:
            ArtifactError: A block is missing or damaged.
        """
        return [read_block(self._cache_path(block, view), len(block)) for block in _blocks(images)]

    def _missing(self, images: pd.DataFrame, views: Sequence[View]) -> tuple[View, ...]:
        return tuple(view for view in views if not self._cache_path(images, view).is_file())

    def _cache_path(self, images: pd.DataFrame, view: View) -> Path:
        config = self._experiment
        key: dict[str, Any] = {
            "model": config.model.name,
            "weights": self._trunk.weights_sha256,
            "device": self._device.type,
            "dtype": str(self._precision.dtype),
            "preparation": config.images.model_dump(mode="json"),
            "view": [*view.key(), transform_text(view.recipe, config.images, config.views)],
            "versions": [metadata.version(name) for name in ("torch", "pillow")],
            "images": images["sha256"].tolist(),
        }
        name = fingerprint(key)
        return self._paths.features_dir / name[:2] / f"{name}.npy"

    def _load(self, images: pd.DataFrame, blocks: list[Block]) -> Iterator[torch.Tensor]:
        """Read each image once; its features are cached, so no cache of images is needed."""
        config = self._experiment
        copies = WorkingCopies(self._paths, working_side_px(config.images))
        dataset = ViewDataset(copies, images, config.images, config.views)
        batches = [batch for block in blocks for batch in block.batches(config.images.size_px)]
        return ViewLoader(dataset, self._device.type).load(batches)

    @torch.inference_mode()
    def _forward(self, network: nn.Module, pixels: torch.Tensor) -> FeatureArray:
        """Run the trunk: `(B, V, H, W, 3)` uint8 → `(B, V, ...)`."""
        images = pixels.flatten(0, 1)  # (B·V, H, W, 3)
        size = CPU_CHUNK if self._device.type == "cpu" else len(images)

        def forward(chunk: torch.Tensor) -> torch.Tensor:
            outputs = network(to_inputs(chunk, self._experiment.images, self._device))
            return outputs.float()  # type: ignore[no-any-return]

        with self._precision.autocast():
            parts = [in_parts(forward, chunk) for chunk in torch.split(images, size)]
        features = torch.cat(parts).clamp(-FLOAT16_MAX, FLOAT16_MAX).half().contiguous()
        return np.asarray(features.reshape(*pixels.shape[:2], *features.shape[1:]).cpu())

    def _write(self, images: pd.DataFrame, view: View, features: FeatureArray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        write_bytes(self._cache_path(images, view), buffer.getvalue())


def read_block(path: Path, num_images: int) -> FeatureArray:
    """Map a file of the cache.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    try:
        features: FeatureArray = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(features) != num_images or features.dtype != np.float16:
            found = f"{features.dtype} of shape {features.shape}"
            raise ValueError(f"float16 of {num_images} rows expected, found {found}")
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(
            f"{path}: damaged ({reason}); delete it and run the same command again"
        ) from error
    return features


def _blocks(images: pd.DataFrame) -> list[pd.DataFrame]:
    return [images.iloc[start : start + BLOCK_SIZE] for start in range(0, len(images), BLOCK_SIZE)]
