"""The tables that every training reads."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.files.freshness import file_sha256
from pipeline.labelling.training_table import load_training_table
from pipeline.paths import Paths
from pipeline.tables import load_test


@dataclass(frozen=True)
class Tables:
    """The tables that every experiment reads, and the digest of their content."""

    train: pd.DataFrame
    test: pd.DataFrame
    folds: pd.DataFrame
    digests: dict[str, str]


def load_tables(paths: Paths) -> Tables:
    """Read them.

    Raises:
        DataError: One is missing, or they don't belong together.
    """
    train, folds = load_training_table(paths)
    test = load_test(paths)
    files = {"train": paths.train_csv, "test": paths.test_csv, "folds": paths.folds_csv}
    return Tables(train, test, folds, {name: file_sha256(path) for name, path in files.items()})


def cut(tables: Tables, limit: int | None) -> Tables:
    """Keep so many train and test images, level in folds and classes; all without a limit."""
    if limit is None:
        return tables
    rank = tables.folds.groupby(["fold", "label"]).cumcount()
    rows = np.sort(np.argsort(rank.to_numpy(), kind="stable")[:limit])
    train, folds = (
        table.iloc[rows].reset_index(drop=True) for table in (tables.train, tables.folds)
    )
    return Tables(train, tables.test.head(limit), folds, tables.digests)
