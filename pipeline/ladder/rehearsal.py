"""Measure what trainings would cost here, by a few batches of each on the real images.

`python -m pipeline.ladder.rehearsal COMPETITION ROOT` prints what the machine is, then a line for
every experiment that a line of its input holds. Nothing is written.
"""

import json
import math
import platform
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from pipeline.config.competition import Competition, load_competition
from pipeline.config.experiment import Experiment, HeadConfig
from pipeline.data.resolution import resolve
from pipeline.data.training_table import Tables, is_readable, load_tables
from pipeline.errors import ArtifactError, ConfigError, PipelineError
from pipeline.images.views import View, augmented_views, drawn_views, plain_views
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.ladder.costs import Cost
from pipeline.machine import end_with_parent, num_cpus
from pipeline.models.preparation import prepared
from pipeline.models.registry import FrozenLayers, build_model, build_trunk, trunk_of
from pipeline.scoring.targets import class_indices
from pipeline.store.cache_budget import most_bytes
from pipeline.store.paths import Paths
from pipeline.store.tables import held_out
from pipeline.training.device import describe_device, pick_device, to_device
from pipeline.training.engine import Callbacks, Engine
from pipeline.training.features import FeatureExtractor, Pace
from pipeline.training.head import fit_head
from pipeline.training.inputs import Inputs, PixelInputs, TrainSet
from pipeline.training.memory import free_memory
from pipeline.training.predictor import predict
from pipeline.training.prepare_network import check_trainable, prepare_network
from pipeline.training.task import FoldTask

# Steps of a head that are timed, and how many a fit takes; of 12-cat and cat-dog 45 to 75.
TIMED_STEPS, USUAL_STEPS = 5, 60
MOST_ROWS, MOST_LOGITS = 20_000, 10**8  # that it is timed on
# Batches of a training: the first ones look for kernels and for the size of micro-batches.
WARMING, TIMED = 2, 4
# A fold besides its images: the head's start, a conversion, files.
FOLD_SECONDS = {"probe": 0.2, "finetune": 2.0}


class _Rehearsal:
    """Measures one experiment after the other.

    Args:
        paths: The competition's files.
        competition: Its classes.
        tables: Its images and folds.
        start_seconds: What a process takes until it can begin.
    """

    def __init__(
        self, paths: Paths, competition: Competition, tables: Tables, start_seconds: float
    ) -> None:
        self._paths = paths
        self._competition = competition
        self._tables = tables
        self._start_seconds = start_seconds

    def measure(self, experiment: Experiment) -> Cost:
        """Measure an experiment.

        Raises:
            PipelineError: It can't be trained here.
        """
        check_trainable(experiment, self._competition.num_classes)
        self._experiment = experiment = prepared(experiment)
        tables = self._tables
        self._train, self._test = tables.train, tables.test[is_readable(tables.test)]
        self._targets = class_indices(self._competition, tables.train)
        num_folds = held_out(tables.folds)["fold"].nunique()
        self._num_learned = round(len(self._train) * (1 - 1 / num_folds))
        begun = time.monotonic()
        measured = self._probe() if experiment.method == "probe" else self._finetune()
        shared, fold, timed = measured
        built = max(0.0, time.monotonic() - begun - timed)
        num_images = len(tables.train) + len(tables.test)
        fold += FOLD_SECONDS[experiment.method]
        return Cost(self._start_seconds + built, shared, fold, num_images, num_folds)

    def _probe(self) -> tuple[float, float, float]:
        """Return the seconds shared by all folds, of a fold, and those that were spent timing."""
        config = self._experiment
        trunk = build_trunk(config.model, config.seed, config.images.size_px)
        return self._head_on(trunk)

    def _head_on(self, trunk: FrozenLayers) -> tuple[float, float, float]:
        plain = plain_views(self._experiment)
        views = [*plain, *augmented_views(self._experiment)]
        shared, pace = self._features(trunk, views, plain)
        begun = time.monotonic()
        fold = self._head_seconds(pace.shape[-1], len(views))
        competition = self._competition
        if (
            competition.horizontal_flip is None
            and len(plain) == 2
            and not (competition.is_number or competition.keeps_likeliest)
        ):
            fold *= 1 + 3 / len(views)  # a head of both plain views and one of the first, besides
        return shared, fold, pace.timed_seconds + time.monotonic() - begun

    def _features(
        self, layers: FrozenLayers, views: Sequence[View], plain: Sequence[View]
    ) -> tuple[float, Pace]:
        """Return the seconds for features of all images, and how they were measured."""
        pace = FeatureExtractor(self._paths, self._experiment, layers).measure(self._train, views)
        by_view = pace.image_seconds / len(views)
        return by_view * (len(self._train) * len(views) + len(self._test) * len(plain)), pace

    def _has_room(self, shape: tuple[int, ...], num_plain: int, num_drawn: int) -> bool:
        """Tell whether all maps that a training asks for can be cached; else it makes them anew."""
        num_maps = (num_plain + num_drawn) * len(self._train) + num_plain * len(self._test)
        bytes_of_one = math.prod(shape) * np.dtype(np.float16).itemsize
        return num_maps * bytes_of_one <= most_bytes(self._paths)

    def _head_seconds(self, num_features: int, num_views: int) -> float:
        """Time the fit of a head on as many drawn rows as a fold has."""
        num_all, num_classes = self._num_learned * num_views, self._competition.num_classes
        rows = min(num_all, MOST_ROWS, max(1, MOST_LOGITS // num_classes))
        generator = np.random.default_rng(0)
        features = generator.standard_normal((rows, num_features), dtype=np.float32)
        # Real targets, of images all over the table: a head of numbers is another one.
        some = np.linspace(0, len(self._targets) - 1, rows).astype(int)
        config = self._experiment.head
        steps = min(TIMED_STEPS, config.max_steps)
        short = HeadConfig.model_validate(config.model_dump() | {"max_steps": steps})
        begun = time.monotonic()
        _, taken = fit_head(features, self._targets[some], num_classes, short)
        seconds = time.monotonic() - begun
        usual = min(USUAL_STEPS, config.max_steps) if config.kind == "logistic" else 1
        return seconds * usual / max(1, taken) * num_all / rows

    def _finetune(self) -> tuple[float, float, float]:
        config, device = self._experiment, pick_device()
        size = config.images.size_px
        network = build_model(config.model, self._competition.num_classes, config.seed, size)
        network.module.to(device).to(memory_format=torch.channels_last)
        parts = prepare_network(config, network, device)
        shared = fold = timed = 0.0
        if config.train.init_head == "probe":
            shared, fold, timed = self._head_on(trunk_of(network))
        inputs: Inputs = self._pixels(parts.lower)
        if parts.lower is not None:
            plain = plain_views(config)
            drawn, come_again = drawn_views(config)
            layers = FrozenLayers(parts.lower, "rehearsed")
            lower, pace = self._features(layers, [*plain, *drawn], plain)
            timed += pace.timed_seconds
            if come_again and self._has_room(pace.shape, len(plain), len(drawn)):
                shared, inputs = shared + lower, _DrawnMaps(pace.shape, device)
        step_seconds, val_seconds, spent = self._steps(parts.upper, network.is_head, inputs)
        num_val = len(self._train) - self._num_learned
        by_epoch = self._num_learned * step_seconds + num_val * val_seconds
        last = (num_val + len(self._test)) * val_seconds
        return shared, fold + config.train.epochs * by_epoch + last, timed + spent

    def _pixels(self, lower: nn.Module | None) -> PixelInputs:
        images = self._experiment.images
        copies = WorkingCopies(self._paths, working_side_px(images), images.interpolation)
        return PixelInputs(copies, self._experiment, self._train, lower, pick_device())

    def _steps(self, upper: nn.Module, is_head: Any, inputs: Inputs) -> tuple[float, float, float]:
        """Return the seconds that an image takes to learn from and to predict, and those spent."""
        begun = time.monotonic()
        config, num_classes = self._experiment.train, self._competition.num_classes
        rows = np.arange((WARMING + TIMED) * config.batch_size) % len(self._train)
        targets = np.eye(num_classes, dtype=np.float32)[np.arange(len(rows)) % num_classes]
        ids = [str(row) for row in rows]
        train_set = TrainSet(inputs, rows, targets, ids, "accuracy", 0)
        one_epoch = self._experiment.model_copy(
            update={"train": config.model_copy(update={"epochs": 1})}
        )
        is_val = np.zeros(len(self._train), dtype=bool)
        task = FoldTask(fold=0, is_val=is_val, key="", state_path=None)
        moments: list[float] = []
        val_seconds: list[float] = []

        def validate(module: nn.Module) -> dict[str, float]:
            some = rows[: WARMING * config.batch_size]
            if pick_device().type != "cpu":  # which looks for kernels first
                predict(self._experiment, module, inputs, some)
            start = time.monotonic()
            predict(self._experiment, module, inputs, some)
            val_seconds.append((time.monotonic() - start) / len(some))
            return {"val_score": 0.0, "val_loss": 0.0, "val_accuracy": 0.0}

        def note(_: int, detail: str) -> None:
            if detail:
                moments.append(time.monotonic())

        engine = Engine(one_epoch, upper, is_head, train_set, task)
        engine.fit(Callbacks(validate, note, lambda _: None))
        timed = moments[-1] - moments[WARMING - 1]
        step_seconds = timed / ((len(moments) - WARMING) * config.batch_size)
        return step_seconds, val_seconds[0], time.monotonic() - begun


class _DrawnMaps(Inputs):
    """Random maps in the place of what frozen layers make of images.

    Args:
        shape: Of one.
        device: Where to.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self._shape = shape
        self._device = device

    def load(
        self, views: Sequence[View], batches: Sequence[list[int]]
    ) -> Generator[Tensor, None, None]:
        """See `Inputs.load`."""
        for batch in batches:
            yield torch.rand(len(batch), len(views), *self._shape).half()

    def prepare(self, loaded: Tensor) -> Tensor:
        """See `Inputs.prepare`."""
        inputs = to_device(loaded, self._device).float()
        is_map = inputs.ndim == 4
        return inputs.contiguous(memory_format=torch.channels_last) if is_map else inputs


def measure(
    paths: Paths, competition: Competition, experiment: Experiment, start_seconds: float = 0.0
) -> Cost:
    """Measure what an experiment costs here; nothing is written.

    Args:
        paths: The competition's files.
        competition: Its classes.
        experiment: What to train.
        start_seconds: What a process takes until it can begin.

    Raises:
        PipelineError: It can't be trained here.
    """
    return _Rehearsal(paths, competition, load_tables(paths), start_seconds).measure(experiment)


def main() -> None:
    """Answer every line of the input by one."""
    typed, root = sys.argv[1:]
    end_with_parent()
    start_seconds = time.time() - psutil.Process().create_time()
    described = describe_device(pick_device())
    machine = f"{platform.node()}, {num_cpus()} cores, {described}"
    _answer({"device": pick_device().type, "machine": machine})
    declared = load_competition(typed)
    paths = Paths(Path(root), declared.name)
    for line in sys.stdin:  # the first one comes when the images are prepared
        try:
            experiment = Experiment.model_validate_json(line)
            cost = measure(paths, resolve(declared, paths), experiment, start_seconds)
            _answer({"cost": asdict(cost)})
        except (ConfigError, ArtifactError) as error:
            _answer({"refused": str(error)})
        except PipelineError as error:  # memory or a disk, for now: it may be trained nevertheless
            _answer({"fault": str(error)})
        except Exception as error:
            _answer({"fault": f"{type(error).__name__}: {error}".splitlines()[0]})
        free_memory()  # for the trainings between two questions


def _answer(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
