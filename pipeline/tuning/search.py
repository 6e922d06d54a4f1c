"""Define a search: the experiment, its space, the data, and where the study is kept."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.search_space import SearchSpace
from pipeline.data.training_table import Tables
from pipeline.models.weights_source import weights_digest
from pipeline.store.freshness import fingerprint
from pipeline.store.paths import Paths

SamplerName = Literal["tpe", "gp", "random"]


@dataclass(frozen=True)
class Search:
    """All that a worker needs to know of a search.

    Attributes:
        paths: The competition's files.
        competition: Its classes and metric.
        experiment: The experiment to improve, as it stands.
        space: The values that may change.
        tables: The images and their folds.
        sampler: A key of SAMPLERS.
        url: The database that keeps the study; None for a journal file.
        asked_name: The study's name, where the user gave one.
    """

    paths: Paths
    competition: Competition
    experiment: Experiment
    space: SearchSpace
    tables: Tables
    sampler: SamplerName = "tpe"
    url: str | None = None
    asked_name: str | None = None

    @cached_property
    def identity(self) -> str:
        """Hash all that decides a trial's score, so that scores of one study can be compared."""
        space = {key: one.model_dump(mode="json") for key, one in self.space.parameters.items()}
        experiment = self.experiment.as_given()
        experiment.pop("description")
        return fingerprint(
            {
                "experiment": experiment,
                "space": space,
                "weights": weights_digest(self.experiment.model),
                "classes": list(self.competition.classes),
                "metric": self.competition.metric,
                "tables": self.tables.digests,
            }
        )

    @property
    def study_name(self) -> str:
        """The study's name: by default, other data or another space make another one."""
        return self.asked_name or f"{self.experiment.name}-{self.identity[:8]}"

    @property
    def title(self) -> str:
        """The beginning of lines about the search."""
        return f"tune {self.competition.name} {self.experiment.name}"
