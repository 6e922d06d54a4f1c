"""Load the tables that every training reads: train.csv as the folds correct it, test.csv, folds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline import console
from pipeline.data.corrections import recorded_corrections
from pipeline.errors import DataError
from pipeline.store.freshness import file_sha256, read_stamp
from pipeline.store.paths import Paths
from pipeline.store.predictions import AnyProbs, IntArray, Likeliest
from pipeline.store.tables import ALWAYS_LEARNED, load_folds, load_test, load_train


def load_training_table(paths: Paths) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read `train.csv` as the fold table corrects it.

    Images are left out and relabelled in one place, `folds/<competition>.csv`, so that training,
    scoring and blending agree on them. An image that is missing there without having been dropped
    means that the fold table is older than `train.csv`.

    Returns:
        The rows of `train.csv` that take part, corrected, and the fold table. Both hold the same
        images, with the same labels, in the same order.

    Raises:
        DataError: A table is missing or damaged, or they don't belong together.
    """
    train, folds = load_train(paths), load_folds(paths)
    corrections = recorded_corrections(paths)
    kept = corrections.apply(train) if corrections else train
    if not folds["image_id"].equals(kept["image_id"]):
        raise DataError(
            f"{paths.folds_csv}: must hold the {len(kept):,} images of train.csv in its order, "
            f"holds {len(folds):,} others; run 'pipeline folds {paths.competition}'"
        )
    _check_not_older(paths, kept, folds)
    return kept, folds


def _check_not_older(paths: Paths, train: pd.DataFrame, folds: pd.DataFrame) -> None:
    """Refuse folds of other labels, or of other groups: they would learn or score what was before.

    Args:
        paths: The competition's files.
        train: Rows of `train.csv` that take part, corrected.
        folds: The fold table, the same images in the same order.
    """
    others = train.loc[folds["label"] != train["label"], "image_id"]
    if len(others):
        raise DataError(
            f"{paths.folds_csv}: must have the labels of train.csv, {len(others):,} images have "
            f"others, the first is '{others.iloc[0]}'; run 'pipeline folds {paths.competition}'"
        )
    inputs = (read_stamp(paths.folds_stamp) or {"inputs": {}})["inputs"]
    if "given" in inputs or inputs.get("train") in (None, file_sha256(paths.train_csv)):
        return  # the organiser's, brought from elsewhere, or split just so
    is_held = folds["fold"] != ALWAYS_LEARNED
    num_folds = folds["fold"][is_held].groupby(train["group"][is_held]).nunique()
    torn = num_folds[num_folds > 1]
    if len(torn):
        raise DataError(
            f"{paths.folds_csv}: images of one group must share a fold, {len(torn):,} groups of "
            f"train.csv lie in several; run 'pipeline folds {paths.competition}'"
        )


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


MOST_NAMES = 10


def is_readable(images: pd.DataFrame) -> pd.Series:
    """Tell which rows of `test.csv` could be decoded, `(N,)` bool."""
    return images["width"] > 0


def fill_with_prior(readable_probs: AnyProbs, test: pd.DataFrame, targets: IntArray) -> AnyProbs:
    """Give the unreadable test images the training class shares: the best guess without a look.

    Args:
        readable_probs: `(num_readable, K)`, rows in the order of the readable rows of `test`.
        test: Rows of `test.csv`.
        targets: Class indices of the training images, or 1 and 0 for each of several labels.

    Returns:
        `(num_test, K)`, rows in the order of `test`.
    """
    num_classes = readable_probs.shape[1]
    if targets.ndim > 1:
        prior = targets.mean(axis=0)
    else:
        prior = np.bincount(targets, minlength=num_classes) / len(targets)
    is_read = is_readable(test).to_numpy()
    if isinstance(readable_probs, Likeliest):
        if is_read.all():
            return readable_probs
        own = Likeliest.of(prior.astype(np.float32)[None])
        at = np.where(is_read, np.cumsum(is_read) - 1, len(readable_probs))
        return Likeliest.stacked([readable_probs, own])[at]
    probs = np.tile(prior.astype(np.float32), (len(test), 1))
    probs[is_read] = readable_probs
    return probs


def warn_of_unreadable(test: pd.DataFrame) -> None:
    """Name the test images that get the class prior."""
    unreadable = test.loc[~is_readable(test), "image_id"].tolist()
    if unreadable:
        others = f" and {len(unreadable) - MOST_NAMES:,} more" * (len(unreadable) > MOST_NAMES)
        others += ", all named in audit.csv" * (len(unreadable) > MOST_NAMES)
        console.warn(
            f"{len(unreadable):,} of {len(test):,} test images are unreadable and get the class "
            f"prior: {', '.join(unreadable[:MOST_NAMES])}{others}"
        )
