"""Split the training images into folds and freeze the split."""

import pandas as pd

from pipeline.competition import Competition
from pipeline.console import say
from pipeline.errors import DataError
from pipeline.freshness import Stamp, file_sha256, read_stamp
from pipeline.paths import Paths
from pipeline.splitting import assign_folds
from pipeline.tables import FOLD_COLUMNS, load_train, to_text, write_table

DEFAULTS = {"num_folds": 5, "seed": 0}


def run(paths: Paths, competition: Competition, num_folds: int | None, seed: int | None) -> None:
    """Read train.csv; write folds/<competition>.csv, the fold of every training image.

    A split once made stays: its number of folds and seed change only where others are asked for.

    Raises:
        DataError: The smallest class can't fill the folds, or the table was edited by hand.
    """
    train = load_train(paths)
    recorded = DEFAULTS | (read_stamp(paths.folds_stamp) or {"inputs": {}})["inputs"]
    num_folds = recorded["num_folds"] if num_folds is None else num_folds
    seed = recorded["seed"] if seed is None else seed
    inputs = {"train": file_sha256(paths.train_csv), "num_folds": num_folds, "seed": seed}
    stamp = Stamp(paths.folds_stamp, inputs)
    if stamp.is_fresh():
        say(f"folds {competition.name}: up to date")
        return
    _check_smallest_class(competition, train, num_folds)
    table = train.assign(fold=assign_folds(train, num_folds, seed))[FOLD_COLUMNS]
    _check_not_foreign(paths, competition, stamp, table)
    write_table(table, paths.folds_csv)
    stamp.write([paths.folds_csv])
    sizes = table["fold"].value_counts().sort_index().tolist()
    say(
        f"folds {competition.name}: {len(table):,} images in {num_folds} folds of "
        f"{min(sizes):,} to {max(sizes):,}, duplicates together -> {paths.folds_csv}"
    )


def _check_not_foreign(
    paths: Paths, competition: Competition, stamp: Stamp, table: pd.DataFrame
) -> None:
    """Refuse to overwrite a table that was edited, or brought from elsewhere."""
    is_ours = read_stamp(paths.folds_stamp) is not None and not stamp.damaged()
    if is_ours or not paths.folds_csv.exists():
        return
    if paths.folds_csv.read_bytes() != to_text(table).encode():
        raise DataError(
            f"{paths.folds_csv}: must be as 'pipeline folds' wrote it, was changed since or came "
            f"from elsewhere; move it away and run 'pipeline folds {competition.name}'"
        )


def _check_smallest_class(competition: Competition, train: pd.DataFrame, num_folds: int) -> None:
    groups = train.groupby("label")["group"].nunique().sort_values()
    smallest, count = groups.index[0], int(groups.iloc[0])
    if count < num_folds:
        way_out = f"run 'pipeline folds {competition.name} --num-folds {count}'"
        if count < 2:
            way_out = f"add others and run 'pipeline download {competition.name}'"
        raise DataError(
            f"{competition.name}: every class must have a different image for each of {num_folds} "
            f"folds, '{smallest}' has {count}; {way_out}"
        )
