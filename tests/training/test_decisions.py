"""What validation scores decide: which epoch is kept, when to stop, when the rate falls."""

import itertools
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import StoppedError
from pipeline.training.checkpoint import Row, StateDict
from pipeline.training.engine import Callbacks, Engine
from pipeline.training.inputs import Inputs, TrainSet
from pipeline.training.task import FoldTask
from tests import tiny

NUM_IMAGES, BATCHES_PER_EPOCH = 12, 3
# Better until the third epoch, then the same and worse; where less is better and where more is.
LOSSES = [0.9, 0.5, 0.3, 0.3, 0.6, 0.8]
BY_METRIC = {"log_loss": LOSSES, "accuracy": [1 - loss for loss in LOSSES]}
BEST = 2

RECIPES: dict[str, Any] = {
    "best": {"keep": "best", "ema_decay": 0.9},
    "stop": {"stop_after": 2},
}


class Points(Inputs):
    """Points in memory instead of images."""

    points = torch.randn(NUM_IMAGES, 3, generator=torch.Generator().manual_seed(0))

    def load(self, views: Any, batches: Any) -> Generator[Tensor, None, None]:  # noqa: ARG002
        for rows in batches:
            yield self.points[rows][:, None]

    def prepare(self, loaded: Tensor) -> Tensor:
        return loaded


class Course(NamedTuple):
    """How a training went: its history, what it kept, and what it would have after each epoch."""

    history: pd.DataFrame
    kept: StateDict
    by_epoch: list[StateDict]


class KilledError(Exception):
    """Stands for a kill: nothing is written from here on."""


def train(path: Path, metric: str, scores: Iterator[float], train: Any, halt: Any = None) -> Course:
    """Train a small network that forgets at random, in epochs with scores that are given.

    Args:
        path: Where the state is kept.
        metric: What the scores are.
        scores: One for each epoch to come.
        train: The recipe.
        halt: Called after every batch.
    """
    defaults = {"epochs": len(LOSSES), "batch_size": NUM_IMAGES // BATCHES_PER_EPOCH}
    recipe = defaults | {"schedule": {"name": "constant"}, "save_minutes": 0.0} | train
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    train_set = TrainSet(
        inputs=Points(),
        rows=np.arange(NUM_IMAGES),
        targets=np.eye(2, dtype=np.float32)[np.arange(NUM_IMAGES) % 2],
        image_ids=[str(number) for number in range(NUM_IMAGES)],
        metric=metric,
        seed=0,
    )
    task = FoldTask(0, np.zeros(NUM_IMAGES, dtype=bool), "key", path)
    experiment = tiny.experiment(method="finetune", train=recipe)
    engine = Engine(experiment, module, lambda _: False, train_set, task)
    by_epoch: list[StateDict] = []

    def validate(kept: nn.Module) -> Row:
        by_epoch.append({name: tensor.clone() for name, tensor in kept.state_dict().items()})
        return {"val_score": next(scores)}

    def advance(count: int, detail: str) -> None:  # noqa: ARG001
        if halt and detail:
            halt()

    history, kept = engine.fit(Callbacks(validate, advance, lambda _: None))
    columns = ["epoch", "step", "learning_rate", "train_loss", "val_score"]
    return Course(history[columns], kept, by_epoch)


def assert_same(found: StateDict, expected: StateDict) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("metric", BY_METRIC)
def test_the_best_epoch_by_the_metric_is_kept(tmp_path, metric):
    scores = iter(BY_METRIC[metric])
    course = train(tmp_path / "training.pt", metric, scores, RECIPES["best"])
    assert_same(course.kept, course.by_epoch[BEST])
    assert not torch.equal(course.kept["0.weight"], course.by_epoch[-1]["0.weight"])


@pytest.mark.parametrize("metric", BY_METRIC)
def test_training_stops_so_many_epochs_after_the_best_by_the_metric(tmp_path, metric):
    scores = iter(BY_METRIC[metric])
    history = train(tmp_path / "training.pt", metric, scores, RECIPES["stop"]).history
    assert history["epoch"].tolist() == [*range(BEST + 1 + 2)]


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("epoch", [BEST + 1, BEST + 2])
def test_a_resumed_training_decides_as_an_unbroken_one(tmp_path, recipe, epoch, is_killed):
    numbers = itertools.count(1)

    def halt() -> None:
        if next(numbers) == epoch * BATCHES_PER_EPOCH + 2:
            if is_killed:
                raise KilledError("killed")
            signal.raise_signal(signal.SIGINT)

    losses = BY_METRIC["log_loss"]
    expected = train(tmp_path / "straight.pt", "log_loss", iter(losses), RECIPES[recipe])
    scores, path = iter(losses), tmp_path / "training.pt"
    with pytest.raises((KilledError, StoppedError), match="killed" if is_killed else "Ctrl-C"):
        train(path, "log_loss", scores, RECIPES[recipe], halt)
    resumed = train(path, "log_loss", scores, RECIPES[recipe])
    assert len(resumed.by_epoch) == len(expected.history) - epoch
    assert resumed.history.equals(expected.history)
    assert_same(resumed.kept, expected.kept)
