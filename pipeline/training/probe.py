"""Probing: a linear head per fold on features of a frozen trunk, computed once for all folds."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config import Experiment
from pipeline.images.views import augmented_views, plain_views
from pipeline.paths import Paths
from pipeline.predictions import IntArray
from pipeline.scoring.metrics import score
from pipeline.training.features import FeatureExtractor
from pipeline.training.fold_result import FoldResult
from pipeline.training.head import fit_head


class Probe:
    """Fits heads of one experiment, fold by fold.

    Args:
        paths: Where the images lie and the features are cached.
        experiment: How to.
        train: All training images, rows of `train.csv`.
        targets: Their class indices, `(N,)`.
        num_classes: K.
        test: The readable test images, rows of `test.csv`.
    """

    def __init__(
        self,
        paths: Paths,
        experiment: Experiment,
        train: pd.DataFrame,
        targets: IntArray,
        num_classes: int,
        test: pd.DataFrame,
    ) -> None:
        self._experiment = experiment
        self._targets = targets
        self._num_classes = num_classes
        plain, augmented = plain_views(experiment), augmented_views(experiment)
        extractor = FeatureExtractor(paths, experiment)
        self._num_plain = len(plain)
        self._train = extractor.extract(train, [*plain, *augmented], "train")  # (V, N, D)
        self._test = extractor.extract(test, plain, "test")

    def fit_fold(self, fold: int, is_val: npt.NDArray[np.bool_]) -> FoldResult:  # noqa: ARG002
        """Fit on the other folds, predict this one and the test images.

        Args:
            fold: Its number; the fit is convex, so nothing is drawn that could depend on it.
            is_val: `(N,)`, the images of this fold.
        """
        rows = np.flatnonzero(~is_val)
        features = self._train[:, rows].astype(np.float32)  # (V, n, D)
        targets = self._targets[rows]
        head, steps = fit_head(
            features.reshape(-1, features.shape[-1]),
            np.tile(targets, len(features)),
            self._num_classes,
            self._experiment.head,
        )
        plain = self._train[: self._num_plain]
        train_probs = head.predict(plain[:, rows])
        val_probs = head.predict(plain[:, np.flatnonzero(is_val)])
        row: dict[str, float] = {"step": steps}
        for split, split_targets, probs in (
            ("train", targets, train_probs),
            ("val", self._targets[is_val], val_probs),
        ):
            row[f"{split}_loss"] = round(score("log_loss", split_targets, probs), 6)
            row[f"{split}_accuracy"] = round(score("accuracy", split_targets, probs), 6)
        history = pd.DataFrame([row])
        return FoldResult(head.tensors(), history, val_probs, head.predict(self._test))
