"""Define a search: the experiment, its space, the data, and where the study is kept.

Of a finite space it counts what is left, so that no trial repeats another's values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from optuna.study import Study

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.search_space import Parameter, Plain, SearchSpace, takes_part
from pipeline.data.training_table import Tables
from pipeline.models.weights_source import weights_digest
from pipeline.store.freshness import fingerprint
from pipeline.store.paths import Paths
from pipeline.tuning.trials import taken_trials

SamplerName = Literal["tpe", "gp", "random"]

Point = Mapping[str, Any]


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
                "metric": self.competition.scoring,
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


class FiniteSpace:
    """The points of a space whose parameters all have finitely many values.

    A point is a value of every parameter that takes part, by key. Points are counted, not listed:
    only parameters that are conditions of others are gone through value by value.

    Args:
        search: The experiment and its space.
        levels: The values of every parameter, in order.
    """

    def __init__(self, search: Search, levels: Mapping[str, Sequence[Plain]]) -> None:
        self._experiment = search.experiment
        self._parameters = search.space.parameters
        self._levels = levels
        self._conditions = {key for one in self._parameters.values() for key in one.when}

    @cached_property
    def num_points(self) -> int:
        """How many points there are."""
        return self._count({})

    def is_exhausted(self, study: Study) -> bool:
        """Check whether every point was tried, or is being."""
        return len(self._tried(study, own=-1)) >= self.num_points

    def nearest_untried(
        self, study: Study, trial_number: int, chosen: Point, key: str, proposed: Plain
    ) -> Plain:
        """Return the proposed value of a parameter, or the nearest that leads to an untried point.

        Args:
            study: Its trials tell what was tried.
            trial_number: The trial that asks, whose own values don't count.
            chosen: The trial's values of the parameters above.
            key: The parameter.
            proposed: One of its values; returned where all points were tried.
        """
        tried = self._tried(study, own=trial_number)
        level = self._levels[key]
        place = _place(level, proposed)
        for other in sorted(range(len(level)), key=lambda one: abs(one - place)):
            point = {**chosen, key: level[other]}
            if self._count(point) > sum(point.items() <= one.items() for one in tried):
                return level[other]
        return proposed

    def _tried(self, study: Study, own: int) -> list[dict[str, Plain]]:
        """List the points that were tried, each once."""
        found = []
        for trial in taken_trials(study):
            point = {
                key: self._levels[key][_place(self._levels[key], value)]
                for key, value in trial.params.items()
            }
            # A trial that was killed while it drew its values has no point yet.
            if trial.number != own and point not in found and self._count(point) == 1:
                found.append(point)
        return found

    def _count(self, point: Point) -> int:
        """Count the points that have these values."""

        def value_of(key: str) -> Any:
            return point[key] if key in point else self._experiment.at(key)

        num_points = 1
        for key, parameter in self._parameters.items():
            if key in point or not takes_part(parameter, value_of):
                continue
            if key in self._conditions:
                values = self._levels[key]
                return num_points * sum(self._count({**point, key: value}) for value in values)
            num_points *= len(self._levels[key])
        return num_points


def finite_space(search: Search) -> FiniteSpace | None:
    """Build the finite space of a search; None where a parameter has endlessly many values."""
    levels = {}
    for key, parameter in search.space.parameters.items():
        level = _level(parameter, is_whole=_is_whole(search, key))
        if level is None:
            return None
        levels[key] = level
    return FiniteSpace(search, levels)


def _is_whole(search: Search, key: str) -> bool:
    is_range = search.space.parameters[key].choices is None
    return is_range and search.space.is_whole(key, search.experiment)


def _level(parameter: Parameter, *, is_whole: bool) -> Sequence[Plain] | None:
    if parameter.choices is not None:
        return parameter.choices
    low, high = (float(end) for end in parameter.extremes)
    step = parameter.step or (1 if is_whole else None)
    if step is None:
        return None
    if is_whole:
        return range(int(low), int(high) + 1, int(step))
    return [low + number * step for number in range(round((high - low) / step) + 1)]


def _place(level: Sequence[Plain], value: Any) -> int:
    """Find a value among a parameter's; floats are rounded by whoever drew them."""
    if value in level:
        return level.index(value)
    distances = [abs(float(one) - value) for one in level]
    return distances.index(min(distances))
