"""Train experiments over the folds."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.atomic import write_text
from pipeline.competition import Competition
from pipeline.config import Experiment, load_experiment
from pipeline.console import say
from pipeline.errors import ConfigError
from pipeline.freshness import Stamp, digest, file_sha256
from pipeline.locks import held
from pipeline.paths import ExperimentPaths, FoldPaths, Paths
from pipeline.predictions import FloatArray, Predictions, load_predictions
from pipeline.priors import fill_with_prior, is_readable, warn_of_unreadable
from pipeline.reproducibility import environment
from pipeline.scoring.oof import assemble_oof, describe_oof, targets_of
from pipeline.tables import load_test, write_table
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.device import describe_device, pick_device
from pipeline.training_table import load_training_table

if TYPE_CHECKING:
    from pipeline.training.finetune import Finetune
    from pipeline.training.probe import Probe


def run(
    paths: Paths,
    competition: Competition,
    experiment_names: list[str],
    only_folds: list[int],
    overrides: list[str],
) -> None:
    """Train every named experiment, or the competition's defaults for this device.

    Raises:
        ConfigError: An experiment, an override or a fold number is impossible.
        DataError: The tables are missing or don't belong together.
        ArtifactError: Weights aren't installed, or cached files are damaged.
    """
    device = "cuda" if pick_device().type == "cuda" else "cpu"
    names = experiment_names or getattr(competition.experiments, device)
    experiments = [load_experiment(name, overrides) for name in names]
    repeated = [name for name, count in Counter(e.name for e in experiments).items() if count > 1]
    if repeated:
        raise ConfigError(
            f"experiment '{repeated[0]}': every experiment must have a name of its own, several "
            "have this one; name one with --experiment, or rename a file"
        )
    inputs = _load_inputs(paths)
    unknown = sorted(set(only_folds) - set(inputs.folds["fold"]))
    if unknown:
        highest = inputs.folds["fold"].max()
        raise ConfigError(
            f"--fold {unknown[0]}: must be a fold of {paths.folds_csv}, 0 to {highest}"
        )
    warn_of_unreadable(inputs.test)
    for experiment in experiments:
        _Training(paths, competition, experiment, inputs).run(only_folds)


@dataclass(frozen=True)
class _Inputs:
    """The tables that every experiment reads, and the digest of their content."""

    train: pd.DataFrame
    test: pd.DataFrame
    folds: pd.DataFrame
    digests: dict[str, str]


def _load_inputs(paths: Paths) -> _Inputs:
    train, folds = load_training_table(paths)
    test = load_test(paths)
    files = {"train": paths.train_csv, "test": paths.test_csv, "folds": paths.folds_csv}
    return _Inputs(train, test, folds, {name: file_sha256(path) for name, path in files.items()})


def _cut(inputs: _Inputs, limit: int | None) -> _Inputs:
    """Keep so many train and test images, level in folds and classes; all without a limit."""
    if limit is None:
        return inputs
    rank = inputs.folds.groupby(["fold", "label"]).cumcount()
    rows = np.sort(np.argsort(rank.to_numpy(), kind="stable")[:limit])
    train, folds = (
        table.iloc[rows].reset_index(drop=True) for table in (inputs.train, inputs.folds)
    )
    return _Inputs(train, inputs.test.head(limit), folds, inputs.digests)


class _Training:
    """One experiment's way through its folds."""

    def __init__(
        self, paths: Paths, competition: Competition, experiment: Experiment, inputs: _Inputs
    ) -> None:
        self._paths = paths
        self._competition = competition
        self._experiment = experiment
        self._inputs = inputs = _cut(inputs, experiment.data.limit)
        self._title = f"train {competition.name} {experiment.name}"
        self._out: ExperimentPaths = paths.experiment(experiment.name)
        self._targets = targets_of(competition, inputs.train)
        self._all_folds = sorted(inputs.folds["fold"].unique().tolist())

    def run(self, only_folds: list[int]) -> None:
        """Train what isn't up to date; gather the results once every fold is there."""
        start = time.monotonic()
        todo = [fold for fold in only_folds or self._all_folds if not self._is_fresh(fold)]
        if todo:
            self._out.stamp.unlink(missing_ok=True)  # the gathered results are the old folds'
            self._write_config()
        for fold in todo:
            with held(self._out.fold(fold).lock, f"{self._title} fold {fold}"):
                if not self._is_fresh(fold):  # another process may have just done it
                    self._train_fold(fold)
        lacking = [fold for fold in self._all_folds if not self._is_fresh(fold)]
        if lacking:
            say(f"{self._title}: folds {', '.join(map(str, lacking))} are still to be trained")
        elif not todo and self._result_stamp().is_fresh():
            say(f"{self._title}: up to date")
        else:
            self._gather(time.monotonic() - start)

    @cached_property
    def _method(self) -> "Probe | Finetune":
        """What fits folds; made when the first fold needs it, as a probe computes its features.

        Imported here, too: a run that is up to date shouldn't wait for the networks' libraries.
        """
        from pipeline.training.finetune import Finetune
        from pipeline.training.probe import Probe

        method = Probe if self._experiment.method == "probe" else Finetune
        return method(
            self._paths,
            self._experiment,
            self._inputs.train,
            self._targets,
            self._competition.num_classes,
            self._inputs.test[is_readable(self._inputs.test)],
        )

    def _fold_stamp(self, fold: int) -> Stamp:
        config = self._experiment.model_dump(mode="json", exclude={"description"})
        inputs = {"config": config, "classes": list(self._competition.classes)}
        return Stamp(self._out.fold(fold).stamp, inputs | self._inputs.digests)

    def _is_fresh(self, fold: int) -> bool:
        return self._fold_stamp(fold).is_fresh()

    def _result_stamp(self) -> Stamp:
        stamps = {str(fold): digest(self._out.fold(fold).stamp) for fold in self._all_folds}
        return Stamp(self._out.stamp, {"folds": stamps})

    def _write_config(self) -> None:
        record = environment() | {"device": describe_device(pick_device())}
        for path, content in (
            (self._out.config, self._experiment.model_dump(mode="json")),
            (self._out.environment, record),
        ):
            write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def _train_fold(self, fold: int) -> None:
        method = self._method
        start = time.monotonic()
        is_val = (self._inputs.folds["fold"] == fold).to_numpy()
        result = method.fit_fold(fold, is_val)
        files: FoldPaths = self._out.fold(fold)
        save_checkpoint(files.checkpoint, result.weights)
        seconds = round(time.monotonic() - start, 3)
        write_table(result.history.assign(seconds=seconds), files.history)
        val_ids = self._inputs.folds.loc[is_val, "image_id"].tolist()
        self._predictions(val_ids, result.val_probs).save(files.oof)
        test_probs = fill_with_prior(result.test_probs, self._inputs.test, self._targets)
        self._predictions(self._inputs.test["image_id"].tolist(), test_probs).save(files.test)
        self._fold_stamp(fold).write([files.checkpoint, files.history, files.oof, files.test])
        last = result.history.iloc[-1]
        say(
            f"{self._title}: fold {fold} of {len(self._all_folds)}: val accuracy "
            f"{last['val_accuracy']:.4f}, loss {last['val_loss']:.4f}, {seconds:.1f} s"
        )

    def _predictions(self, image_ids: list[str], probs: FloatArray) -> Predictions:
        names = list(self._competition.classes)
        return Predictions(image_ids, probs, names, self._inputs.digests["folds"])

    def _gather(self, seconds: float) -> None:
        """Pool the folds' predictions into the experiment's, and score them."""
        again = f"pipeline train {self._competition.name} --experiment {self._experiment.name}"
        test_ids = self._inputs.test["image_id"].tolist()
        fold_probs, test_probs = {}, []
        for fold in self._all_folds:
            files = self._out.fold(fold)
            rows = self._inputs.folds.loc[self._inputs.folds["fold"] == fold, "image_id"].tolist()
            fold_probs[fold] = load_predictions(files.oof, again).reordered(rows, str(files.oof))
            test = load_predictions(files.test, again)
            test_probs.append(test.reordered(test_ids, str(files.test)))
        oof_probs = assemble_oof(fold_probs, self._inputs.folds)
        image_ids = self._inputs.folds["image_id"].tolist()
        self._predictions(image_ids, oof_probs).save(self._out.oof)
        mean_probs: FloatArray = np.mean(test_probs, axis=0, dtype=np.float32)
        self._predictions(test_ids, mean_probs).save(self._out.test)
        metrics: dict[str, Any] = describe_oof(self._competition, self._inputs.folds, oof_probs)
        metrics["seconds"] = round(seconds, 1)
        write_text(self._out.metrics, json.dumps(metrics, indent=2) + "\n")
        self._result_stamp().write([self._out.oof, self._out.test, self._out.metrics])
        low, high = metrics["oof_interval_95"]
        say(
            f"{self._title}: OOF {metrics['metric']} {metrics['oof_score']:.4f} "
            f"[{low:.4f}, {high:.4f}] over {len(self._all_folds)} folds, {seconds:.0f} s "
            f"-> {self._out.experiment_dir}"
        )
