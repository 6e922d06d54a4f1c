"""Search for better values of an experiment's configuration, scored out of fold."""

import re
import time
from dataclasses import dataclass, field

from optuna.study import Study

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_search
from pipeline.config.search_space import SearchSpace
from pipeline.config.strict import NAME_PATTERN, toml_text
from pipeline.console import result, say
from pipeline.data.training_table import load_tables, warn_of_unreadable
from pipeline.errors import ConfigError
from pipeline.machine import num_processes
from pipeline.reports.tuning_figures import best_trials, save_pictures, trials_table
from pipeline.store.atomic import write_text
from pipeline.store.freshness import Stamp
from pipeline.store.locks import held
from pipeline.store.paths import Paths
from pipeline.store.tables import held_out, write_table
from pipeline.training.device import pick_device
from pipeline.training.experiment_run import ExperimentRun
from pipeline.training.fold_jobs import train_in_pool
from pipeline.training.fold_stamps import check_unseen
from pipeline.training.prepare_network import check_trainable
from pipeline.training.processes import settle_environment
from pipeline.training.ray_cluster import PoolOptions
from pipeline.tuning.samplers import SAMPLERS
from pipeline.tuning.search import Search, finite_space
from pipeline.tuning.search_result import SearchResult, format_result, select_best_trial
from pipeline.tuning.study import open_study
from pipeline.tuning.trials import count_taken
from pipeline.tuning.worker import Limits, deal_workers, run_worker, run_workers


@dataclass(frozen=True)
class Options:
    """The options of a search.

    Attributes:
        num_trials: Trials of the study in the end, earlier commands' included.
        timeout: Seconds after which no trial is begun; None for no such limit.
        num_workers: Processes that run trials side by side.
        storage: The URL of a database; None for a journal file.
        study: Its name; None for one by the experiment and all that decides a trial's score.
        sampler: A key of SAMPLERS.
        pool: What several workers at once run on, instead of processes of this machine's cores.
    """

    num_trials: int = 50
    timeout: float | None = None
    num_workers: int = 1
    storage: str | None = None
    study: str | None = None
    sampler: str = "tpe"
    pool: PoolOptions = field(default_factory=PoolOptions)

    def as_typed(self, experiment: str, overrides: list[str]) -> list[str]:
        """Return the words that decide what is searched, without those for where and how long.

        A database's URL may hold a password.
        """
        words = ["--experiment", experiment]
        words += [word for override in overrides for word in ("--set", override)]
        return words + ["--sampler", self.sampler] * (self.sampler != Options.sampler)


def run(
    paths: Paths,
    competition: Competition,
    experiment_name: str | None,
    overrides: list[str],
    options: Options,
) -> None:
    """Run trials until the study has enough; train the experiment with the best one's values.

    Reads data/COMPETITION/train.csv, test.csv and images, folds/COMPETITION.csv.

    Writes artifacts/COMPETITION/.studies, and EXPERIMENT-tuned: what train writes, best.toml,
    trials.csv and pictures; prints the best trials and the gain.

    Fails if the experiment has no table [tune] or an option is impossible (ConfigError), the tables
    are missing or don't belong together (DataError), weights can't be had, no trial went through or
    the database doesn't answer (ArtifactError), or Ctrl-C stopped it, with the study kept
    (StoppedError).
    """
    search = _search(paths, competition, experiment_name, overrides, options)
    warn_of_unreadable(search.tables.test)
    until = time.time() + options.timeout if options.timeout is not None else float("inf")
    limits = Limits(options.num_trials, until)
    if options.pool.can_deal("Searching in one process"):
        deal_workers(search, limits, options.pool)
    elif options.num_workers > 1:
        run_workers(search, limits, options.num_workers)
    else:
        run_worker(search, limits)
    # Another command may still run a trial of this study. Whoever ends last selects among all of
    # them, and nobody writes a result that is older than the one that stands.
    with held(paths.tuned_lock(search.experiment.name), search.title):
        study = open_study(search)
        _say_why_it_ended(search, study, limits)
        found = select_best_trial(study, search)
        tuned = ExperimentRun(paths, competition, found.tuned, search.tables)
        train_in_pool([tuned], [], options.pool)
        name = experiment_name or search.experiment.name
        _report(search, study, found, options.as_typed(name, overrides))


def _search(
    paths: Paths,
    competition: Competition,
    experiment_name: str | None,
    overrides: list[str],
    options: Options,
) -> Search:
    settle_environment()
    if num_processes() > 1:
        raise ConfigError(
            "tune: must run in one process, which starts its own workers, runs in "
            f"{num_processes()}; start it without accelerate launch, with --workers"
        )
    _check_pool(options)
    if options.sampler not in SAMPLERS:
        raise ConfigError(f"--sampler {options.sampler}: must be one of {', '.join(SAMPLERS)}")
    if options.study is not None and not re.match(NAME_PATTERN, options.study):
        raise ConfigError(
            f"--study {options.study}: must be letters, digits, '.', '_' and '-', beginning with "
            "a letter or digit: it names a file in .studies; choose another"
        )
    device = "cuda" if pick_device().type == "cuda" else "cpu"
    name = experiment_name or getattr(competition.experiments, device)[0]
    experiment, space = load_search(name, overrides)
    if not space.parameters:
        raise ConfigError(
            f"experiment '{experiment.name}': must have a table [tune] of what may change, has "
            "none; docs/tuning.md shows how"
        )
    check_trainable(experiment, competition.num_classes)
    _check_used(experiment, space)
    tables = load_tables(paths)
    all_folds = sorted(set(held_out(tables.folds)["fold"]))
    check_unseen(paths, experiment.model, tables.folds, all_folds)
    return Search(
        paths,
        competition,
        experiment,
        space,
        tables,
        sampler=options.sampler,
        url=options.storage,
        asked_name=options.study,
    )


def _check_pool(options: Options) -> None:
    """Refuse workers of two kinds, and those of several machines over a journal of one."""
    if options.pool.is_wanted and options.num_workers > 1:
        raise ConfigError(
            f"--workers: must be left out beside --gpus and --ray, which have a worker on each "
            f"GPU, is {options.num_workers}; --per-gpu has more of them"
        )
    if options.pool.address and options.storage is None:
        raise ConfigError(
            f"--ray {options.pool.address}: must be given with --storage, as the machines of a "
            "cluster share a study in a database alone; add it, or use --gpus on this machine"
        )


def _check_used(experiment: Experiment, space: SearchSpace) -> None:
    """Refuse to search values that no trial would use."""
    if "method" in space.parameters or "train.init_head" in space.parameters:
        return
    unused = [key for key in space.parameters if key.startswith(f"{experiment.unused_table}.")]
    if unused:
        raise ConfigError(
            f"experiment '{experiment.name}': [tune] must change what decides a score, "
            f"'{unused[0]}' doesn't where method = \"{experiment.method}\"; remove it, or change "
            "the method"
        )


def _say_why_it_ended(search: Search, study: Study, limits: Limits) -> None:
    """Say why there are fewer trials than were wanted."""
    num_trials, space = count_taken(study), finite_space(search)
    if num_trials >= limits.num_trials:
        return
    if space is not None and space.is_exhausted(study):
        say(f"{search.title}: all {space.num_points} points of [tune] were tried")
    elif time.time() > limits.until:
        say(
            f"{search.title}: the time of --timeout is over, {num_trials} of {limits.num_trials} "
            "trials were begun; the same command goes on"
        )


def _report(search: Search, study: Study, found: SearchResult, typed: list[str]) -> None:
    """Write best.toml, pictures and table of the trials where they changed; print the result."""
    out = search.paths.experiment(found.tuned.name)
    trials = trials_table(study)
    shown = {
        "study": search.study_name,
        "metric": search.competition.metric,
        "num_trials": len(trials),
        "typed": typed,
    }
    stamp = Stamp(out.tuning_stamp, shown)
    if stamp.is_fresh():
        say(f"{search.title}: up to date")
    else:
        write_text(out.best_toml, toml_text(found.tuned.as_given()))
        write_table(trials, out.trials)
        pictures = save_pictures(study, out.tuning_picture)
        stamp.write([out.best_toml, out.trials, *pictures])
    result(best_trials(study, search.competition.metric))
    result(format_result(found, search, len(trials)))
    say(f"{search.title}: -> {out.best_toml}")
