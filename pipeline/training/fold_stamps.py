"""Tell by what went into a training which folds are trained, and which weights have seen too much.

A fold is stale once its settings, weights, classes or tables change. Weights that were learned from
a fold's held-out images are refused: its scores would flatter.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.config.experiment import WEIGHTS_SOURCES, Experiment, ModelConfig
from pipeline.console import say
from pipeline.data.training_table import Tables
from pipeline.errors import ConfigError, PipelineError
from pipeline.models.weights_source import find_weights_file, weights_digest
from pipeline.store.freshness import Stamp, digest, file_sha256, read_stamp
from pipeline.store.paths import ExperimentPaths, FoldPaths, Paths
from pipeline.store.predictions import load_predictions

# With other values of these, an unfinished training goes on.
GOES_ON = {
    f"config.train.{key}"
    for key in ("stop_after", "keep", "measure_train", "validate_every", "epochs")
}


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        is_table = isinstance(value, Mapping)
        flat |= flat_settings(value, f"{prefix}{key}.") if is_table else {prefix + key: value}
    return flat


class FoldStamps:
    """The stamps of an experiment's folds and of its pooled results.

    Args:
        paths: The competition's files.
        competition: Its classes.
        experiment: How to train.
        tables: The images and their folds.
        out: Where the experiment's files go.
    """

    def __init__(
        self,
        paths: Paths,
        competition: Competition,
        experiment: Experiment,
        tables: Tables,
        out: ExperimentPaths,
    ) -> None:
        self._paths = paths
        self._competition = competition
        self._experiment = experiment
        self._tables = tables
        self._out = out

    def fold(self, fold: int) -> Stamp:
        """Return the stamp of a fold: settings, weights, classes and tables.

        Raises:
            ConfigError: There is no such file of weights, or no package for this network.
            ArtifactError: The package isn't installed.
        """
        config = self._experiment.as_given()
        config.pop("description")
        config["train"].pop("save_minutes")  # doesn't change the result, either
        inputs: dict[str, Any] = {
            "config": config,
            "weights": self._weights_digest,
            "classes": list(self._competition.classes),
        }
        train = self._experiment.train
        if self._experiment.method == "finetune" and (train.keep == "best" or train.stop_after):
            inputs["metric"] = self._competition.scoring  # what chose the epoch
        if self._competition.is_number:
            inputs["range"] = list(self._competition.range)
        return Stamp(self._out.fold(fold).stamp, inputs | self._tables.digests)

    def settings(self, fold: int) -> dict[str, Any]:
        """List by dotted keys all that decides the steps of a fold's training, whatever is kept."""
        settings = flat_settings(self.fold(fold).inputs)
        settings["metric"] = self._competition.scoring  # `keep` may change on the way
        return {key: one for key, one in settings.items() if key not in GOES_ON}

    def tell_why_anew(self, fold: int) -> None:
        """Say that a finished training is replaced, and why it can't go on."""
        files, experiment = self._out.fold(fold), self._experiment
        recorded = read_stamp(files.stamp)
        if recorded is None or files.training_state.is_file() or experiment.method != "finetune":
            return
        before, now = flat_settings(recorded["inputs"]), flat_settings(self.fold(fold).inputs)
        before.setdefault("metric", self._competition.scoring)  # `keep` asks for it, or doesn't
        changed = [key for key in now if before.get(key) != now[key]]
        others = [key for key in changed if key not in GOES_ON]
        names = ", ".join(key.removeprefix("config.") for key in (others or changed)[:3])
        schedule = experiment.train.schedule
        if others:
            say(f"fold {fold}: replaces the training of other settings ({names})")
        elif changed and not schedule.is_lengthened:
            say(
                f"fold {fold}: is finished and can't go on with another {names}, as the schedule "
                f"'{schedule.name}' has ended; training from the start"
            )

    def result(self, folds: Sequence[int]) -> Stamp:
        """Return the stamp of what was pooled from these folds."""
        stamps = {str(fold): digest(self._out.fold(fold).stamp) for fold in folds}
        return Stamp(self._out.stamp, {"folds": stamps})

    @cached_property
    def _weights_digest(self) -> str:
        return weights_digest(self._experiment.model)


def check_unseen(
    paths: Paths, config: ModelConfig, fold_table: pd.DataFrame, folds: Sequence[int]
) -> None:
    """Refuse a checkpoint of this competition that has learned from a fold's held-out images.

    A checkpoint is known by its tensors, wherever the file lies and whatever wrote them again, and
    by the fold's folder that it lies in, of another root, too; what it hasn't seen, by the
    out-of-fold predictions there.

    Args:
        paths: The competition's files.
        config: The network and its weights.
        fold_table: The fold of every image, `image_id` and `fold`.
        folds: Those to train.

    Raises:
        ConfigError: It has: out-of-fold scores would flatter.
    """
    if config.weights in WEIGHTS_SOURCES:
        return
    origin = _find_origin(paths, find_weights_file(config.weights), set(fold_table["image_id"]))
    if origin is None:
        return
    unseen = _held_out_ids(origin)
    for fold in folds:
        held_out = set(fold_table.loc[fold_table["fold"] == fold, "image_id"])
        if not held_out <= unseen:
            raise ConfigError(
                f"model.weights: must not have learned from the images of fold {fold}, on which "
                f"they would be scored; '{config.weights}' is the checkpoint of "
                f"{'/'.join(origin.fold_dir.parts[-2:])}, which has; "
                "use weights from before this competition"
            )


def _find_origin(paths: Paths, file: Path, image_ids: set[str]) -> FoldPaths | None:
    """Find the fold that a file belongs to, is a checkpoint of, or a copy of one."""
    beside = FoldPaths(file.resolve().parent)
    if paths.artifacts_dir.resolve() in beside.fold_dir.parents or (
        beside.stamp.is_file() and _held_out_ids(beside) & image_ids  # of another root
    ):
        return beside
    num_bytes = file.stat().st_size
    candidates = sorted(paths.artifacts_dir.glob("**/fold*/*.safetensors"))
    alike = [one for one in candidates if one.stat().st_size == num_bytes]
    sha256 = file_sha256(file) if alike else ""
    found = [one for one in alike if file_sha256(one) == sha256] or _rewritten(file, candidates)
    return FoldPaths(found[0].parent) if found else None


def _rewritten(file: Path, checkpoints: Sequence[Path]) -> list[Path]:
    """List the checkpoints whose tensors a file has that other code wrote, rounded as it did."""
    if not checkpoints:
        return []
    import torch
    from safetensors import safe_open

    from pipeline.models.tensors import read_tensors, strip_prefixes

    stored = read_tensors(file, "save the state dict alone, best as .safetensors")

    def has_all_of(path: Path) -> bool:
        with safe_open(path, framework="pt") as learned:
            names = list(learned.keys())
            given, _ = strip_prefixes(stored, names)
            return given.keys() >= set(names) and all(
                torch.equal(learned.get_tensor(name).to(given[name].dtype), given[name])
                for name in names
            )

    return [path for path in checkpoints if has_all_of(path)]


def _held_out_ids(fold: FoldPaths) -> set[str]:
    """Return the images that a fold's checkpoint didn't learn from; none where nothing says so."""
    try:
        return set(load_predictions(fold.oof, "pipeline train").image_ids)
    except PipelineError:
        return set()
