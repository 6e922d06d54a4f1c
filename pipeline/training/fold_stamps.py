"""Tell which folds of an experiment are trained, by all that went into them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.console import say
from pipeline.data.training_table import Tables
from pipeline.models.weights_source import weights_digest
from pipeline.store.freshness import Stamp, digest, read_stamp
from pipeline.store.paths import ExperimentPaths, Paths

# With other values of these, an unfinished training goes on.
GOES_ON = {f"config.train.{key}" for key in ("stop_after", "keep", "measure_train", "epochs")}


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
        return Stamp(self._out.fold(fold).stamp, inputs | self._tables.digests)

    def settings(self, fold: int) -> dict[str, Any]:
        """List by dotted keys all that decides the steps of a fold's training, whatever is kept."""
        settings = flat_settings(self.fold(fold).inputs)
        return {key: one for key, one in settings.items() if key not in GOES_ON}

    def tell_why_anew(self, fold: int) -> None:
        """Say that a finished training is replaced, and why it can't go on."""
        files, experiment = self._out.fold(fold), self._experiment
        recorded = read_stamp(files.stamp)
        if recorded is None or files.training_state.is_file() or experiment.method != "finetune":
            return
        before, now = flat_settings(recorded["inputs"]), flat_settings(self.fold(fold).inputs)
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
