"""Read a plan, the rungs of `run` in their order: one TOML file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiments
from pipeline.config.strict import Name, Table, Text, locate_toml, parse, read_toml
from pipeline.errors import ConfigError

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Rung(Table):
    """Experiments that are trained, and blended with those of the rungs before."""

    name: Name
    """Names its ensemble, `run-<name>`, and its submission."""

    experiments: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of shipped ones, or paths of TOML files, relative to the plan's own file; the most
    useful first, as time may be up before the last."""

    adds: Text
    """What it is expected to add, in one line."""

    seeds: tuple[Seed, ...] = ()
    """Train each with these seeds, as `<experiment>-seed<n>`; left out, with its own."""


class Plan(Table):
    """The rungs of `run`, the cheapest first."""

    name: Name
    """The file's own name where it is left out."""

    description: str = ""
    """What people should know of it."""

    rungs: Annotated[tuple[Rung, ...], Field(min_length=1)]
    """In the order in which they are climbed; the first one is begun whatever it costs."""

    @model_validator(mode="after")
    def _has_names_of_their_own(self) -> Self:
        names = [rung.name for rung in self.rungs]
        if len(set(names)) != len(names):
            raise ValueError("rungs must differ in name")
        return self


@dataclass(frozen=True)
class Job:
    """One training of a rung.

    Attributes:
        rung: Whose.
        experiment: What is trained.
        words: The options that `train` is given for it.
    """

    rung: Rung
    experiment: Experiment
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name


def load_plan(name_or_path: str) -> Plan:
    """Load a shipped plan by its name, or any by the path of its TOML file.

    Raises:
        ConfigError: There is no such plan, or its file is faulty.
    """
    path = locate_toml(name_or_path, "plans")
    plan = parse(Plan, {"name": path.stem, **read_toml(path)}, path.name)
    return plan.model_copy(update={"rungs": tuple(_located(rung, path) for rung in plan.rungs)})


def _located(rung: Rung, plan: Path) -> Rung:
    names = rung.experiments
    places = (str(plan.parent / name) if name.endswith(".toml") else name for name in names)
    return rung.model_copy(update={"experiments": tuple(places)})


def list_jobs(plan: Plan, competition: Competition) -> list[Job]:
    """List the trainings of all rungs, in their order, as the competition allows them.

    Raises:
        ConfigError: An experiment is impossible, is of some of the images or called as a blend, or
            two of a name differ.
    """
    jobs: list[Job] = []
    for rung in plan.rungs:
        for source in rung.experiments:
            found = load_experiments(source, [])
            if len(found) > 1 and source.endswith(".toml"):
                raise ConfigError(
                    f"{plan.name}.toml: an experiment's file must hold one, '{source}' has "
                    f"{len(found)} variants; make a file of each"
                )
            jobs += [_seeded(rung, source, one, seed) for one in found for seed in _seeds(rung)]
    jobs = [replace(job, experiment=job.experiment.allowed_by(competition)) for job in jobs]
    known: dict[str, Job] = {}  # each once, in its first rung
    taken = {"run", *(f"run-{rung.name}" for rung in plan.rungs)}
    for job in jobs:
        if job.name in taken:
            raise ConfigError(
                f"{plan.name}.toml: experiments must not be called as a blend of the run is, "
                f"'{job.name}' is; rename it"
            )
        if job.experiment.data.limit is not None:
            raise ConfigError(
                f"{plan.name}.toml: experiments must be of all images, as they are blended, "
                f"'{job.name}' is of data.limit = {job.experiment.data.limit}; leave it out"
            )
        if known.setdefault(job.name, job).experiment != job.experiment:
            raise ConfigError(
                f"{plan.name}.toml: experiments must have names of their own, two that differ are "
                f"'{job.name}'; rename one"
            )
    return list(known.values())


def _seeds(rung: Rung) -> tuple[int | None, ...]:
    return rung.seeds or (None,)


def _seeded(rung: Rung, source: str, plain: Experiment, seed: int | None) -> Job:
    # A file may hold variants; one alone is named by `<file>-<variant>`.
    if not source.endswith(".toml"):
        source = plain.name
    words = ["--experiment", source]
    if seed is None:
        return Job(rung, plain, tuple(words))
    changes = {"name": f"{plain.name}-seed{seed}", "seed": seed}
    words += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    return Job(rung, plain.changed(changes, source), tuple(words))
