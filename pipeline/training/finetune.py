"""Fine-tune a network, fold by fold."""

import itertools
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.config.experiment import Experiment
from pipeline.console import Advance, log_off_terminal, progress, say
from pipeline.errors import ConfigError
from pipeline.images.cache import CachedCopies
from pipeline.images.transforms import check_recipe
from pipeline.images.views import View, drawn_views, plain_views
from pipeline.images.working_copy import working_side_px
from pipeline.models.network import record_head_inputs, set_classifier
from pipeline.models.registry import FrozenLayers, Network, build_model, trunk_of
from pipeline.models.split import Split, split
from pipeline.scoring.metrics import course_scores
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray
from pipeline.store.tables import write_table
from pipeline.training import processes
from pipeline.training.checkpoint import Row, StateDict, Tensors
from pipeline.training.device import pick_device
from pipeline.training.engine import Callbacks, Engine
from pipeline.training.features import FeatureExtractor
from pipeline.training.inputs import CachedInputs, Inputs, PixelInputs, TrainSet
from pipeline.training.memory import explained_shortage, free_memory
from pipeline.training.predictor import predict
from pipeline.training.prepare_network import prepare_network
from pipeline.training.probe import Probe
from pipeline.training.task import (
    FoldResult,
    FoldTask,
    Review,
    TrainingData,
)


class Finetune:
    """Trains a network of one experiment for every fold.

    Args:
        paths: Where the images lie and what is cached.
        experiment: How to.
        data: The images.
        asks_of_flips: Whether to say if mirrored views do harm, by the probe that the heads begin
            with; where they begin with none, that nothing tries it.
    """

    def __init__(
        self,
        paths: Paths,
        experiment: Experiment,
        data: TrainingData,
        *,
        asks_of_flips: bool = False,
    ) -> None:
        check_recipe(experiment.views, experiment.images)
        if data.has_several:
            _check_for_labels(experiment)
        if data.is_number:
            experiment = _without_smoothing(experiment)
        self._paths = paths
        self._experiment = experiment
        self._data = data
        self._begun = time.time_ns()
        self._probe: Probe | None = None  # made when the first fold's head is wanted
        self._asks_of_flips = asks_of_flips
        views = experiment.views
        mirrors = views.horizontal_flip and (views.flip or views.recipe != "none")
        tries = experiment.train.init_head == "probe" and len(plain_views(experiment)) > 1
        if asks_of_flips and mirrors and not tries:
            say(
                f"{experiment.name}: images are mirrored, and nothing here tries whether they "
                "still show their class: a probe does (--experiment lite0-probe), or write "
                "horizontal_flip = true or false in the competition's file"
            )

    def fit_fold(self, task: FoldTask) -> FoldResult:
        """Train on the other folds, predict this one and the test images."""
        free_memory()  # the last fold's
        experiment, data = self._experiment, self._data
        size = experiment.images.size_px
        network = build_model(experiment.model, data.num_classes, experiment.seed, size)
        device = pick_device()
        with explained_shortage("model.name: the network must fit in memory"):
            network.module.to(device).to(memory_format=torch.channels_last)
        parts = prepare_network(experiment, network, device)
        if experiment.train.init_head == "probe":
            self._init_head(network, task)
        inputs = _FoldInputs(self, network, parts, data.train, data.test)
        plain = inputs.to_validate(data.train)
        val = np.flatnonzero(task.is_val)
        augmented = inputs.to_learn(data.train)
        history, kept = self._train(network, parts.upper, augmented, plain, task)
        test = inputs.to_test(data.test)
        parts.upper.load_state_dict(kept)
        return FoldResult(
            weights=_tensors(network.module),
            history=history,
            val_probs=predict(
                experiment, parts.upper, plain, val, is_final=True, has_several=data.has_several
            ),
            test_probs=self._predict_test(parts.upper, test, task.fold),
        )

    def review(self, weights: Tensors) -> Review:
        """Look at all training images with a fold's network."""
        experiment, data = self._experiment, self._data
        size, device = experiment.images.size_px, pick_device()
        network = build_model(experiment.model, data.num_classes, experiment.seed, size)
        with explained_shortage("model.name: the network must fit in memory"):
            network.module.to(device).to(memory_format=torch.channels_last)
        example = torch.zeros(2, 3, size, size, device=device)
        parts = split(network, experiment.train.freeze, example)
        inputs = _FoldInputs(self, network, parts, data.train).to_validate(data.train)
        network.module.load_state_dict({name: torch.tensor(one) for name, one in weights.items()})
        with record_head_inputs(network) as recorded:
            rows = np.arange(len(data.train))
            several = data.has_several
            probs = predict(experiment, parts.upper, inputs, rows, has_several=several)
        by_view = np.concatenate(recorded).reshape(len(probs), len(plain_views(experiment)), -1)
        return Review(probs, by_view.mean(axis=1, dtype=np.float32))

    def _train(
        self,
        network: Network,
        upper: nn.Module,
        augmented: Inputs,
        plain: Inputs,
        task: FoldTask,
    ) -> tuple[pd.DataFrame, StateDict]:
        experiment, data = self._experiment, self._data
        val, rows = np.flatnonzero(task.is_val), np.flatnonzero(~task.is_val)
        train_set = TrainSet(
            inputs=augmented,
            rows=rows,
            targets=(
                data.targets[rows].astype(np.float32)
                if data.has_several
                else np.eye(data.num_classes, dtype=np.float32)[data.targets[rows]]
            ),
            image_ids=data.train["image_id"].iloc[rows].tolist(),
            metric=data.metric,
            seed=experiment.seed * 1000 + task.fold,
            has_several=data.has_several,
        )
        engine = Engine(experiment, upper, network.is_head, train_set, task)
        total = len(rows) * experiment.train.epochs

        def validate(module: nn.Module) -> Row:
            several, once = data.has_several, plain_views(experiment)[:1]  # mirrored at the end
            probs = predict(experiment, module, plain, val, views=once, has_several=several)
            row: Row = course_scores("val", data.targets[val], probs)
            row["val_score"] = round(data.score(val, probs), 6)
            if experiment.train.measure_train:
                probs = predict(experiment, module, plain, rows, views=once, has_several=several)
                found = course_scores("train", data.targets[rows], probs)
                row |= {key: value for key, value in found.items() if key != "train_loss"}
            return row

        with progress(f"train {experiment.name} fold {task.fold}", total) as advance:
            advance_all = _with_time_left(advance, total, task.num_folds_left)

            def log_epoch(history: list[Row]) -> None:
                if task.history_path and processes.is_main():
                    write_table(pd.DataFrame(history), task.history_path)
                log_off_terminal(_describe(task.fold, history, experiment.train.epochs))
                if task.on_epoch:
                    task.on_epoch(history[-1])

            return engine.fit(Callbacks(validate, advance_all, log_epoch))

    def _predict_test(self, module: nn.Module, inputs: Inputs, fold: int) -> FloatArray:
        rows = np.arange(len(self._data.test))
        with progress(f"predict {self._experiment.name} fold {fold}", len(rows)) as advance:
            return predict(
                self._experiment,
                module,
                inputs,
                rows,
                advance,
                is_final=True,
                has_several=self._data.has_several,
            )

    def _init_head(self, network: Network, task: FoldTask) -> None:
        """Put the head there that a probe of the frozen trunk would fit."""
        if self._probe is None:
            trunk = trunk_of(network)
            asks = self._asks_of_flips
            own = self._paths, self._experiment, self._data, trunk
            self._probe = Probe(*own, asks_of_flips=asks)
        self._probe.try_without_flips(task)
        head, _ = self._probe.fit_head(~task.is_val)
        weight, bias = head.linear()
        set_classifier(network, torch.from_numpy(weight), torch.from_numpy(bias))


def _check_for_labels(experiment: Experiment) -> None:
    """Refuse what goes by the one class of an image, where it may have several labels."""
    train = experiment.train
    keys = {"loss.class_weights": train.loss.class_weights, "sampling": train.sampling}
    for key, value in keys.items():
        if value == "balanced":
            raise ConfigError(
                f"experiment '{experiment.name}': train.{key} must not be 'balanced', which goes "
                "by classes, where images have several labels or a number"
            )


def _without_smoothing(experiment: Experiment) -> Experiment:
    """Learn numbers by plain cross-entropy: smoothing draws them to the middle of their range."""
    loss = experiment.train.loss.model_copy(update={"label_smoothing": 0.0, "focal_gamma": 0.0})
    train = experiment.train.model_copy(update={"loss": loss})
    return experiment.model_copy(update={"train": train})


class _FoldInputs:
    """Makes what the learning part of one network reads; caches what would be computed again.

    Args:
        method: Whose files and experiment.
        network: The network.
        parts: Its frozen and its learning part.
        tables: All images that will be read.
    """

    def __init__(
        self, method: Finetune, network: Network, parts: Split, *tables: pd.DataFrame
    ) -> None:
        self._since = method._begun  # of all folds together: they share what is cached
        self._paths = method._paths
        self._experiment = method._experiment
        self._network = network
        self._lower = parts.lower
        self._tables = tables
        self._all: PixelInputs | None = None
        self._cached: list[pd.DataFrame] = []  # tables whose working copies are kept

    def to_validate(self, train: pd.DataFrame) -> Inputs:
        """Return inputs that are predicted from after every epoch."""
        views = plain_views(self._experiment)
        return self._features(train, views, "train") or self._pixels(train)

    def to_test(self, test: pd.DataFrame) -> Inputs:
        """Return inputs that are predicted from once a fold."""
        views = plain_views(self._experiment)
        return self._features(test, views, "test") or self._pixels(test)

    def to_learn(self, train: pd.DataFrame) -> Inputs:
        """Return inputs to learn from; features only if the same views come again."""
        views, come_again = drawn_views(self._experiment)
        features = self._features(train, views, "train") if come_again else None
        return features or self._pixels(train)

    def _pixels(self, images: pd.DataFrame) -> Inputs:
        """Return images themselves; those that are asked for first are the first to be cached.

        Where none come as features, the same processes read all tables, in turns.
        """
        if self._lower is not None:
            self._cached.append(images)
            return self._read(images)
        if self._all is None:
            self._cached.extend(self._tables)
            self._all = self._read(pd.concat(self._tables, ignore_index=True))
        before = itertools.takewhile(lambda table: table is not images, self._tables)
        return self._all.rows_from(sum(map(len, before)))

    def _read(self, images: pd.DataFrame) -> PixelInputs:
        images_config = self._experiment.images
        copies = CachedCopies(
            self._paths,
            working_side_px(images_config),
            *self._cached,
            since=self._since,
            interpolation=images_config.interpolation,
        )
        if processes.is_main():
            copies.build()
        processes.wait_for_all()
        return PixelInputs(copies, self._experiment, images, self._lower, pick_device())

    def _features(self, images: pd.DataFrame, views: list[View], what: str) -> Inputs | None:
        """Return what frozen layers make of images, if any are frozen and there is room for it."""
        if self._lower is None:
            return None
        layers = FrozenLayers(
            self._lower, f"{self._network.weights_sha256}, up to {self._experiment.train.freeze}"
        )
        extractor = FeatureExtractor(self._paths, self._experiment, layers, self._since)
        features = extractor.cached(images, views, what)
        return CachedInputs(features, pick_device()) if features else None


def _tensors(module: nn.Module) -> Tensors:
    items = module.state_dict().items()
    return {name: tensor.float().cpu().contiguous().numpy() for name, tensor in items}


def _describe(fold: int, history: list[Row], num_epochs: int) -> str:
    row = history[-1]
    measured = (
        f"val loss {row['val_loss']:.4f}, score {row['val_score']:.4f}, "
        if "val_score" in row
        else ""
    )
    return (
        f"fold {fold}: epoch {len(history)} of {num_epochs}: loss {row['train_loss']:.4f}, "
        f"{measured}{row['images_per_second']:.0f} images/s"
    )


def _with_time_left(advance: Advance, total: int, num_folds: int) -> Callable[[int, str], None]:
    """Add to a fold's bar how long it and the folds after it will take."""
    start = time.monotonic()
    seen = new = 0

    def advance_all(count: int, detail: str) -> None:
        nonlocal seen, new
        seen += count
        new += count if detail else 0  # what a resumed training had seen took no time
        if num_folds > 1 and new:
            seconds = (total * num_folds - seen) * (time.monotonic() - start) / new
            detail += f", all folds {int(seconds // 60)}:{int(seconds % 60):02d}"
        advance(count, detail)

    return advance_all
