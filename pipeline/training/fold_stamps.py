"""Tell which folds of an experiment are trained, by all that went into them."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.data.training_table import Tables
from pipeline.models.weights_source import weights_digest
from pipeline.store.freshness import Stamp, digest
from pipeline.store.paths import ExperimentPaths, Paths


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
        config = self._experiment.model_dump(mode="json", exclude={"description"})
        config["train"].pop("save_minutes")  # doesn't change the result, either
        inputs: dict[str, Any] = {
            "config": config,
            "weights": self._weights_digest,
            "classes": list(self._competition.classes),
        }
        return Stamp(self._out.fold(fold).stamp, inputs | self._tables.digests)

    def result(self, folds: Sequence[int]) -> Stamp:
        """Return the stamp of what was pooled from these folds."""
        stamps = {str(fold): digest(self._out.fold(fold).stamp) for fold in folds}
        return Stamp(self._out.stamp, {"folds": stamps})

    @cached_property
    def _weights_digest(self) -> str:
        return weights_digest(self._experiment.model)
