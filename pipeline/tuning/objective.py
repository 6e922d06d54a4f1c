"""Run one trial: train the experiment with other values fold by fold, and score it out of fold.

Probes that learn from the same features read them once for many trials.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from optuna.exceptions import OptunaError, TrialPruned
from optuna.trial import Trial

from pipeline.config.experiment import Experiment, HeadConfig
from pipeline.config.search_space import Parameter
from pipeline.console import say
from pipeline.data.training_table import Tables, subsample
from pipeline.errors import DiskError, PipelineError, StoppedError
from pipeline.scoring.metrics import score
from pipeline.scoring.oof import assemble_oof
from pipeline.scoring.targets import Judged, to_numbers
from pipeline.store.predictions import FloatArray
from pipeline.store.tables import held_out
from pipeline.training.fold_stamps import check_unseen
from pipeline.training.memory import is_out_of_memory
from pipeline.training.methods import Method, build_method
from pipeline.training.prepare_network import check_trainable
from pipeline.training.probe import Probe
from pipeline.training.task import FoldTask
from pipeline.tuning.samplers import epoch_step, fold_step
from pipeline.tuning.search import Search
from pipeline.tuning.trials import FOLD_SCORES, REASON, SECONDS, record_worker

# Features of a view take 5 MB per 2,000 images and 1,280 numbers; a set of views has a few.
MAX_SETS = 4


class MethodCache:
    """Builds the training methods of trials, keeping the last probes' features in memory.

    Args:
        search: The competition and its files.
        tables: The images of every trial.
    """

    def __init__(self, search: Search, tables: Tables) -> None:
        self._search = search
        self._tables = tables
        self._probes: OrderedDict[str, Probe] = OrderedDict()

    def build(self, experiment: Experiment) -> Method:
        """Return the training method of an experiment; see `build_method`."""
        if experiment.method != "probe":
            return self._make(experiment)
        key = experiment.model_copy(update={"head": HeadConfig()}).model_dump_json()
        if key not in self._probes:
            probe = self._make(experiment)
            assert isinstance(probe, Probe)
            self._probes[key] = probe
        self._probes.move_to_end(key)
        while len(self._probes) > MAX_SETS:
            self._probes.popitem(last=False)
        return self._probes[key].with_head(experiment.head)

    def _make(self, experiment: Experiment) -> Method:
        search = self._search
        return build_method(search.paths, search.competition, experiment, self._tables)


class FailedTrialError(Exception):
    """A trial can't be trained with its values; the reason is recorded."""


class Objective:
    """Scores trials by the competition's metric on their pooled OOF predictions.

    A trial trains through the same code as `train`, but writes nothing.

    Args:
        search: The experiment, its space and data.
        is_interrupted: Asked after every fold; the trial then ends.
        on_taken: Called once the trial has its values, and this process as its worker.

    Attributes:
        number: Of the last trial.
    """

    def __init__(
        self, search: Search, is_interrupted: Callable[[], bool], on_taken: Callable[[], None]
    ) -> None:
        self.number = -1
        self._search = search
        self._is_interrupted = is_interrupted
        self._on_taken = on_taken
        self._tables = subsample(search.tables, search.experiment.data.limit)
        self._judged = Judged(search.competition, self._tables.folds)
        self._methods = MethodCache(search, self._tables)

    def __call__(self, trial: Trial) -> float:
        """Run a trial.

        Raises:
            TrialPruned: It is hopeless.
            FailedTrialError: It can't be trained, whatever the reason: out of memory, NaN, values
                that don't fit, an error of a library.
            StoppedError: Ctrl-C.
            DiskError: The disk is full, which is no fault of the values.
        """
        self.number = trial.number
        record_worker(trial)
        start = time.monotonic()
        values = suggest(trial, self._search)
        self._on_taken()
        outcome = "failed"
        try:
            value = self._score(trial, values)
            outcome = f"{self._search.competition.metric} {value:.4f}"
        except TrialPruned as error:
            outcome = str(error)
            raise
        except (StoppedError, DiskError, OptunaError):  # the study can't be written, either
            outcome = "stopped"
            raise
        except Exception as error:
            outcome = self._explained(error, values)
            trial.set_user_attr(REASON, outcome)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise FailedTrialError(outcome) from error
        finally:
            seconds = round(time.monotonic() - start, 2)
            trial.set_user_attr(SECONDS, seconds)
            chosen = ", ".join(f"{key} {_format_value(value)}" for key, value in values.items())
            say(f"{self._search.title}: trial {trial.number}: {outcome}, {seconds:.1f} s; {chosen}")
        return value

    def _explained(self, error: Exception, values: Mapping[str, object]) -> str:
        """Return why a trial failed: as `train` would say it, if it would refuse these values."""
        search = self._search
        if not isinstance(error, PipelineError | MemoryError) and not is_out_of_memory(error):
            with suppress(Exception):  # another one says less than the trial's own
                try:
                    experiment = search.experiment.changed(values, "trial")
                    check_trainable(experiment, search.competition.num_classes)
                except PipelineError as refusal:
                    return _reason(refusal)
        return _reason(error)

    def _score(self, trial: Trial, values: Mapping[str, object]) -> float:
        search = self._search
        experiment = search.experiment.changed(values, "trial")
        folds = sorted(held_out(self._tables.folds)["fold"].unique().tolist())
        check_unseen(search.paths, experiment.model, self._tables.folds, folds)
        method = self._methods.build(experiment)
        fold_probs: dict[int, FloatArray] = {}
        fold_scores: list[float] = []  # so far; thresholds of other folds come at the end
        for fold in folds:
            task = self._task(trial, fold, len(folds) - len(fold_scores))
            probs = to_numbers(search.competition, method.fit_fold(task).val_probs)
            fold_probs[fold] = probs
            rows = np.flatnonzero(task.is_val)
            fold_scores.append(self._judged.score_alone(rows, probs))
            trial.report(fold_scores[-1], fold_step(fold))
            if self._is_interrupted():
                raise StoppedError(f"{search.title}: stopped by Ctrl-C after fold {fold}")
            if fold != folds[-1] and trial.should_prune():
                raise _record_pruned(trial, fold_scores, f"after fold {fold}")
        oof_probs = assemble_oof(fold_probs, self._tables.folds)
        judged = Judged(search.competition, held_out(self._tables.folds))
        trial.set_user_attr(FOLD_SCORES, judged.fold_scores(oof_probs))
        targets, probs, _ = judged.of(oof_probs)
        return score(search.competition.metric, targets, probs)

    def _task(self, trial: Trial, fold: int, num_folds_left: int) -> FoldTask:
        def report(row: dict[str, float]) -> None:
            if "val_score" not in row:
                return
            epoch = int(row["epoch"])
            trial.report(row["val_score"], epoch_step(fold, epoch))
            if trial.should_prune():
                raise _record_pruned(trial, [], f"after epoch {epoch} of fold {fold}")

        return FoldTask(
            fold=fold,
            is_val=(self._tables.folds["fold"] == fold).to_numpy(),
            key="",
            state_path=None,
            num_folds_left=num_folds_left,
            on_epoch=report,
        )


def suggest(trial: Trial, search: Search) -> dict[str, Any]:
    """Choose a value for every parameter that takes part."""
    values: dict[str, Any] = {}

    def value_of(key: str) -> object:
        return values.get(key, search.experiment.at(key))

    for key, parameter in search.space.active(value_of):
        values[key] = _suggest(trial, key, parameter, search)
    return values


def _suggest(trial: Trial, key: str, parameter: Parameter, search: Search) -> Any:
    if parameter.choices is not None:
        return trial.suggest_categorical(key, parameter.choices)
    low, high = parameter.extremes
    if search.space.is_whole(key, search.experiment):
        step = 1 if parameter.step is None else int(parameter.step)
        return trial.suggest_int(key, int(low), int(high), log=parameter.log, step=step)
    return trial.suggest_float(key, float(low), float(high), log=parameter.log, step=parameter.step)


def _record_pruned(trial: Trial, fold_scores: list[float], when: str) -> TrialPruned:
    reason = f"pruned {when}"
    if fold_scores:
        reason += f", mean {np.mean(fold_scores):.4f}"
    trial.set_user_attr(REASON, reason)
    return TrialPruned(reason)


def _reason(error: Exception) -> str:
    """Format in one line why a trial failed; another library's error keeps its name."""
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, PipelineError):
        return text
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return f"out of memory: {text}"
    return f"{type(error).__name__}: {text}"


def _format_value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
