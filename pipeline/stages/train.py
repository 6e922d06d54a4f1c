"""Train experiments over the folds."""

from collections import Counter

from pipeline.config.competition import Competition
from pipeline.config.experiment_files import load_experiments
from pipeline.data.training_table import load_tables, warn_of_unreadable
from pipeline.errors import ConfigError
from pipeline.store.paths import Paths
from pipeline.store.tables import held_out
from pipeline.training import processes
from pipeline.training.device import pick_device
from pipeline.training.experiment_run import ExperimentRun
from pipeline.training.fold_jobs import train_in_pool
from pipeline.training.processes import settle_environment
from pipeline.training.ray_cluster import PoolOptions


def run(
    paths: Paths,
    competition: Competition,
    experiment_names: list[str],
    only_folds: list[int],
    overrides: list[str],
    pool: PoolOptions | None = None,
) -> None:
    """Train every named experiment, or the competition's defaults for this device.

    All of them are checked before the first is trained. Several commands over one root share the
    folds among them, and so do the jobs of one command on several GPUs or machines.

    Reads data/COMPETITION/train.csv, test.csv and images, folds/COMPETITION.csv.

    Writes artifacts/COMPETITION/EXPERIMENT: oof.npz, test.npz, metrics.json, config.json, and
    checkpoint and history of each fold.

    Fails if an experiment, an override or a fold number is impossible (ConfigError), the tables are
    missing or don't belong together (DataError), weights aren't installed or cached files are
    damaged (ArtifactError), or Ctrl-C stopped it, with the unfinished training saved
    (StoppedError).
    """
    settle_environment()
    device = "cuda" if pick_device().type == "cuda" else "cpu"
    names = experiment_names or getattr(competition.experiments, device)
    experiments = [one for name in names for one in load_experiments(name, overrides)]
    name, count = Counter(one.name for one in experiments).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"experiment '{name}': every experiment must have a name of its own, {count} have "
            "this one; name one with --experiment, or rename a file"
        )
    tables = load_tables(paths)
    unknown = sorted(set(only_folds) - set(held_out(tables.folds)["fold"]))
    if unknown:
        highest = tables.folds["fold"].max()
        raise ConfigError(
            f"--fold {unknown[0]}: must be a fold of {paths.folds_csv}, 0 to {highest}"
        )
    warn_of_unreadable(tables.test)
    runs = [ExperimentRun(paths, competition, experiment, tables) for experiment in experiments]
    for one in runs:
        one.check(only_folds)
    train_in_pool(runs, only_folds, pool or PoolOptions())
    processes.disconnect()
