"""What speaks for a class in training images, by the models that didn't learn from them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from pipeline.console import progress
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage
from pipeline.images.tta import TtaView
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.folder import read_batches
from pipeline.inference.grad_cam import Maps
from pipeline.paths import Paths
from pipeline.predictions import IntArray

BATCH_SIZE = 8


@dataclass(frozen=True)
class Explanation:
    """One image as the network sees it, and what speaks for some classes in it.

    Attributes:
        pixels: `(S, S, 3)` uint8.
        maps: `(M, h, w)` in [0, 1], a map per class.
    """

    pixels: ByteImage
    maps: Maps


def explain(
    paths: Paths, models: FoldModels, images: pd.DataFrame, folds: IntArray, classes: IntArray
) -> list[Explanation]:
    """Explain training images, each by the model of the fold that held it out.

    Args:
        paths: Where they lie.
        models: One per fold, of a network that has maps.
        images: Rows of `train.csv`, N different ones.
        folds: The fold of each, `(N,)`.
        classes: Class indices, `(N, M)`.

    Raises:
        DataError: An image can't be read any more.
    """
    found: dict[int, Explanation] = {}
    with progress(f"Grad-CAM {models.experiment.name}", len(images)) as advance:
        for fold in np.unique(folds).tolist():
            rows = np.flatnonzero(folds == fold)
            names = images["path"].iloc[rows].tolist()
            batches = read_batches(
                paths.images_dir, names, [TtaView()], models.experiment.images, BATCH_SIZE
            )
            for start, batch in zip(range(0, len(rows), BATCH_SIZE), batches, strict=True):
                for name, reason in batch.faults.items():
                    raise DataError(f"{paths.images_dir / name}: must be readable, {reason}")
                chosen = rows[start : start + BATCH_SIZE]
                pixels = batch.pixels[:, 0]  # (B, S, S, 3)
                maps = models.class_maps(pixels, torch.from_numpy(classes[chosen]), fold)
                for place, row in enumerate(chosen.tolist()):
                    found[row] = Explanation(pixels[place].numpy(), maps[place])
                advance(len(chosen))
    return [found[row] for row in range(len(images))]
