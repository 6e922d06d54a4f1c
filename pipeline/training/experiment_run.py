"""Train one experiment: every fold that isn't up to date, then the pooled results."""

import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.submission_table import OF_NUMBERS
from pipeline.console import say, warn
from pipeline.data.training_table import Tables, fill_with_prior, subsample
from pipeline.errors import ConfigError
from pipeline.reproducibility import environment
from pipeline.scoring.metrics import score
from pipeline.scoring.oof import describe_oof, pool_folds
from pipeline.scoring.targets import class_indices, to_numbers
from pipeline.store.atomic import remove, write_text
from pipeline.store.freshness import fingerprint
from pipeline.store.locks import held, try_hold
from pipeline.store.paths import ExperimentPaths, FoldPaths, Paths
from pipeline.store.predictions import AnyProbs, Predictions
from pipeline.store.results import is_scored_by, load_result
from pipeline.store.tables import held_out, write_table
from pipeline.training import processes
from pipeline.training.checkpoint import (
    close_state,
    is_of_another,
    load_checkpoint,
    save_checkpoint,
)
from pipeline.training.device import describe_device, pick_device
from pipeline.training.fold_stamps import FoldStamps, check_unseen
from pipeline.training.task import FoldResult, FoldTask, Review

if TYPE_CHECKING:
    from pipeline.training.methods import Method


class ExperimentRun:
    """Trains one experiment fold by fold; every fold that is up to date is left alone.

    Args:
        paths: The competition's files.
        competition: Its classes and metric.
        experiment: How to train.
        tables: The images and their folds.
        out: Where its files go; None for the folder of its name.

    Attributes:
        paths: As given.
    """

    def __init__(
        self,
        paths: Paths,
        competition: Competition,
        experiment: Experiment,
        tables: Tables,
        out: ExperimentPaths | None = None,
    ) -> None:
        self.paths = paths
        self._competition = competition
        self._experiment = experiment = experiment.allowed_by(competition)
        self._tables = tables = subsample(tables, experiment.data.limit)
        self._title = f"train {competition.name} {experiment.name}"
        self._out = out or paths.experiment(experiment.name)
        self._targets = class_indices(competition, tables.train)
        self._stamps = FoldStamps(paths, competition, experiment, tables, self._out)
        self._all_folds = sorted(held_out(tables.folds)["fold"].unique().tolist())
        self._begun: float | None = None  # when its first fold was, in this command

    def check(self, only_folds: Sequence[int]) -> None:
        """Refuse what can't be trained, in a second or so; nothing where all is up to date.

        Raises:
            ConfigError: It is impossible, see `check_trainable`; or its weights have seen what they
                would be scored on.
            ArtifactError: Weights aren't installed.
        """
        if todo := self._not_fresh(only_folds or self._all_folds):
            try:
                check_unseen(self.paths, self._experiment.model, self._tables.folds, todo)
            except ConfigError as error:
                raise ConfigError(f"{self._experiment.name}: {error}") from error
            self._warn_of_unused()
            from pipeline.training.prepare_network import check_trainable

            check_trainable(self._experiment, self._competition.num_classes)

    def _warn_of_unused(self) -> None:
        experiment = self._experiment
        for key, other in experiment.unused_keys.items():
            value = json.dumps(experiment.at(other))
            warn(
                f"{experiment.name}: {key} decides nothing where {other} = {value}; remove it, or "
                f"change {other}"
            )
        table = experiment.unused_table
        if table and getattr(experiment, table) != type(getattr(experiment, table))():
            warn(
                f"{experiment.name}: [{table}] decides nothing where method = "
                f'"{experiment.method}"; remove it, or change the method'
            )

    def train(self, only_folds: Sequence[int]) -> None:
        """Train what isn't up to date; gather the results once every fold is there."""
        train_all([self], only_folds)

    def wanted(self, only_folds: Sequence[int]) -> list[int]:
        """List the folds that are to be trained; tidy up after the others."""
        folds = only_folds or self._all_folds
        todo = self._not_fresh(folds)
        if processes.is_main():
            for fold in set(folds) - set(todo):
                self._close_left_open(fold)
        return todo

    def lock(self, fold: int) -> tuple[Path, str]:
        """Return the lock of a fold, and who wants it."""
        return self._out.fold(fold).lock, f"{self._title} fold {fold}"

    def train_fold(self, fold: int, num_folds_left: int) -> None:
        """Train a fold whose lock is held, unless another command has just done it."""
        if self._not_fresh([fold]):
            self.begin()
            self._train_fold(self._task(fold, num_folds_left))

    def train_alone(self, fold: int) -> None:
        """Train a fold and gather nothing, as one of several processes."""
        with held(*self.lock(fold)):
            self.train_fold(fold, num_folds_left=1)

    def begin(self) -> None:
        """Write down what is going to be trained; a second time does nothing."""
        if self._begun is None:
            self._begun = time.monotonic()
            if processes.is_main():
                remove(self._out.stamp)  # the gathered results are the old folds'
                self._write_config()
                self._write_environment()

    def inputs(self, fold: int) -> dict[str, Any]:
        """Return what a fold's stamp says, or will say, that it was made from."""
        return dict(self._stamps.fold(fold).inputs)

    def parts(self) -> dict[str, Any]:
        """Return what another process needs to run this; see `fold_jobs.FoldJob`."""
        root = self.paths.root
        return {
            "root": root.absolute(),
            "competition": self._competition,
            "experiment": self._experiment,
            "out": self._out.experiment_dir.relative_to(root),
        }

    def finish(self) -> None:
        """Gather the results if every fold is there, or say which aren't."""
        vars(self).pop("_method", None)  # features may be large
        lacking = self._not_fresh(self._all_folds)
        if not processes.is_main():
            return
        if lacking:
            say(f"{self._title}: folds {', '.join(map(str, lacking))} are still to be trained")
            return
        with held(self._out.lock, self._title):
            if self._begun is None and self._is_gathered():
                say(f"{self._title}: up to date")
            else:
                now = time.monotonic()
                self._gather(now - self._begun if self._begun is not None else self._seconds())

    def _is_gathered(self) -> bool:
        """Whether the results are of these folds, and scored as the competition says."""
        if not self._stamps.result(self._all_folds).is_fresh():
            return False
        return is_scored_by(load_result(self._out), self._competition)

    def _seconds(self) -> float:
        """Return what the training took whose results are gathered anew; 0 if it isn't known."""
        is_known = self._out.metrics.is_file()
        return float(load_result(self._out).metrics.get("seconds", 0) if is_known else 0)

    def review(self, fold: int) -> Review:
        """Look at all training images again with the model that a fold has learned, its last one.

        Raises:
            ArtifactError: Its checkpoint is missing or damaged.
        """
        return self._method.review(load_checkpoint(self._out.fold(fold).checkpoint))

    def _not_fresh(self, folds: Sequence[int]) -> list[int]:
        """List the folds that are still to be trained, as the main process sees it."""
        return processes.broadcast([f for f in folds if not self._stamps.fold(f).is_fresh()])

    @cached_property
    def _method(self) -> "Method":
        """What fits folds; made when the first fold needs it, as a probe computes its features.

        Imported here, too: a run that is up to date shouldn't wait for the networks' libraries.
        """
        from pipeline.training.methods import build_method

        return build_method(
            self.paths, self._competition, self._experiment, self._tables, asks_of_flips=True
        )

    def _task(self, fold: int, num_folds_left: int) -> FoldTask:
        files, settings = self._out.fold(fold), self._stamps.settings(fold)
        return FoldTask(
            fold=fold,
            is_val=(self._tables.folds["fold"] == fold).to_numpy(),
            key=fingerprint(settings),
            settings=settings,
            state_path=files.training_state,
            history_path=files.training_history,
            num_folds_left=num_folds_left,
        )

    def _write_config(self) -> None:
        from pipeline.models.preparation import prepared

        text = _as_json(prepared(self._experiment).model_dump(mode="json"))
        if not self._out.config.is_file() or self._out.config.read_bytes() != text.encode():
            write_text(self._out.config, text)

    def _write_environment(self) -> None:
        record = environment() | processes.launch_record()
        record["device"] = describe_device(pick_device())
        write_text(self._out.environment, _as_json(record))

    def _train_fold(self, task: FoldTask) -> None:
        start = time.monotonic()
        method = self._method  # all processes compute a probe's features
        if self._experiment.method == "probe" and not processes.is_main():
            return  # one fits the head; the others wait where they next ask what is fresh
        if processes.is_main():
            self._stamps.tell_why_anew(task.fold)
        result = method.fit_fold(task)
        if processes.is_main():
            self._write_fold(task, result, round(time.monotonic() - start, 3))

    def _write_fold(self, task: FoldTask, result: FoldResult, seconds: float) -> None:
        files: FoldPaths = self._out.fold(task.fold)
        save_checkpoint(files.checkpoint, result.weights)
        write_table(result.history.assign(seconds=seconds), files.history)
        val_ids = self._tables.folds.loc[task.is_val, "image_id"].tolist()
        val_probs, test_probs = (
            to_numbers(self._competition, one) for one in (result.val_probs, result.test_probs)
        )
        self._predictions(val_ids, val_probs).save(files.oof)
        test_probs = fill_with_prior(test_probs, self._tables.test, self._targets)
        self._predictions(self._tables.test["image_id"].tolist(), test_probs).save(files.test)
        outputs = [files.checkpoint, files.history, files.oof, files.test]
        self._stamps.fold(task.fold).write(outputs)
        self._close(files)
        targets = self._targets[task.is_val]
        names = {"accuracy": "accuracy", "loss": "log_loss"}
        if self._competition.is_number:
            names = {name: name for name in OF_NUMBERS}
        found = (f"{one} {score(name, targets, val_probs):.4f}" for one, name in names.items())
        say(
            f"{self._title}: fold {task.fold} of {len(self._all_folds)}: val {', '.join(found)}, "
            f"{seconds:.1f} s"
        )

    def _close(self, files: FoldPaths) -> None:
        close_state(files.training_state, can_go_on=self._experiment.train.schedule.is_lengthened)
        remove(files.training_history)

    def _close_left_open(self, fold: int) -> None:
        """Remove what a command left of a finished fold that was killed between stamp and end."""
        files = self._out.fold(fold)
        if not files.training_history.is_file() or not (release := try_hold(files.lock)):
            return
        try:
            key = fingerprint(self._stamps.settings(fold))
            if not is_of_another(files.training_state, key):
                self._close(files)
        finally:
            release()

    def _predictions(self, image_ids: list[str], probs: AnyProbs) -> Predictions:
        names = list(self._competition.classes)
        several, is_number = self._competition.has_several, self._competition.is_number
        sha256 = self._tables.digests["folds"]
        return Predictions(image_ids, probs, names, sha256, several, is_number)

    def _gather(self, seconds: float) -> None:
        """Pool the folds' predictions into the experiment's, and score them."""
        folds, test_ids = self._tables.folds, self._tables.test["image_id"].tolist()
        oof_probs, test_probs = pool_folds(self._competition, self._out, folds, test_ids)
        self._predictions(held_out(folds)["image_id"].tolist(), oof_probs).save(self._out.oof)
        self._predictions(test_ids, test_probs).save(self._out.test)
        metrics: dict[str, Any] = describe_oof(self._competition, folds, oof_probs)
        metrics["seconds"] = round(seconds, 1)
        write_text(self._out.metrics, json.dumps(metrics, indent=2) + "\n")
        self._write_config()  # a command with other settings may have begun, and been stopped
        outputs = [self._out.oof, self._out.test, self._out.metrics]
        self._stamps.result(self._all_folds).write(outputs)
        low, high = metrics["oof_interval_95"]
        say(
            f"{self._title}: OOF {metrics['metric']} {metrics['oof_score']:.4f} "
            f"[{low:.4f}, {high:.4f}] over {len(self._all_folds)} folds, {seconds:.0f} s "
            f"-> {self._out.experiment_dir}"
        )


def train_all(runs: Sequence[ExperimentRun], only_folds: Sequence[int]) -> None:
    """Train the folds of several experiments that aren't up to date; gather each one's results.

    Any number of commands over one folder share the work: each takes the next fold that no other
    one is at, of whatever experiment, and waits only where there is none.

    Args:
        runs: The experiments, checked.
        only_folds: The folds; empty for all.
    """
    waiting = {number: run.wanted(only_folds) for number, run in enumerate(runs)}
    while waiting:
        for number in [number for number, folds in waiting.items() if not folds]:
            del waiting[number]
            runs[number].finish()
        jobs = {
            lock: (number, fold, what)
            for number, folds in waiting.items()
            for fold in folds
            for lock, what in [runs[number].lock(fold)]
        }
        if jobs:
            wanted = {lock: what for lock, (_, _, what) in jobs.items()}
            with processes.first_held_by_main(wanted) as lock:
                number, fold, _ = jobs[lock]
                runs[number].train_fold(fold, len(waiting[number]))
            waiting[number].remove(fold)


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
