"""Repeat two experiments of the ResNet paper: degradation, and the layers' responses."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from pipeline.config.competition import Competition
from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiments
from pipeline.config.strict import did_you_mean
from pipeline.console import result, say
from pipeline.data.training_table import Tables, load_tables
from pipeline.errors import ConfigError
from pipeline.reports.network_studies import draw_degradation, draw_responses
from pipeline.store.atomic import write_bytes
from pipeline.store.freshness import Stamp, digest
from pipeline.store.paths import Paths
from pipeline.store.tables import load_record, write_table
from pipeline.studies.degradation import check_measures, error_curves, family_of
from pipeline.studies.responses import layer_responses
from pipeline.training.experiment_run import ExperimentRun

DRAWINGS = {"degradation": draw_degradation, "responses": draw_responses}
FOLD = 0  # the paper trains once, and one fold tells what five would


def run(
    paths: Paths,
    competition: Competition,
    study: str,
    experiment_name: str,
    overrides: Sequence[str],
) -> None:
    """Train or measure the experiment's networks; draw the paper's figure, write its numbers.

    Raises:
        ConfigError: There is no such study, or the experiment doesn't suit it.
        DataError: The tables are missing or don't belong together.
        ArtifactError: Responses are asked for of a network that isn't trained.
        StoppedError: Ctrl-C; an unfinished training was saved.
    """
    if study not in DRAWINGS:
        hint = did_you_mean(study, DRAWINGS)
        raise ConfigError(f"study: must be one of {', '.join(DRAWINGS)}, is '{study}'{hint}")
    tables = load_tables(paths)
    experiments = load_experiments(experiment_name, list(overrides))
    names = [one.name for one in experiments]
    if len(set(names)) < len(names):
        raise ConfigError(f"--set name: must be left out for {experiment_name}, which is several")
    if study == "degradation":
        check_measures(experiments)
        _train(paths, competition, experiments, tables)
    name = Path(experiment_name).stem
    out = paths.study(name, study)
    folds = {one: digest(paths.experiment(one).fold(FOLD).stamp) for one in names}
    stamp = Stamp(out.stamp, {"folds": folds, "tables": tables.digests})
    title = f"study {study} {competition.name} {name}"
    if stamp.is_fresh():
        say(f"{title}: up to date")
    else:
        if study == "degradation":
            numbers = error_curves(paths, experiments, FOLD)
        else:
            numbers = _responses(paths, competition, names, tables)
        write_table(numbers, out.table)
        write_bytes(out.picture, DRAWINGS[study](numbers))
        stamp.write([out.table, out.picture])
    result(_summary(study, load_record(out.table)))
    say(f"{title}: -> {out.picture}")


def _train(
    paths: Paths, competition: Competition, experiments: Sequence[Experiment], tables: Tables
) -> None:
    """Train what isn't up to date, once all of it is known to be possible."""
    for one in experiments:
        ExperimentRun(paths, competition, one, tables).check([FOLD])
    for one in experiments:
        ExperimentRun(paths, competition, one, tables).train([FOLD])


def _responses(
    paths: Paths, competition: Competition, names: Sequence[str], tables: Tables
) -> pd.DataFrame:
    parts = [layer_responses(paths, competition, name, FOLD, tables) for name in names]
    table = pd.concat(parts, ignore_index=True)
    table.insert(1, "family", table["network"].map(family_of))
    return table


def _summary(study: str, numbers: pd.DataFrame) -> Table:
    """Tabulate a row per network: its errors at the end, or its mean response."""
    by_network = numbers.groupby("experiment", sort=False)
    if study == "degradation":
        table = Table("experiment", "epochs", "train error", "val error", title="at the end")
        for name, own in by_network:
            last = own.iloc[-1]
            errors = (f"{last[f'{split}_error']:.4f}" for split in ("train", "val"))
            table.add_row(str(name), f"{last['epoch']:.0f}", *errors)
        return table
    table = Table("experiment", "layers", "mean", "least", "greatest", title="standard deviations")
    for name, own in by_network:
        values = (own["std"].mean(), own["std"].min(), own["std"].max())
        table.add_row(str(name), str(len(own)), *(f"{value:.3f}" for value in values))
    return table
