"""Fit linear probes: a head per fold on features of a frozen trunk, computed once for all folds."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.experiment import Experiment, HeadConfig
from pipeline.console import warn
from pipeline.errors import ConfigError
from pipeline.images.transforms import check_recipe
from pipeline.images.views import augmented_views, plain_views
from pipeline.models.registry import FrozenLayers, build_trunk
from pipeline.scoring.comparison import compare
from pipeline.scoring.metrics import course_scores, score
from pipeline.store.paths import Paths
from pipeline.store.predictions import AnyProbs, FloatArray, IntArray, Likeliest
from pipeline.training.checkpoint import Tensors
from pipeline.training.feature_cache import FeatureRows
from pipeline.training.features import FeatureExtractor
from pipeline.training.head import LinearHead, fit_head, fit_head_in_parts
from pipeline.training.task import FoldResult, FoldTask, Review, TrainingData

FLIP_CONFIDENCE = 0.98

# What a fit may hold in memory; more is read part by part in each of its steps.
MOST_BYTES = 2**31
PART_BYTES = 2**27
PREDICTED_TOGETHER = 2**16
# Of very many classes: images times classes that are predicted together, and learned images that
# the history tells of.
CELLS_TOGETHER = 2**26
ROWS_OF_MANY = 2**10


class Probe:
    """Fits heads of one experiment, fold by fold.

    Args:
        paths: Where the images lie and the features are cached.
        experiment: How to.
        data: The images.
        trunk: What makes the features; None for the experiment's own.
        asks_of_flips: Whether to say if heads are right more often without mirrored views.
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
        if data.has_several and experiment.head.kind != "logistic":
            raise ConfigError(
                f"experiment '{experiment.name}': head.kind must be 'logistic' where images have "
                f"several labels or a number, is '{experiment.head.kind}'"
            )
        self._experiment = experiment
        self._data = data
        plain, augmented = plain_views(experiment), augmented_views(experiment)
        size = experiment.images.size_px
        trunk = trunk or build_trunk(experiment.model, experiment.seed, size)
        extractor = FeatureExtractor(paths, experiment, trunk)
        self._num_plain = len(plain)
        self._asks_of_flips = asks_of_flips and len(plain) == 2
        # Of each fold: rows, and what plain and mirrored views and plain views alone predict.
        self._flips: list[tuple[IntArray, FloatArray, FloatArray]] = []
        self._train = extractor.extract(data.train, [*plain, *augmented], "train")
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
        self, views: Sequence[FeatureRows], is_train: npt.NDArray[np.bool_]
    ) -> tuple[LinearHead, int]:
        rows = np.flatnonzero(is_train)
        targets = np.concatenate([self._data.targets[rows]] * len(views))
        groups = np.tile(self._data.groups[rows], len(views))
        config, num_classes = self._experiment.head, self._data.num_classes
        dim = views[0].take([]).shape[1]
        # The regression's steps make logits of all rows; very many classes make them the larger.
        is_wide = self._data.keeps_likeliest and config.kind == "logistic"
        width = max(dim, num_classes) if is_wide else dim
        if len(targets) * width * 4 > MOST_BYTES:
            parts = partial(_parts, views, rows, width)
            return fit_head_in_parts(parts, targets, num_classes, config, groups)
        features = np.empty((len(targets), dim), dtype=np.float32)
        for number, view in enumerate(views):
            features[number * len(rows) :][: len(rows)] = view.take(rows)
        return fit_head(features, targets, num_classes, config, groups)

    def try_without_flips(self, task: FoldTask) -> None:
        """Predict a fold by a head of plain and mirrored views, and by one of plain views alone.

        After the last fold it warns if mirrored views do harm. Does nothing unless it is to ask.
        """
        if not self._asks_of_flips or self._data.keeps_likeliest:
            return
        rows = np.flatnonzero(task.is_val)
        heads = {count: self._fit_on(self._train[:count], ~task.is_val)[0] for count in (2, 1)}
        both, plain = (
            self._predict(head, self._train[:count], rows) for count, head in heads.items()
        )
        self._flips.append((rows, both, plain))
        if task.num_folds_left == 1 and (doubt := self._doubt_about_flips()):
            warn(f"{self._experiment.name}: {doubt}")

    def _doubt_about_flips(self) -> str:
        """Say in one line if mirrored views do harm, as to arrows or digits; else nothing.

        Accuracy tells, of all folds so far: with few images, views more or less change log loss by
        how sure a head is. Of ordered classes and several labels the competition's metric does.
        """
        rows, both, plain = map(np.concatenate, zip(*self._flips, strict=True))
        targets, groups = self._data.targets[rows], self._data.groups[rows]
        groups, metric = np.unique(groups, return_inverse=True)[1], "accuracy"
        judged = self._data.judged
        if judged is not None and (judged.competition.has_several or judged.competition.is_ordered):
            metric = judged.competition.metric
            targets, both, groups = judged.alone(rows, both)
            _, plain, _ = judged.alone(rows, plain)
        comparison = compare(metric, targets, both, plain, FLIP_CONFIDENCE, groups)
        if comparison.verdict != "better":
            return ""
        return (
            f"mirrored views do harm: without them a probe's {metric} is {comparison} better, "
            f"{score(metric, targets, plain):.4f} of {len(targets):,} images; if left and "
            "right tell classes apart, write horizontal_flip = false in the competition's file, "
            "else true, and train again"
        )

    def fit_fold(self, task: FoldTask) -> FoldResult:
        """Fit on the other folds, predict this one and the test images.

        The fit is convex, so nothing is drawn that could depend on the fold's number.
        """
        self.try_without_flips(task)
        head, num_steps = self.fit_head(~task.is_val)
        plain = self._train[: self._num_plain]
        row: dict[str, float] = {"step": num_steps}
        val_rows, learned = np.flatnonzero(task.is_val), np.flatnonzero(~task.is_val)
        if self._data.keeps_likeliest:  # some tell how well it knows what it has learned
            learned = learned[:: -(-len(learned) // ROWS_OF_MANY)]
        val_probs = self._predict_any(head, plain, val_rows)
        for split, rows, probs in (
            ("train", learned, self._predict_any(head, plain, learned)),
            ("val", val_rows, val_probs),
        ):
            targets = self._data.targets[rows]
            row |= course_scores(split, targets, probs)
        history = pd.DataFrame([row])
        test_probs = self._predict_any(head, self._test, np.arange(len(self._test[0])))
        return FoldResult(head.tensors(), history, val_probs, test_probs)

    def review(self, weights: Tensors) -> Review:
        """Look at all training images with a head."""
        tensors: dict[str, Any] = dict(weights)
        head = LinearHead(**tensors)
        plain = self._train[: self._num_plain]
        every = np.arange(len(self._train[0]))
        logits = [
            np.mean([head.logits(view.take(rows).astype(np.float32)) for view in plain], axis=0)
            for rows in _split(every, PREDICTED_TOGETHER)
        ]
        return Review(self._predict(head, plain, every), np.concatenate(logits).astype(np.float32))

    def _predict_any(
        self, head: LinearHead, views: Sequence[FeatureRows], rows: IntArray
    ) -> AnyProbs:
        """Average the probabilities of some images over views, `(n, K)`; or of many classes."""
        if not self._data.keeps_likeliest:
            return self._predict(head, views, rows)
        return Likeliest.stacked(
            [
                Likeliest.of(head.predict(np.stack([view.take(own) for view in views])))
                for own in _split(rows, max(1, CELLS_TOGETHER // self._data.num_classes))
            ]
        )

    def _predict(
        self, head: LinearHead, views: Sequence[FeatureRows], rows: IntArray
    ) -> FloatArray:
        """Average the probabilities of some images over views, `(n, K)`."""
        several = self._data.has_several
        return np.concatenate(
            [
                head.predict(np.stack([view.take(own) for view in views]), has_several=several)
                for own in _split(rows, PREDICTED_TOGETHER)
            ]
        )


def _split(rows: IntArray, size: int) -> list[IntArray]:
    return [rows[start : start + size] for start in range(0, max(len(rows), 1), size)]


def _parts(views: Sequence[FeatureRows], rows: IntArray, width: int) -> Iterator[FloatArray]:
    """Yield the features of some images as float32, view by view.

    Parts are of PART_BYTES where a row has `width` numbers.
    """
    for view in views:
        for own in _split(rows, max(1, PART_BYTES // (4 * width))):
            yield view.take(own).astype(np.float32)
