"""Train a network: the loop over epochs and steps.

In running order: `Engine.fit` restores an unfinished training and goes through the epochs;
`_train_epoch` takes an epoch's steps and saves now and then; after each epoch the network is
validated, and `TrainingProgress.finish_epoch` decides what is kept.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.config.experiment import Experiment
from pipeline.console import say
from pipeline.errors import ArtifactError, StoppedError
from pipeline.images.views import training_view
from pipeline.machine import deferred_interrupt, num_processes
from pipeline.scoring.metrics import get_metric
from pipeline.store.predictions import IntArray
from pipeline.training import processes
from pipeline.training.checkpoint import (
    Row,
    StateDict,
    TrainingProgress,
    load_state,
    save_state,
    set_aside,
    usable,
)
from pipeline.training.device import pick_device, set_up
from pipeline.training.inputs import TrainSet
from pipeline.training.losses import build_criterion
from pipeline.training.mixing import epoch_batches
from pipeline.training.optim import Schedule
from pipeline.training.prepare_network import set_train_mode
from pipeline.training.readback import NanGuard, StateWriter, Step
from pipeline.training.stepper import Stepper
from pipeline.training.task import FoldTask

# Processes ask each other whether to stop or save so often: asking stops a GPU's queue. A CPU has
# none, and ten of its steps may take longer than a launcher waits.
STEPS_PER_QUESTION = 10


@dataclass(frozen=True)
class Callbacks:
    """What is called while a training runs.

    Attributes:
        validate: Measures the module as it would be kept, after every `validate_every` epochs and
            the last; `val_score` decides which epoch is best, all of it joins the history.
        advance: Called with the number of images newly seen and a line about the training.
        log: Called with the history after every epoch.
    """

    validate: Callable[[nn.Module], Row]
    advance: Callable[[int, str], None]
    log: Callable[[list[Row]], None]


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
        self._saved = time.monotonic()
        self._writer = StateWriter(in_background=self._device.type == "cuda")
        self._classes: IntArray = train_set.targets.argmax(axis=1)  # what sampling goes by
        self._greater_is_better = get_metric(train_set.metric).greater_is_better
        counts = np.bincount(self._classes, minlength=train_set.targets.shape[1])
        criterion = build_criterion(config.loss, counts, has_several=train_set.has_several)
        set_train_mode(module, config)  # the stepper must know what is frozen
        self._stepper = Stepper(config, module, is_head, criterion, train_set.seed)
        num_batches = len(self._batches(0))
        self._schedule = Schedule(config.schedule, config.epochs * num_batches, num_batches)

    def fit(self, callbacks: Callbacks) -> tuple[pd.DataFrame, StateDict]:
        """Train for all epochs, or go on where an unfinished training stopped.

        Returns:
            The history, one row per epoch; and what is kept, a state dict of `module`.

        Raises:
            ArtifactError: The loss isn't finite any more, or one image doesn't fit in memory.
            StoppedError: Ctrl-C; the state was saved.
        """
        config = self._config
        progress = self._restore()
        self._saved = time.monotonic()
        num_seen = sum(map(len, self._batches(progress.epoch)[: progress.batch]))
        callbacks.advance(progress.epoch * len(self._train_set.rows) + num_seen, "")
        with deferred_interrupt() as is_interrupted, self._writer:
            while progress.epoch < config.epochs and not progress.has_stalled(config.stop_after):
                row = self._train_epoch(progress, callbacks, is_interrupted)
                self._stepper.average_statistics()
                self._module.eval()
                if self._is_validated(progress.epoch):
                    row |= callbacks.validate(self._stepper.kept_module)
                progress.finish_epoch(
                    row, config, self._copy_kept, greater_is_better=self._greater_is_better
                )
                callbacks.log(progress.history)
                if self._is_due() and progress.epoch < config.epochs:
                    self._save(progress)
            self._save(progress)  # a finished training may be lengthened
            if processes.any_of(is_interrupted()):  # since the last step
                raise self._stopped(progress)
        best = progress.best if config.keep == "best" else None
        kept = best or self._stepper.kept_module.state_dict()
        return pd.DataFrame(progress.history), kept

    def _copy_kept(self) -> StateDict:
        kept = self._stepper.kept_module.state_dict()
        return {name: tensor.cpu().clone() for name, tensor in kept.items()}

    def _restore(self) -> TrainingProgress:
        """Return how far this training is.

        1. There is a state of it: it goes on after that state's last step, also where only
           `train.stop_after`, `keep` or `measure_train` were changed, or there are more epochs.
        2. That file is damaged: with the state before it.
        3. There is none: from the start.
        4. There is one of other images, labels, weights or settings: it is kept under another name.
        5. Processes find different states: an error, as their folders aren't the same.
        """
        task, path = self._task, self._task.state_path
        if path and processes.is_main():
            set_aside(path, task.key, task.settings)
        processes.wait_for_all()
        state = usable(load_state(path, task.key), self._config, task.fold) if path else None
        progress = TrainingProgress(**state["position"]) if state else TrainingProgress()
        steps = processes.gather(progress.step)
        if len(set(steps)) > 1:
            raise ArtifactError(
                f"{path}: must be the same file for all processes, they find it after the steps "
                f"{', '.join(map(str, steps))}; put --root on a folder that the machines share"
            )
        if state:
            say(
                f"fold {self._task.fold}: going on after step {progress.step}, {progress.epoch} of "
                f"{self._config.epochs} epochs are done"
            )
            self._stepper.load_state_dict(state)
        return progress

    def _is_validated(self, epoch: int) -> bool:
        count = epoch + 1
        return count % self._config.validate_every == 0 or count == self._config.epochs

    def _is_due(self) -> bool:
        """Tell whether to save: on a GPU, an epoch may take less time than its state."""
        return time.monotonic() - self._saved > 60 * self._config.save_minutes

    def _save(self, progress: TrainingProgress) -> None:
        self._saved = time.monotonic()
        if processes.is_main() and self._task.state_path:
            position = {"position": vars(progress), "epochs": self._config.epochs}
            state = position | self._stepper.state_dict()
            task, path = self._task, self._task.state_path
            self._writer.write(lambda one: save_state(path, task.key, one, task.settings), state)

    def _train_epoch(
        self, progress: TrainingProgress, callbacks: Callbacks, is_interrupted: Callable[[], bool]
    ) -> Row:
        """Take the steps of an epoch that aren't taken yet; return its row of the history."""
        config = self._config
        batches = self._batches(progress.epoch)[progress.batch :]
        set_train_mode(self._module, config)
        guard = NanGuard(progress.losses)
        begun = time.monotonic()
        waited = 0.0
        rate = self._rate(max(progress.step - 1, 0))  # of an epoch that was stopped at its very end
        with closing(self._load(progress.epoch, batches)) as loading:
            for batch, loaded, seconds in loading:
                waited += seconds
                rate = self._rate(progress.step)
                place = (progress.step, progress.epoch, progress.batch * config.batch_size)
                targets = self._soft_targets[batch]
                loss = self._stepper.step(
                    loaded, self._train_set.inputs.prepare, targets, rate, place
                )
                ids = [self._train_set.image_ids[row] for row in batch]
                guard.add(loss, Step(progress.step, rate, ids))
                progress.batch += 1
                progress.step += 1
                callbacks.advance(len(batch), guard.describe(rate))
                asked = is_interrupted(), self._is_due()
                is_stopping, is_saving = self._agree_on(*asked, progress.step)
                if is_saving:
                    guard.flush()
                    self._stepper.average_statistics()  # else what the others saw would be lost
                    self._save(progress)
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

    def _batches(self, epoch: int) -> list[IntArray]:
        return epoch_batches(self._classes, self._config, self._train_set.seed, epoch)

    def _load(
        self, epoch: int, batches: list[IntArray]
    ) -> Generator[tuple[IntArray, Tensor, float], None, None]:
        """Yield batches, what this process's share was loaded as, and the seconds waited for it."""
        train_set = self._train_set
        views = [training_view(self._experiment, epoch)]
        own = [batch[processes.share_of(len(batch)).rows] for batch in batches]
        shares = [train_set.rows[places].tolist() for places in own]
        loading = train_set.inputs.load(views, shares)
        before = time.monotonic()
        with closing(loading):
            for batch, loaded in zip(batches, loading, strict=True):
                yield batch, loaded[:, 0], time.monotonic() - before  # there is one view
                before = time.monotonic()

    def _rate(self, step: int) -> float:
        return self._config.optimizer.learning_rate * self._schedule.factor(step)

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
