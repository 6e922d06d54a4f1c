"""Read images from the disk and make views of them, in a loader's processes."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.images.views import View, ViewMaker
from pipeline.images.working_copy import WorkingCopies, image_rows


class Batch(NamedTuple):
    """Images that are loaded together, in the same views.

    Attributes:
        rows: Numbers of the images in their table, B of them.
        views: V views of each.
        size_px: Height and width of the views.
    """

    rows: list[int]
    views: tuple[View, ...]
    size_px: int


class ViewDataset(Dataset[torch.Tensor]):
    """Views of a table's images, a whole batch at a time; every image is read once for its views.

    Args:
        copies: The images' working copies, which views are made from, whatever their size.
        images: The table: `train.csv` or `test.csv`, or some rows of them.
        config: How an image becomes the network's input.
        views: Holds the transforms of the recipe "custom".
    """

    def __init__(
        self, copies: WorkingCopies, images: pd.DataFrame, config: ImageConfig, views: ViewConfig
    ) -> None:
        self._copies = copies
        self._images = image_rows(images)
        self._config = config
        self._views = views
        self._makers: dict[int, ViewMaker] = {}  # filled where they are used: they can't travel

    def __getitem__(self, batch: Batch) -> torch.Tensor:
        """Return `(B, V, size_px, size_px, 3)` uint8.

        Raises:
            DataError: An image can't be read any more.
        """
        rows, views, size_px = batch
        maker = self._maker(size_px)
        pixels = np.empty((len(rows), len(views), size_px, size_px, 3), dtype=np.uint8)
        for place, image in zip(pixels, (self._images[row] for row in rows), strict=True):
            copy = self._copies.read(image)
            for number, view in enumerate(views):
                place[number] = maker.make(view, copy, image.sha256)
        return torch.from_numpy(pixels)

    def num_bytes(self, batch: Batch) -> int:
        """Return a batch's size in bytes, at the experiment's full size of images."""
        return len(batch.rows) * len(batch.views) * self._config.size_px**2 * 3

    def _maker(self, size_px: int) -> ViewMaker:
        if size_px not in self._makers:
            config = self._config.model_copy(update={"size_px": size_px})
            self._makers[size_px] = ViewMaker(config, self._views)
        return self._makers[size_px]
