"""Describe a fold's training: what a method is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.scoring.metrics import score
from pipeline.scoring.targets import Judged, image_groups, to_numbers
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray
from pipeline.training.checkpoint import Tensors


@dataclass(frozen=True)
class TrainingData:
    """The images of a competition.

    Attributes:
        train: All training images, rows of `train.csv`, N of them.
        targets: Their class indices, `(N,)`; or 1 and 0 for each of several labels, `(N, K)`; or
            float64, `(N, 1)`, numbers as their places in the target's range, from 0 to 1.
        test: The readable test images, rows of `test.csv`.
        num_classes: K.
        metric: The competition's metric.
        keeps_likeliest: Whether classes are so many that of each image the likeliest are kept.
        judged: Makes answers of predictions; None where they are as predicted.
    """

    train: pd.DataFrame
    targets: IntArray
    test: pd.DataFrame
    num_classes: int
    metric: str
    keeps_likeliest: bool = False
    judged: Judged | None = None

    def score(self, rows: IntArray, probs: FloatArray) -> float:
        """Score predictions of some training images by the metric, as they are answered.

        Args:
            rows: Which images, `(n,)`.
            probs: Theirs, `(n, K)`; of numbers their places in the range.
        """
        if self.judged is None:
            return score(self.metric, self.targets[rows], probs)
        return self.judged.score_alone(rows, to_numbers(self.judged.competition, probs))

    @cached_property
    def groups(self) -> IntArray:
        """The group of each training image, `(N,)`, counted from 0: copies, or one subject's."""
        groups = image_groups(self.train)
        return np.arange(len(self.train)) if groups is None else groups

    @property
    def has_several(self) -> bool:
        """Whether each output stands for itself: of several labels, or a number's."""
        return self.targets.ndim > 1

    @property
    def is_number(self) -> bool:
        """Whether the target is a number."""
        return self.targets.dtype.kind == "f"


@dataclass(frozen=True)
class FoldTask:
    """One fold to be trained.

    Attributes:
        fold: Its number, which sets its random streams apart.
        is_val: `(N,)`, the images of this fold; the others are learned from.
        key: Tells this training from any other whose state can't serve it.
        state_path: Where an unfinished training is kept; None for nowhere.
        history_path: Where its history so far is written after every epoch; None for nowhere.
        num_folds_left: Folds still to be trained, this one included.
        on_epoch: Called with the history's new row after every epoch; what it raises ends the
            training.
        settings: What `key` was made of, by dotted keys.
    """

    fold: int
    is_val: npt.NDArray[np.bool_]
    key: str
    state_path: Path | None
    history_path: Path | None = None
    num_folds_left: int = 1
    on_epoch: Callable[[dict[str, float]], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldResult:
    """The outcome of one fold's training, whatever the method.

    Attributes:
        weights: What was learned, by name.
        history: One row per epoch, or per fit of a head: losses, accuracies, learning rate.
        val_probs: `(num_val, K)`, rows in the order of the training table.
        test_probs: `(num_test, K)`, rows in the order of the readable test images.
    """

    weights: Tensors
    history: pd.DataFrame
    val_probs: AnyProbs
    test_probs: AnyProbs


@dataclass(frozen=True)
class Review:
    """Predictions of all training images by one fold's model, averaged over their plain views.

    Attributes:
        probs: `(N, K)`.
        features: `(N, D)` float32, the last thing before the classes that training shaped: of a
            fine-tuned network what its head reads; of a probe, whose trunk learned nothing, logits.
    """

    probs: FloatArray
    features: FloatArray
