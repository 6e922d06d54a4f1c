"""Fit linear probes: a head per fold on features of a frozen trunk, computed once for all folds."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.experiment import Experiment, HeadConfig
from pipeline.console import warn
from pipeline.images.transforms import check_recipe
from pipeline.images.views import augmented_views, plain_views
from pipeline.models.registry import FrozenLayers, build_trunk
from pipeline.scoring.comparison import compare
from pipeline.scoring.metrics import score
from pipeline.store.paths import Paths
from pipeline.training.checkpoint import Tensors
from pipeline.training.feature_cache import FeatureArray
from pipeline.training.features import FeatureExtractor
from pipeline.training.head import LinearHead, fit_head
from pipeline.training.task import FoldResult, FoldTask, Review, TrainingData

FLIP_CONFIDENCE = 0.99


class Probe:
    """Fits heads of one experiment, fold by fold.

    Args:
        paths: Where the images lie and the features are cached.
        experiment: How to.
        data: The images.
        trunk: What makes the features; None for the experiment's own.
        asks_of_flips: Whether to say if mirrored views do harm, see `doubt_about_flips`.
    """

    def __init__(
        self,
        paths: Paths,
        experiment: Experiment,
        data: TrainingData,
        trunk: FrozenLayers | None = None,
        *,
        asks_of_flips: bool = False,
    ) -> None:
        check_recipe(experiment.views, experiment.images)
        self._experiment = experiment
        self._data = data
        plain, augmented = plain_views(experiment), augmented_views(experiment)
        size = experiment.images.size_px
        trunk = trunk or build_trunk(experiment.model, experiment.seed, size)
        extractor = FeatureExtractor(paths, experiment, trunk)
        self._num_plain = len(plain)
        self._asks_of_flips = asks_of_flips and len(plain) == 2
        self._train = extractor.extract(data.train, [*plain, *augmented], "train")  # (V, N, D)
        self._test = extractor.extract(data.test, plain, "test")

    def with_head(self, head: HeadConfig) -> "Probe":
        """Return a probe of the same features that fits its heads otherwise."""
        other = copy.copy(self)
        other._experiment = self._experiment.model_copy(update={"head": head})
        return other

    def fit_head(self, is_train: npt.NDArray[np.bool_]) -> tuple[LinearHead, int]:
        """Fit a head on some of the training images, `(N,)`; see `head.fit_head`."""
        return self._fit_on(self._train, is_train)

    def _fit_on(
        self, views: FeatureArray, is_train: npt.NDArray[np.bool_]
    ) -> tuple[LinearHead, int]:
        rows = np.flatnonzero(is_train)
        features = views[:, rows].astype(np.float32)  # (V, n, D)
        features = features.reshape(-1, features.shape[-1])
        targets = np.tile(self._data.targets[rows], len(views))
        images = np.tile(rows, len(views))
        config = self._experiment.head
        return fit_head(features, targets, self._data.num_classes, config, images)

    def doubt_about_flips(self, is_val: npt.NDArray[np.bool_]) -> str:
        """Say in one line if mirrored views do harm, as to arrows or digits; else nothing.

        A head is fitted to the plain views alone and another one to the mirrored ones, too; each
        predicts images that it hasn't learned, `(N,)`, in its own views.
        """
        rows, targets = np.flatnonzero(is_val), self._data.targets[is_val]
        both, plain = (
            self._fit_on(self._train[:count], ~is_val)[0].predict(self._train[:count, rows])
            for count in (2, 1)
        )
        comparison = compare("log_loss", targets, both, plain, FLIP_CONFIDENCE)
        accuracies = [score("accuracy", targets, probs) for probs in (both, plain)]
        if comparison.verdict != "better" or accuracies[0] >= accuracies[1]:
            return ""
        return (
            f"mirrored views do harm: without them log loss is {comparison} and accuracy "
            f"{accuracies[1]:.4f} instead of {accuracies[0]:.4f}, on {len(rows):,} images by a "
            "probe; if left and right tell classes apart, write horizontal_flip = false in the "
            "competition's file, else true, and train again"
        )

    def fit_fold(self, task: FoldTask) -> FoldResult:
        """Fit on the other folds, predict this one and the test images.

        The fit is convex, so nothing is drawn that could depend on the fold's number.
        """
        if self._asks_of_flips and task.fold == 0:  # one fold's images tell
            doubt = self.doubt_about_flips(task.is_val)
            if doubt:
                warn(f"{self._experiment.name}: {doubt}")
        head, num_steps = self.fit_head(~task.is_val)
        plain = self._train[: self._num_plain]
        row: dict[str, float] = {"step": num_steps}
        val_probs = head.predict(plain[:, np.flatnonzero(task.is_val)])
        for split, rows, probs in (
            ("train", ~task.is_val, head.predict(plain[:, np.flatnonzero(~task.is_val)])),
            ("val", task.is_val, val_probs),
        ):
            targets = self._data.targets[rows]
            row[f"{split}_loss"] = round(score("log_loss", targets, probs), 6)
            row[f"{split}_accuracy"] = round(score("accuracy", targets, probs), 6)
        history = pd.DataFrame([row])
        return FoldResult(head.tensors(), history, val_probs, head.predict(self._test))

    def review(self, weights: Tensors) -> Review:
        """Look at all training images with a head."""
        tensors: dict[str, Any] = dict(weights)
        head = LinearHead(**tensors)
        plain = self._train[: self._num_plain]
        logits = [head.logits(view.astype(np.float32)) for view in plain]
        return Review(head.predict(plain), np.mean(logits, axis=0, dtype=np.float32))
