"""Split the training images into folds and freeze the split."""

import pandas as pd

from pipeline.competition import Competition
from pipeline.console import say
from pipeline.errors import DataError
from pipeline.freshness import Stamp, file_sha256
from pipeline.paths import Paths
from pipeline.splitting import assign_folds
from pipeline.tables import FOLD_COLUMNS, load_train, write_table


def run(paths: Paths, competition: Competition, num_folds: int, seed: int) -> None:
    """Read train.csv; write folds/<competition>.csv, the fold of every training image.

    Raises:
        DataError: The smallest class can't fill the folds, or the table was edited by hand.
    """
    train = load_train(paths)
    inputs = {"train": file_sha256(paths.train_csv), "num_folds": num_folds, "seed": seed}
    stamp = Stamp(paths.folds_stamp, inputs)
    if stamp.is_fresh():
        say(f"folds {competition.name}: up to date")
        return
    if paths.folds_csv in stamp.damaged() and paths.folds_csv.exists():
        raise DataError(
            f"{paths.folds_csv}: must be as 'pipeline folds' wrote it, was changed since; move it "
            f"away and run 'pipeline folds {competition.name}'"
        )
    _check_smallest_class(competition, train, num_folds)
    table = train.assign(fold=assign_folds(train, num_folds, seed))[FOLD_COLUMNS]
    write_table(table, paths.folds_csv)
    stamp.write([paths.folds_csv])
    sizes = table["fold"].value_counts().sort_index().tolist()
    say(
        f"folds {competition.name}: {len(table):,} images in {num_folds} folds of "
        f"{min(sizes):,} to {max(sizes):,}, duplicates together -> {paths.folds_csv}"
    )


def _check_smallest_class(competition: Competition, train: pd.DataFrame, num_folds: int) -> None:
    groups = train.groupby("label")["group"].nunique().sort_values()
    if groups.iloc[0] < num_folds:
        raise DataError(
            f"{competition.name}: every class must fill {num_folds} folds, '{groups.index[0]}' has "
            f"{groups.iloc[0]} different images; run 'pipeline folds {competition.name} "
            f"--num-folds {max(2, groups.iloc[0])}'"
        )
