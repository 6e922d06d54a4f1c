"""Images read from the disk, as DataLoader workers see them."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.config import ImageConfig
from pipeline.errors import DataError
from pipeline.images.decode import decode_rgb
from pipeline.images.views import View, ViewMaker
from pipeline.machine import num_cpus
from pipeline.paths import Paths


class ViewDataset(Dataset[torch.Tensor]):
    """Images in several views each, decoded once per image.

    Every item is `(V, size, size, 3)` uint8, V being the number of views of its part.

    Args:
        paths: Where the images lie.
        parts: Tables with columns image_id, path and sha256, and the views of their images; items
            are numbered through all parts.
        config: The working size.
    """

    def __init__(
        self,
        paths: Paths,
        parts: Sequence[tuple[pd.DataFrame, tuple[View, ...]]],
        config: ImageConfig,
    ) -> None:
        self._paths = paths
        self._config = config
        self._maker: ViewMaker | None = None
        self._items = [
            (image_id, path, sha256, views)
            for images, views in parts
            for image_id, path, sha256 in zip(
                images["image_id"], images["path"], images["sha256"], strict=True
            )
        ]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> torch.Tensor:
        image_id, path, sha256, views = self._items[index]
        if self._maker is None:  # made in the worker: transforms needn't travel there
            self._maker = ViewMaker(self._config)
        try:
            image = decode_rgb((self._paths.images_dir / path).read_bytes())
        except (OSError, DataError) as error:
            # An image that could be read by `prepare` must not be swapped for another silently.
            raise DataError(
                f"{self._paths.images_dir / path}: image '{image_id}' must still be readable, "
                f"isn't ({error}); run 'pipeline prepare {self._paths.competition}'"
            ) from error
        made = [self._maker.make(view, image, sha256) for view in views]
        return torch.from_numpy(np.stack(made))


def load_batches(
    dataset: ViewDataset, batches: Sequence[list[int]], device_type: str
) -> Iterator[torch.Tensor]:
    """Read batches of a dataset in worker processes, in the order given.

    Args:
        dataset: What to read.
        batches: Numbers of the items of each batch; within one, all have as many views.
        device_type: What computes meanwhile: a network keeps the cores of a "cpu" busy, so one
            worker must do there; beside "cuda" they are all free to decode.

    Yields:
        `(B, V, size, size, 3)` uint8.

    Raises:
        DataError: An image can't be read any more.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=1 if device_type == "cpu" else min(num_cpus(), 16),
        worker_init_fn=_one_thread,
        pin_memory=device_type == "cuda",
    )
    try:
        yield from loader
    except DataError as error:
        # A worker's error arrives with its traceback; ours is the last line.
        line = str(error).strip().splitlines()[-1]
        raise DataError(line.partition("DataError: ")[2] or line) from error


def _one_thread(_: int) -> None:
    """Keep OpenCV from opening threads in a DataLoader worker: the workers fill the cores."""
    cv2.setNumThreads(0)
