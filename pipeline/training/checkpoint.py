"""Write and read what was learned; keep account of a training and its unfinished state.

A checkpoint is a file of safetensors: tensors by name, and nothing that could run. A state is
written beside and renamed, and the one before it is kept; it holds tensors and plain values only,
as it is read with `weights_only`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from pipeline.config.train_table import TrainConfig
from pipeline.console import warn
from pipeline.errors import ArtifactError
from pipeline.models.tensors import DAMAGE, read_pickle
from pipeline.store.atomic import atomic_path, remove, write_bytes

State = dict[str, Any]


def save_state(
    path: Path, key: str, state: State, settings: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write a state; the last one becomes the previous.

    Args:
        path: The file.
        key: Tells which training this is the state of.
        state: Tensors, numbers, texts, and lists and dictionaries of them.
        settings: What the key was made of, to say how another training differs.
    """
    with atomic_path(path) as partial:
        with partial.open("wb") as file:
            try:
                torch.save({"key": key, "settings": dict(settings), "state": state}, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # as of a full disk
                    raise error.__context__ from error
                raise
        if path.is_file():
            path.replace(_previous(path))


def load_state(path: Path, key: str) -> State | None:
    """Read the last state that is whole and of this training; None where there is none.

    A finished training that can be lengthened has one, too.
    """
    for candidate in (path, _previous(path), _finished(path)):
        stored = _read(candidate)
        if stored and stored.get("key") == key:
            state: State = stored["state"]
            return state
    return None


def set_aside(path: Path, key: str, settings: Mapping[str, Any]) -> None:
    """Keep the unfinished state of another training beside, and say so; bring back this one's.

    Args:
        path: The file, which is to be this training's.
        key: Of this training.
        settings: What its key was made of.
    """
    stored = _unfinished(path)
    if stored and stored.get("key") != key:
        other = _aside(path, str(stored.get("key")))
        (path if path.is_file() else _previous(path)).replace(other)
        remove(_previous(path))
        before = stored.get("settings") or {}
        changed = [
            f"{name} {before[name]!r} -> {value!r}"
            for name, value in settings.items()
            if name in before and before[name] != value
        ]
        reason = ", ".join(changed[:3]) or "other inputs"
        warn(
            f"{path}: holds the unfinished training of other settings ({reason}); it is kept as "
            f"{other.name}, and goes on once they are set back"
        )
    if not path.is_file() and _aside(path, key).is_file():
        _aside(path, key).replace(path)


def usable(state: State | None, config: TrainConfig, fold: int) -> State | None:
    """Say what a state can't give that was saved with other epochs or another `train.keep`."""
    if state is None:
        return None
    position = state["position"]
    done, planned = position["epoch"], state.get("epochs", config.epochs)
    is_validated = any("val_score" in row for row in position["history"])
    lacks_best = config.keep == "best" and position["best"] is None and is_validated
    if done > config.epochs or (lacks_best and done == config.epochs):
        what = f"are more than {config.epochs}" if done > config.epochs else "kept no best one"
        warn(f"fold {fold}: the {done} epochs of its state {what}; training from the start")
        return None
    if lacks_best:
        warn(f"fold {fold}: its best epoch is looked for from epoch {done + 1} on, as keep changed")
    if planned != config.epochs and not config.schedule.is_lengthened:
        warn(
            f"fold {fold}: its rates so far were those of {planned} epochs, as the schedule "
            f"'{config.schedule.name}' ends with them; {config.epochs} epochs from the start would "
            "differ"
        )
    return state


def close_state(path: Path, *, can_go_on: bool) -> None:
    """Delete the states of a finished training; keep the last one where more epochs may follow."""
    if can_go_on and path.is_file():
        path.replace(_finished(path))
    remove(path)
    remove(_previous(path))


def is_of_another(path: Path, key: str) -> bool:
    """Tell whether the state that lies there is another training's."""
    stored = _unfinished(path)
    return stored is not None and stored.get("key") != key


def _unfinished(path: Path) -> State | None:
    return _read(path) or _read(_previous(path))


def _read(path: Path) -> State | None:
    if not path.is_file():
        return None
    try:
        stored = read_pickle(path)
        return stored if isinstance(stored, dict) else None
    except DAMAGE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        warn(f"{path}: damaged ({reason}); going on from an older state, or from the start")
        return None


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _aside(path: Path, key: str) -> Path:
    return path.with_name(f"{path.stem}.{key[:8]}{path.suffix}")


def _finished(path: Path) -> Path:
    return path.with_name(f"finished{path.suffix}")


Tensors = Mapping[str, npt.NDArray[np.generic]]


def save_checkpoint(path: Path, tensors: Tensors) -> None:
    """Write tensors, whole or not at all."""
    write_bytes(path, save(dict(tensors)))


def load_checkpoint(path: Path) -> Tensors:
    """Read a checkpoint's tensors.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: must be a checkpoint, cannot be read ({error}); train again"
        ) from error


Row = dict[str, float]
StateDict = dict[str, Tensor]


@dataclass
class TrainingProgress:
    """How far a training is; with the stepper's state, all it needs to go on.

    Attributes:
        epoch: The current epoch, counted from 0.
        batch: Batches of it that are done.
        step: Optimizer updates so far.
        losses: The losses of the epoch's batches.
        history: A row per finished epoch.
        best_epoch: The epoch with the best validation score; -1 before the first.
        best: The state dict of the epoch with the best score of those whose weights were at hand,
            where it is kept: all, unless `train.keep` was changed on the way.
        kept_epoch: That epoch; -1 before the first.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    best_epoch: int = -1
    best: StateDict | None = None
    kept_epoch: int = -1

    def __post_init__(self) -> None:
        """Complete a state that was written before `train.keep` could be changed on the way."""
        if self.best is not None and self.kept_epoch < 0:
            self.kept_epoch = self.best_epoch

    def finish_epoch(
        self,
        row: Row,
        config: TrainConfig,
        copy: Callable[[], StateDict],
        *,
        greater_is_better: bool,
    ) -> None:
        """Move on to the next epoch, noting the best so far.

        Args:
            row: The epoch's row of the history, with its `val_score` if it was validated.
            config: Says whether the best epoch is kept.
            copy: Copies the network as it would be kept now.
            greater_is_better: What the score's metric says.
        """
        score = row.get("val_score")
        if score is not None and self._is_better(
            score, self.best_epoch, greater_is_better=greater_is_better
        ):
            self.best_epoch = self.epoch
        if config.keep != "best":
            self.best, self.kept_epoch = None, -1
        elif score is not None and self._is_better(
            score, self.kept_epoch, greater_is_better=greater_is_better
        ):
            self.best, self.kept_epoch = copy(), self.epoch
        self.history.append(row)
        self.losses = []
        self.batch = 0
        self.epoch += 1

    def has_stalled(self, patience: int | None) -> bool:
        """Tell after a validation if so many epochs have passed since the best; never for None."""
        if patience is None or "val_score" not in (self.history or [{}])[-1]:
            return False
        return self.epoch - 1 - self.best_epoch >= patience

    def _is_better(self, score: float, than: int, *, greater_is_better: bool) -> bool:
        if than < 0:
            return True
        best = self.history[than]["val_score"]
        if math.isnan(best):  # a metric that this fold's images don't define tells nothing
            return True
        return score > best if greater_is_better else score < best
