"""Compare augmentation recipes by training an experiment with each of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.ablation.ablation_summary import AblationResult, Row, analyse
from pipeline.ablation.trainings import AblationTrainings, read_recipes, recipe_variants
from pipeline.config.competition import Competition
from pipeline.config.experiment_files import load_experiment
from pipeline.console import result, say
from pipeline.data.training_table import load_tables, warn_of_unreadable
from pipeline.errors import ConfigError
from pipeline.machine import num_processes
from pipeline.reports.ablation_figures import (
    comparison_table,
    format_verdicts,
    numbers_table,
    save_pictures,
)
from pipeline.store.atomic import write_text
from pipeline.store.freshness import Stamp
from pipeline.store.paths import AblationPaths, Paths
from pipeline.store.tables import write_table
from pipeline.training.processes import settle_environment
from pipeline.training.ray_cluster import PoolOptions


@dataclass(frozen=True)
class Options:
    """What is compared.

    Attributes:
        experiment: Its name.
        recipes: Names with commas between them.
        num_seeds: Trainings of each.
        overrides: Changed values of the experiment.
        pool: What several trainings at once run on.
    """

    experiment: str
    recipes: str
    num_seeds: int
    overrides: Sequence[str] = ()
    pool: PoolOptions = field(default_factory=PoolOptions)


def run(paths: Paths, competition: Competition, options: Options) -> None:
    """Train what isn't up to date, and compare the recipes with the first one.

    Reads data/COMPETITION/train.csv, test.csv and images, folds/COMPETITION.csv.

    Writes artifacts/COMPETITION/ablations/EXPERIMENT: the trainings, ablation.json and .csv,
    curves.csv and pictures; prints tables and a verdict per recipe.

    Fails if the experiment, a recipe or an override is impossible (ConfigError), the tables are
    missing or don't belong together (DataError), weights can't be had or a file is damaged
    (ArtifactError), or Ctrl-C stopped it, with the unfinished training saved (StoppedError).
    """
    settle_environment()
    if num_processes() > 1:
        raise ConfigError(
            f"ablate: must run in one process, runs in {num_processes()}; start it without "
            "accelerate launch"
        )
    competition.check_by_class("ablate")
    experiment = load_experiment(options.experiment, list(options.overrides))
    recipes, num_seeds = read_recipes(options.recipes), options.num_seeds
    experiments = recipe_variants(experiment, recipes, num_seeds)
    tables = load_tables(paths)
    warn_of_unreadable(tables.test)
    title = f"ablate {competition.name} {experiment.name}"
    out = paths.ablation(experiment.name)
    trainings = AblationTrainings(paths, competition, out, experiments, tables)
    trained = trainings.train(options.pool)
    inputs = {"recipes": recipes, "trainings": trained, "metric": competition.scoring}
    stamp = Stamp(out.stamp, inputs)
    if stamp.is_fresh():
        say(f"{title}: up to date")
    else:
        say(f"{title}: measures {len(recipes) * num_seeds} trainings")
        by_recipe = {recipe: trainings.load_results(recipe) for recipe in recipes}
        ablation = analyse(
            by_recipe, trainings.targets, trainings.folds, competition.metric, trainings.groups
        )
        record = {
            "metric": competition.metric,
            "num_images": len(trainings.targets),
            "num_folds": len(set(trainings.folds.tolist())),
            "num_seeds": num_seeds,
            "recipes": ablation.rows,
        }
        stamp.write(_write(out, competition, ablation, record))
    rows: list[Row] = json.loads(out.record.read_text(encoding="utf-8"))["recipes"]
    result(comparison_table(rows, competition.metric))
    result(numbers_table(rows))
    for verdict in format_verdicts(rows, competition.metric):
        result(verdict)
    say(f"{title}: -> {out.ablation_dir}")


def _write(
    out: AblationPaths,
    competition: Competition,
    ablation: AblationResult,
    record: Mapping[str, Any],
) -> list[Path]:
    write_text(out.record, json.dumps(record, indent=2) + "\n")
    write_table(pd.DataFrame(ablation.rows), out.table)
    write_table(ablation.points, out.curves)
    pictures = save_pictures(ablation, competition, out.picture)
    return [out.record, out.table, out.curves, *pictures]
