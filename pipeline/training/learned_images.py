"""The images that one fold's training learns from, and what it is told of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.predictions import FloatArray, IntArray
from pipeline.training.task import FoldTask, TrainingData


@dataclass(frozen=True)
class LearnedImages:
    """Rows of a table of images with their soft targets.

    Attributes:
        images: The training table; with pseudo-labels, the readable test images below it.
        rows: Which rows are learned from, `(n,)`.
        targets: Theirs, `(n, K)` float32; rows sum to 1.
    """

    images: pd.DataFrame
    rows: IntArray
    targets: FloatArray


def learned_images(data: TrainingData, task: FoldTask) -> LearnedImages:
    """Collect the images of the other folds, and the test images that join them."""
    rows = np.flatnonzero(~task.is_val)
    targets = np.eye(data.num_classes, dtype=np.float32)[data.targets[rows]]
    pseudo = task.pseudo_labels
    if pseudo is None:
        return LearnedImages(data.train, rows, targets)
    images = pd.concat([data.train[data.test.columns], data.test], ignore_index=True)
    return LearnedImages(
        images,
        np.concatenate([rows, len(data.train) + pseudo.rows]),
        np.concatenate([targets, pseudo.targets]),
    )
