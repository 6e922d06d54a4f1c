"""The training loop: epochs in `Engine.fit`, steps in `Engine._train_epoch`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.config.experiment import Experiment
from pipeline.console import say
from pipeline.errors import ArtifactError, StoppedError
from pipeline.images.views import training_view
from pipeline.machine import num_processes
from pipeline.scoring.metrics import get_metric
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training import processes
from pipeline.training.checkpoint import load_state, save_state
from pipeline.training.device import pick_device, set_up
from pipeline.training.inputs import Inputs
from pipeline.training.interrupts import deferred_interrupt
from pipeline.training.losses import build_criterion
from pipeline.training.prepare_network import set_train_mode, size_in_epoch
from pipeline.training.readback import NanGuard, Step
from pipeline.training.sampling import epoch_batches
from pipeline.training.schedules import Schedule
from pipeline.training.stepper import Stepper
from pipeline.training.task import FoldTask

Row = dict[str, float]
StateDict = dict[str, Tensor]

# Processes ask each other whether to stop or save so often: asking stops a GPU's queue. A CPU has
# none, and ten of its steps may take longer than a launcher waits.
STEPS_PER_QUESTION = 10


@dataclass(frozen=True)
class TrainSet:
    """What one training learns from.

    Attributes:
        inputs: Where images come from.
        rows: Which rows of their table, `(n,)`.
        targets: Their soft targets, `(n, K)` float32; rows sum to 1.
        image_ids: Their ids, n of them.
        metric: The competition's metric, which `validate` measures as `val_score`.
        seed: Seed of the order of images, of mixing and of dropout.
    """

    inputs: Inputs
    rows: IntArray
    targets: FloatArray
    image_ids: list[str]
    metric: str
    seed: int


@dataclass(frozen=True)
class Callbacks:
    """Who hears of a training.

    Attributes:
        validate: Measures the module as it would be kept, after every epoch; `val_score` decides
            which epoch is best, all of it joins the history.
        advance: Called with the number of images newly seen and a line about the training.
        log: Called with the history after every epoch.
    """

    validate: Callable[[nn.Module], Row]
    advance: Callable[[int, str], None]
    log: Callable[[list[Row]], None]


@dataclass
class TrainingProgress:
    """How far a training is; with the stepper's state, all that it needs to go on.

    Attributes:
        epoch: The current epoch, counted from 0.
        batch: Batches of it that are done.
        step: Optimizer updates so far.
        losses: The losses of the epoch's batches.
        history: A row per finished epoch.
        best_epoch: The epoch with the best validation score; -1 before the first.
        best: The state dict of that epoch, where it is kept.
        snapshots: Those at the ends of the schedule's cycles so far, where they are several.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    best_epoch: int = -1
    best: StateDict | None = None
    snapshots: list[StateDict] = field(default_factory=list)


class Engine:
    """Trains the learning part of a network; all processes of a launch call it alike.

    Args:
        experiment: How to train.
        module: What learns, `(N, ...)` inputs → logits `(N, K)`; it is changed in place.
        is_head: Tells by a parameter's name whether it is the head's.
        train_set: What to learn from.
        task: The fold, and where its unfinished state is kept.
    """

    def __init__(
        self,
        experiment: Experiment,
        module: nn.Module,
        is_head: Callable[[str], bool],
        train_set: TrainSet,
        task: FoldTask,
    ) -> None:
        self._device = pick_device()
        set_up(self._device)
        config = experiment.train
        self._experiment = experiment
        self._config = config
        self._module = module
        self._train_set = train_set
        self._task = task
        self._soft_targets = torch.from_numpy(train_set.targets)
        self._classes: IntArray = train_set.targets.argmax(axis=1)  # what sampling goes by
        self._greater_is_better = get_metric(train_set.metric).greater_is_better
        counts = np.bincount(self._classes, minlength=train_set.targets.shape[1])
        criterion = build_criterion(config.loss, counts)
        set_train_mode(module, config)  # the stepper must know what is frozen
        self._stepper = Stepper(config, module, is_head, criterion, train_set.seed)
        num_batches = len(self._batches(0))
        self._schedule = Schedule(
            config.schedule,
            config.epochs * num_batches,
            num_batches,
            greater_is_better=self._greater_is_better,
            num_cycles=config.snapshots,
        )

    def fit(self, callbacks: Callbacks) -> tuple[pd.DataFrame, list[StateDict]]:
        """Train for all epochs, or go on where an unfinished training stopped.

        Returns:
            The history, one row per epoch; and what is kept, state dicts of `module`: one, or one
            of each cycle, the last one last.

        Raises:
            ArtifactError: The loss isn't finite any more, or one image doesn't fit in memory.
            StoppedError: Ctrl-C; the state was saved.
        """
        progress = self._restore()
        num_seen = sum(len(batch) for batch in self._batches(progress.epoch)[: progress.batch])
        callbacks.advance(progress.epoch * len(self._train_set.rows) + num_seen, "")
        with deferred_interrupt() as is_interrupted:
            while progress.epoch < self._config.epochs and not self._has_stalled(progress):
                row = self._train_epoch(progress, callbacks, is_interrupted)
                self._stepper.average_statistics()
                self._module.eval()
                row |= callbacks.validate(self._stepper.kept_module)
                self._finish_epoch(progress, row)
                callbacks.log(progress.history)
                self._save(progress)
            if processes.any_of(is_interrupted()):  # since the last step
                raise self._stopped(progress)
        kept = progress.best or self._stepper.kept_module.state_dict()
        return pd.DataFrame(progress.history), progress.snapshots or [kept]

    def _train_epoch(
        self, progress: TrainingProgress, callbacks: Callbacks, is_interrupted: Callable[[], bool]
    ) -> Row:
        """Take the steps of an epoch that aren't taken yet."""
        config = self._config
        batches = self._batches(progress.epoch)[progress.batch :]
        set_train_mode(self._module, config)
        guard = NanGuard(progress.losses)
        begun = saved = time.monotonic()
        waited = 0.0
        rate = self._rate(max(progress.step - 1, 0))  # of an epoch that was stopped at its very end
        for batch, loaded, seconds in self._load(progress.epoch, batches):
            waited += seconds
            rate = self._rate(progress.step)
            place = (progress.step, progress.epoch, progress.batch * config.batch_size)
            targets = self._soft_targets[batch]
            loss = self._stepper.step(loaded, self._train_set.inputs.prepare, targets, rate, place)
            ids = [self._train_set.image_ids[row] for row in batch]
            guard.add(loss, Step(progress.step, rate, ids))
            progress.batch += 1
            progress.step += 1
            callbacks.advance(len(batch), guard.describe(rate))
            is_due = time.monotonic() - saved > 60 * config.save_minutes
            is_stopping, is_saving = self._agree_on(is_interrupted(), is_due, progress.step)
            if is_saving:
                guard.flush()
                self._stepper.average_statistics()  # else what the others saw would be lost
                self._save(progress)
                saved = time.monotonic()
            if is_stopping:
                raise self._stopped(progress)
        seconds = time.monotonic() - begun
        return {
            "epoch": progress.epoch,
            "step": progress.step,
            "learning_rate": rate,
            "train_loss": round(sum(processes.gather(float(np.mean(guard.flush())))), 6),
            "images_per_second": round(sum(map(len, batches)) / seconds, 1),
            "waiting_for_data": round(waited / seconds, 4),
        }

    def _rate(self, step: int) -> float:
        return self._config.optimizer.learning_rate * self._schedule.factor(step)

    def _load(
        self, epoch: int, batches: list[IntArray]
    ) -> Iterator[tuple[IntArray, Tensor, float]]:
        """Yield batches, what this process's share was loaded as, and the seconds waited for it."""
        train_set = self._train_set
        views = [training_view(self._experiment, epoch)]
        own = [batch[processes.share_of(len(batch)).rows] for batch in batches]
        shares = [train_set.rows[places].tolist() for places in own]
        loading = train_set.inputs.load(views, shares, self._size_px(epoch))
        before = time.monotonic()
        for batch, loaded in zip(batches, loading, strict=True):
            yield batch, loaded[:, 0], time.monotonic() - before  # there is one view
            before = time.monotonic()

    def _batches(self, epoch: int) -> list[IntArray]:
        return epoch_batches(self._classes, self._config, self._train_set.seed, epoch)

    def _size_px(self, epoch: int) -> int:
        return size_in_epoch(self._experiment.images.size_px, self._config.progressive, epoch)

    def _agree_on(self, is_interrupted: bool, is_due: bool, step: int) -> tuple[bool, bool]:  # noqa: FBT001
        """Return whether to stop and whether to save: any process may stop, the main one saves."""
        is_asked = self._device.type == "cpu" or step % STEPS_PER_QUESTION == 0
        if num_processes() > 1 and not is_asked:
            return False, False
        answers = processes.gather((is_interrupted, is_due))
        is_stopping = any(stops for stops, _ in answers)
        return is_stopping, is_stopping or answers[0][1]

    def _stopped(self, progress: TrainingProgress) -> StoppedError:
        """Say where the training stopped, once the main process has saved."""
        processes.wait_for_all()
        return StoppedError(
            f"fold {self._task.fold}: stopped by Ctrl-C after step {progress.step}, and saved; the "
            "same command goes on from there"
        )

    def _finish_epoch(self, progress: TrainingProgress, row: Row) -> None:
        """Move on to the next epoch, noting the best so far and what ends a cycle."""
        score = row["val_score"]
        best = (
            progress.history[progress.best_epoch]["val_score"] if progress.best_epoch >= 0 else None
        )
        progress.history.append(row)
        if best is None or (score > best if self._greater_is_better else score < best):
            progress.best_epoch = progress.epoch
            if self._config.keep == "best":
                progress.best = self._copied()
        self._schedule.observe(score)
        progress.losses = []
        progress.batch = 0
        progress.epoch += 1
        if self._config.snapshots > 1:
            if progress.epoch % (self._config.epochs // self._config.snapshots) == 0:
                progress.snapshots.append(self._copied())
            row["snapshots"] = len(progress.snapshots)

    def _copied(self) -> StateDict:
        kept = self._stepper.kept_module.state_dict()
        return {name: tensor.cpu().clone() for name, tensor in kept.items()}

    def _has_stalled(self, progress: TrainingProgress) -> bool:
        patience = self._config.stop_after
        return patience is not None and progress.epoch - 1 - progress.best_epoch >= patience

    def _save(self, progress: TrainingProgress) -> None:
        if processes.is_main() and self._task.state_path:
            state = {"position": vars(progress), "schedule": self._schedule.state_dict()}
            save_state(self._task.state_path, self._task.key, state | self._stepper.state_dict())

    def _restore(self) -> TrainingProgress:
        path = self._task.state_path
        state = load_state(path, self._task.key) if path else None
        progress = TrainingProgress(**state["position"]) if state else TrainingProgress()
        if len(set(processes.gather(progress.step))) > 1:
            raise ArtifactError(
                f"{path}: must be the same file for all processes, isn't; put --root on a folder "
                "that the machines share"
            )
        if state:
            say(
                f"fold {self._task.fold}: going on after step {progress.step}, {progress.epoch} of "
                f"{self._config.epochs} epochs are done"
            )
            self._schedule.load_state_dict(state["schedule"])
            self._stepper.load_state_dict(state)
        return progress
