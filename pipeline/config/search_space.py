"""Check the table `[tune]` of an experiment's file: the search space of its parameters."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from pipeline.config.strict import OFF, Table, did_you_mean, parse
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config.experiment import Experiment

Plain = bool | int | float | str

# Of these every trial has the experiment's own: they name it, or choose the images to score.
_FIXED = ("name", "description", "data.")


class Parameter(Table):
    """The range, or the choices, of one value of an experiment."""

    low: int | float | None = None
    """The least value, which may be tried."""

    high: int | float | None = None
    """The greatest value, which may be tried."""

    log: bool = False
    """Whether values are drawn evenly in their logarithm."""

    step: int | float | None = None
    """The distance between values; left out, any value of the range."""

    choices: tuple[Plain, ...] | None = None
    """The values to choose from, instead of a range."""

    when: dict[str, Any] = Field(default_factory=dict)
    """Other keys and the value, or a list of values, that each must have for this one to take
    part."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.choices is not None:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("must be a range or 'choices', not both")
            if len(set(self.choices)) < 2:
                raise ValueError("choices must be two at least")
            return self
        if self.low is None or self.high is None:
            raise ValueError("must have 'low' and 'high', or 'choices'")
        if self.low >= self.high:
            raise ValueError(f"low must be less than high, they are {self.low} and {self.high}")
        self._check_scale(self.low, self.high)
        return self

    def _check_scale(self, low: float, high: float) -> None:
        if self.log and (low <= 0 or self.step is not None):
            raise ValueError("where 'log' is true, low must be greater than 0, and 'step' left out")
        if self.step is not None:
            num_steps = (high - low) / self.step if self.step > 0 else 0
            if num_steps < 1 or not math.isclose(num_steps, round(num_steps), abs_tol=1e-9):
                raise ValueError(f"step must divide {low} to {high} evenly, {self.step} doesn't")

    @property
    def extremes(self) -> tuple[Plain, ...]:
        """The values that decide whether all are possible: both ends, or every choice."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether the parameter may take a value."""
        if self.choices is not None:
            return as_written(value) in self.choices
        low, high = self.extremes
        if isinstance(value, str) or value is None or not low <= value <= high:
            return False
        num_steps = (value - low) / self.step if self.step else 0.0
        return math.isclose(num_steps, round(num_steps), abs_tol=1e-9)


class SearchSpace:
    """Parameters by the dotted key of the value they change, in the order of the file.

    Args:
        parameters: A condition's key must stand before what depends on it.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = dict(parameters)

    def is_whole(self, key: str, experiment: "Experiment") -> bool:
        """Check whether a key's range is of whole numbers: TOML's 1 may mean 1.0."""
        low = self.parameters[key].low
        value = experiment.changed(self.example(key, low), "[tune]").at(key)
        return isinstance(value, int)

    def active(self, value_of: Callable[[str], Any]) -> Iterator[tuple[str, Parameter]]:
        """Walk the parameters that take part.

        Args:
            value_of: Returns a key's value; asked for keys that came before, or are fixed.
        """
        for key, parameter in self.parameters.items():
            if takes_part(parameter, value_of):
                yield key, parameter

    def baseline(self, experiment: "Experiment") -> dict[str, Any]:
        """Return the values that an experiment has where it stands, by key.

        Raises:
            ConfigError: One of them isn't in the space.
        """
        values = {}
        for key, parameter in self.active(experiment.at):
            values[key] = as_written(experiment.at(key))
            if not parameter.holds(values[key]):
                raise ConfigError(
                    f"{experiment.name}: [tune] '{key}' must hold the experiment's own value, the "
                    f"first to be tried, which is {values[key]!r}; widen it"
                )
        return values

    def example(self, key: str, value: Any) -> dict[str, Any]:
        """Return values with which a key takes part and has this value."""
        values = {key: value}
        for other, wanted in self.parameters[key].when.items():
            first = _options(wanted)[0]
            values |= self.example(other, first) if other in self.parameters else {other: first}
        return values

    def check(self, experiment: "Experiment", where: str) -> None:
        """Refuse a space with values that the experiment can't have.

        Raises:
            ConfigError: Names the key, the value and what is wrong with it.
        """
        for key, parameter in self.parameters.items():
            for value in parameter.extremes:
                experiment.changed(self.example(key, value), f"{where}: [tune]")
            step = parameter.step
            if step is not None and step != int(step) and self.is_whole(key, experiment):
                raise ConfigError(
                    f"{where}: [tune] {key}: step must be a whole number, as its values are, is "
                    f"{step}"
                )


def parse_space(table: Mapping[str, Any], known: list[str], where: str) -> SearchSpace:
    """Read the table `[tune]`.

    Args:
        table: As TOML gives it: a dotted key without quotes is a table in a table.
        known: Every key that an experiment has, its tables included.
        where: Names the file.

    Raises:
        ConfigError: A key is unknown, a range is empty or of the wrong type, or a condition stands
            below what depends on it.
    """
    parameters: dict[str, Parameter] = {}
    keys = _flattened(table, known)
    for key, fields in keys.items():
        place = f"{where}: [tune] {key}"
        if not isinstance(fields, dict):
            raise ConfigError(f"{place}: must be {{ low, high }} or {{ choices }}, is {fields!r}")
        when = _flattened(fields.get("when") or {}, known)
        for unknown in [other for other in [key, *when] if other not in known]:
            raise ConfigError(
                f"{where}: [tune] unknown key '{unknown}'{did_you_mean(unknown, known)}"
            )
        if key.startswith(_FIXED):
            raise ConfigError(
                f"{place}: must be the same in all trials, whose scores are compared; remove it"
            )
        for other in when:
            if other in keys and other not in parameters:
                raise ConfigError(f"{place}: 'when' must name keys that stand above, not '{other}'")
        parameters[key] = parse(Parameter, {**fields, "when": when}, place)
    return SearchSpace(parameters)


def _flattened(table: Mapping[str, Any], known: list[str], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested tables by dots, down to the keys of values."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        key = prefix + name
        is_table = any(other.startswith(f"{key}.") for other in known)
        if is_table and isinstance(value, dict):
            flat |= _flattened(value, known, f"{key}.")
        else:
            flat[key] = value
    return flat


def as_written(value: Any) -> Any:
    """Return a value as a file writes it: what is left out is "off"."""
    return OFF if value is None else value


def takes_part(parameter: Parameter, value_of: Callable[[str], Any]) -> bool:
    """Check whether the conditions of a parameter are met, by the value of other keys."""
    return all(
        as_written(value_of(other)) in _options(wanted) for other, wanted in parameter.when.items()
    )


def _options(wanted: Any) -> list[Any]:
    """Return the values that meet a condition."""
    return wanted if isinstance(wanted, list) else [wanted]
