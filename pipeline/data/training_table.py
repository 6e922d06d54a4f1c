"""Load the tables that every training reads: train.csv as the folds correct it, test.csv, folds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.data.corrections import recorded_corrections
from pipeline.errors import DataError
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.tables import load_folds, load_test, load_train


def load_training_table(paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read `train.csv` as the fold table corrects it.

    Images are left out and relabelled in one place, `folds/<competition>.csv`, so that training,
    scoring and blending agree on them. An image that is missing there without having been dropped
    means that the fold table is older than `train.csv`.

    Returns:
        The rows of `train.csv` that take part, their labels those of the fold table; and the fold
        table. Both hold the same images in the same order.

    Raises:
        DataError: A table is missing or damaged, or they don't belong together.
    """
    train, folds = load_train(paths), load_folds(paths)
    corrections = recorded_corrections(paths)
    dropped = corrections.drop if corrections else []
    kept = train[~train["image_id"].isin(dropped)].reset_index(drop=True)
    if not folds["image_id"].equals(kept["image_id"]):
        raise DataError(
            f"{paths.folds_csv}: must hold the {len(kept):,} images of train.csv in its order, "
            f"holds {len(folds):,} others; run 'pipeline folds {paths.competition}'"
        )
    return kept.assign(label=folds["label"]), folds


@dataclass(frozen=True)
class Tables:
    """The tables that every experiment reads, and the digest of their content."""

    train: pd.DataFrame
    test: pd.DataFrame
    folds: pd.DataFrame
    digests: dict[str, str]


def load_tables(paths: Paths) -> Tables:
    """Read the three tables and hash their files.

    Raises:
        DataError: One is missing, or they don't belong together.
    """
    train, folds = load_training_table(paths)
    test = load_test(paths)
    files = {"train": paths.train_csv, "test": paths.test_csv, "folds": paths.folds_csv}
    return Tables(train, test, folds, {name: file_sha256(path) for name, path in files.items()})


def subsample(tables: Tables, limit: int | None) -> Tables:
    """Keep so many train and test images, stratified by fold and class; all without a limit."""
    if limit is None:
        return tables
    rank = tables.folds.groupby(["fold", "label"]).cumcount()
    rows = np.sort(np.argsort(rank.to_numpy(), kind="stable")[:limit])
    train, folds = (
        table.iloc[rows].reset_index(drop=True) for table in (tables.train, tables.folds)
    )
    return Tables(train, tables.test.head(limit), folds, tables.digests)
