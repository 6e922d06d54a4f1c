"""Train folds on several GPUs or machines at once: jobs of a fold each, see `job_pool`.

Machines that share the root read and write its files. One that doesn't fetches the archives by
itself, prepares them, and trains only from what is to the byte what the dealer has; the files of a
finished fold are brought back and written by the dealer.
"""

import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.strict import locate_toml
from pipeline.data.training_table import load_tables
from pipeline.errors import ArtifactError, DataError
from pipeline.store.atomic import remove, write_bytes, write_text
from pipeline.store.freshness import Stamp, digest
from pipeline.store.locks import held
from pipeline.store.paths import ExperimentPaths, Paths
from pipeline.training.experiment_run import ExperimentRun, train_all
from pipeline.training.fold_stamps import flat_settings
from pipeline.training.job_pool import JobPool
from pipeline.training.ray_cluster import Outcome, PoolOptions, node_root

MOST_NAMES = 5


@dataclass(frozen=True)
class Origin:
    """From where a machine that doesn't share the root gets its images, and its folds.

    Attributes:
        toml: The competition's file.
        source: What `download --from` is given there.
        folds: The fold table and its stamp, by their paths below the root.
    """

    toml: str
    source: str
    folds: dict[str, bytes]

    @classmethod
    def of(cls, paths: Paths, options: PoolOptions) -> "Origin | None":
        """Read what is to travel; None where the root is shared."""
        source = options.source
        if source is None:
            return None
        files = {one: one.relative_to(paths.root) for one in (paths.folds_csv, paths.folds_stamp)}
        return cls(
            locate_toml(options.competition, "competitions").read_text(encoding="utf-8"),
            source if "://" in source else str(Path(source).absolute()),
            {str(name): one.read_bytes() for one, name in files.items()},
        )

    def bring(self, paths: Paths, wanted: Mapping[str, Any]) -> None:
        """Fetch and prepare the images, unless that is done, and write the folds.

        Args:
            paths: The competition's files here.
            wanted: Digests of the tables; what is prepared already is known by them.

        Raises:
            ArtifactError: A command failed.
        """
        tables = {"train": paths.train_csv, "test": paths.test_csv}
        if any(digest(path) != wanted[name] for name, path in tables.items()):
            toml = paths.root / f"{paths.competition}.toml"
            write_text(toml, self.toml)
            for command, *options in (("download", "--from", self.source), ("prepare",)):
                _run_here(command, str(toml), "--root", str(paths.root), *options)
        for name, content in self.folds.items():
            write_bytes(paths.root / name, content)


def _run_here(*words: str) -> None:
    """Run a command of this package on a machine of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], stderr=subprocess.PIPE, text=True, check=False
    )
    sys.stderr.write(done.stderr)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise ArtifactError(
            f"'pipeline {' '.join(words)}' must succeed on {platform.node()}, doesn't: {why}"
        )


@dataclass(frozen=True)
class FoldJob:
    """A fold of an experiment, as it travels to another process or machine.

    Attributes:
        root: The dealer's, absolute.
        competition: Its classes and metric.
        experiment: How to train.
        out: Where the experiment's files go, below the root.
        fold: The fold.
        inputs: What the fold's stamp will say that it was made from.
        origin: For machines that don't share the root; None where they do.
    """

    root: Path
    competition: Competition
    experiment: Experiment
    out: Path
    fold: int
    inputs: dict[str, Any]
    origin: Origin | None = None

    max_attempts: ClassVar[int] = 3

    @property
    def title(self) -> str:
        """What to call it."""
        return f"train {self.competition.name} {self.experiment.name} fold {self.fold}"

    @property
    def log(self) -> Path:
        """What its process prints."""
        log = ExperimentPaths(self.out).log(self.fold)
        return log if self.origin else self.root / log

    @property
    def brings(self) -> Path | None:
        """The fold's files, from where the root isn't shared."""
        return ExperimentPaths(self.out).fold(self.fold).fold_dir if self.origin else None

    def run(self) -> None:
        """Train the fold.

        Raises:
            DataError: Tables, weights or versions here differ from the dealer's.
            PipelineError: As `train` does.
        """
        root = node_root() if self.origin else self.root
        paths = Paths(root, self.competition.name)
        if self.origin:
            self.origin.bring(paths, self.inputs)
        out = ExperimentPaths(root / self.out)
        run = ExperimentRun(paths, self.competition, self.experiment, load_tables(paths), out)
        wanted, found = map(flat_settings, (self.inputs, run.inputs(self.fold)))
        if others := [key for key in wanted if found.get(key) != wanted[key]]:
            names = ", ".join(others[:MOST_NAMES])
            raise DataError(
                f"{root} on {platform.node()}: must hold what the machine that deals the jobs has, "
                f"{names} differ; "
                + (
                    "give both the same archives and the same version of this package"
                    if self.origin
                    else "put --root on a folder that the machines share, or give --from"
                )
            )
        run.train_alone(self.fold)

    def take(self, outcome: Outcome) -> None:
        """Write what was brought back, the stamp last.

        Raises:
            DataError: It isn't what this fold is made from.
        """
        if self.origin is None:
            return
        out = ExperimentPaths(self.root / self.out)
        write_text(out.log(self.fold), outcome.said)
        if outcome.code:
            return
        files = out.fold(self.fold)
        for name in sorted(outcome.files, key=lambda name: name == files.stamp.name):
            write_bytes(files.fold_dir / name, outcome.files[name])
        if not Stamp(files.stamp, self.inputs).is_fresh():
            remove(files.stamp)
            raise DataError(
                f"{files.fold_dir}: must be brought back whole, and made from what is here, isn't; "
                "run the same command again"
            )


def train_in_pool(
    runs: Sequence[ExperimentRun],
    only_folds: Sequence[int],
    options: PoolOptions,
) -> None:
    """Train the folds of several experiments side by side; one by one where Ray isn't installed.

    Args:
        runs: The experiments, checked.
        only_folds: The folds; empty for all.
        options: What to train on.

    Raises:
        ConfigError: A GPU is asked for that isn't there, or several processes run this.
        PipelineError: A job's error, once the others are done.
        StoppedError: Ctrl-C; every job has saved.
    """
    if not options.can_deal("Training one after the other"):
        train_all(runs, only_folds)
        return
    with ExitStack() as locks:
        jobs = [job for run in runs for job in _jobs(run, only_folds, options, locks)]
        if jobs:
            JobPool("train", options).run(lambda _: jobs)
    for run in runs:
        run.finish()


def _jobs(
    run: ExperimentRun, only_folds: Sequence[int], options: PoolOptions, locks: ExitStack
) -> Iterator[FoldJob]:
    """Make the jobs of an experiment; folds are locked here where others see no locks of ours."""
    folds, origin = run.wanted(only_folds), Origin.of(run.paths, options)
    if origin:
        for fold in folds:
            locks.enter_context(held(*run.lock(fold)))
        folds = run.wanted(folds)
    if folds:
        run.begin()
    for fold in folds:
        yield FoldJob(**run.parts(), fold=fold, inputs=run.inputs(fold), origin=origin)
