"""Compute features and Grad-CAM maps of training images, by models that didn't learn from them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from pipeline.console import progress
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage
from pipeline.images.views import View
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.folder import read_batches
from pipeline.inference.grad_cam import Maps
from pipeline.models.registry import build_trunk
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.features import FeatureExtractor

BATCH_SIZE = 16


def probe_features(
    paths: Paths, models: FoldModels, train: pd.DataFrame, rows: IntArray
) -> FloatArray:
    """Compute the features of a probe's frozen trunk, which learned from none of the images.

    They were computed for training; where that cache is gone, they are again, for these images.

    Args:
        paths: Where images and cache lie.
        models: Of the probe.
        train: The training table.
        rows: The images wanted, `(n,)`, ascending.

    Returns:
        `(n, D)`.

    Raises:
        DataError: An image can't be read any more.
        ArtifactError: Weights can't be had, or a cached file is damaged.
    """
    experiment = models.experiment
    trunk = build_trunk(experiment.model, experiment.seed, experiment.images.size_px)
    extractor = FeatureExtractor(paths, experiment, trunk)
    if extractor.cache.has(train, [View()]):
        features = extractor.cache.rows(train, View()).take(rows)
    else:
        (found,) = extractor.extract(train.iloc[rows], [View()], "features")
        features = found.take(np.arange(len(rows)))
    return np.asarray(features, dtype=np.float32)


def fold_features(paths: Paths, models: FoldModels, images: pd.DataFrame, fold: int) -> FloatArray:
    """Compute the features before the head of a fold's network, `(n, D)`.

    Args:
        paths: Where images lie.
        models: Fine-tuned ones; features of different folds' networks can't be compared.
        images: Rows of `train.csv` that the fold held out.
        fold: Its number.

    Raises:
        DataError: An image can't be read any more.
    """
    names = images["path"].tolist()
    found, size = [], models.images_at_once(BATCH_SIZE)
    with progress(f"features {models.experiment.name} fold {fold}", len(names)) as advance:
        for batch in read_batches(
            paths.images_dir, names, [View()], models.experiment.images, size
        ):
            for name, reason in batch.faults.items():
                raise DataError(f"{paths.images_dir / name}: must be readable, {reason}")
            found.append(models.features(batch.pixels[:, 0], fold))
            advance(len(batch.names))
    return np.concatenate(found)


MAP_BATCH_SIZE = 8


@dataclass(frozen=True)
class Explanation:
    """One image as the network sees it, and its Grad-CAM maps for some classes.

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
    size = models.images_at_once(MAP_BATCH_SIZE)
    with progress(f"Grad-CAM {models.experiment.name}", len(images)) as advance:
        for fold in np.unique(folds).tolist():
            rows = np.flatnonzero(folds == fold)
            names = images["path"].iloc[rows].tolist()
            batches = read_batches(
                paths.images_dir, names, [View()], models.experiment.images, size
            )
            for start, batch in zip(range(0, len(rows), size), batches, strict=True):
                for name, reason in batch.faults.items():
                    raise DataError(f"{paths.images_dir / name}: must be readable, {reason}")
                chosen = rows[start : start + size]
                pixels = batch.pixels[:, 0]  # (B, S, S, 3)
                maps = models.class_maps(pixels, torch.from_numpy(classes[chosen]), fold)
                for place, row in enumerate(chosen.tolist()):
                    found[row] = Explanation(pixels[place].numpy(), maps[place])
                advance(len(chosen))
    return [found[row] for row in range(len(images))]
