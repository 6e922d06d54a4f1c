"""Split the training images into stratified, grouped folds, and freeze the split."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.console import say, warn
from pipeline.data.corrections import Corrections, load_corrections, recorded_corrections
from pipeline.data.splitting import assign_folds, assign_folds_by_labels, in_bins, keep_known
from pipeline.errors import DataError
from pipeline.store.freshness import Stamp, file_sha256, read_stamp
from pipeline.store.locks import held
from pipeline.store.paths import Paths
from pipeline.store.predictions import IntArray
from pipeline.store.tables import (
    FOLD_COLUMNS,
    GIVEN_FOLD_COLUMNS,
    held_out,
    load_train,
    read_table,
    to_text,
    with_answers,
    write_table,
)

DEFAULTS = {"num_folds": 5, "seed": 0}
NONE = "none"


def run(
    paths: Paths,
    competition: Competition,
    num_folds: int | None,
    seed: int | None,
    corrections: str | None = None,
) -> None:
    """Split the training images, or keep the split that there is.

    A split once made stays: its number of folds, seed and corrections change only where others are
    asked for. Where the competition's file names the organiser's folds, the split is theirs.

    Reads data/COMPETITION/train.csv, given_folds.csv and the table of corrections.

    Writes folds/COMPETITION.csv, label and fold of every training image, and its stamp.

    A class whose images all lie in one fold, as a class of one image, is held out of none: its
    images are learned from in every fold, and no score knows of them.

    Fails if fewer than two classes have different images for two folds, a fold can't be filled, the
    split was edited by hand, or the corrections are faulty (DataError).

    Args:
        paths: The competition's files.
        competition: Its name and classes.
        num_folds: Number of folds; None for as before, or 5.
        seed: Of the shuffle; None for as before, or 0.
        corrections: Path of a table of labels to correct, see `load_corrections`; NONE to take
            corrections back; None for as before.
    """
    train, given = load_train(paths), _given_folds(paths, competition)
    recorded = DEFAULTS | (read_stamp(paths.folds_stamp) or {"inputs": {}})["inputs"]
    if given is not None:
        recorded["num_folds"] = _check_given(paths, competition, train, given, num_folds)
    num_folds = recorded["num_folds"] if num_folds is None else num_folds
    seed = recorded["seed"] if seed is None else seed
    inputs: dict[str, Any] = {
        "train": file_sha256(paths.train_csv),
        "num_folds": num_folds,
        "seed": seed,
    }
    if given is not None:
        inputs["given"] = file_sha256(paths.given_folds_csv)
        train = train.assign(given=given["fold"])
    if corrections not in (None, NONE) and not competition.is_by_class:
        raise DataError(
            f"{competition.name}: corrections must be of images with one class and one answer "
            f"each, images have {competition.why_not_by_class}; correct the organiser's list and "
            "run 'pipeline prepare'"
        )
    corrected = _corrections(paths, competition, train, corrections)
    if corrected is not None:
        inputs["corrections"] = corrected.record()
        say(f"folds {competition.name}: {corrected}")
    stamp = Stamp(paths.folds_stamp, inputs)
    if stamp.is_fresh():
        say(f"folds {competition.name}: up to date")
        return
    with held(paths.folds_lock, f"folds {competition.name}"):
        _split(paths, competition, train, stamp, corrected)


def _split(
    paths: Paths,
    competition: Competition,
    train: pd.DataFrame,
    stamp: Stamp,
    corrected: Corrections | None,
) -> None:
    num_folds, seed = stamp.inputs["num_folds"], stamp.inputs["seed"]
    # Split before it is corrected: an image without correction keeps its fold, so results compare.
    split = _assigned(competition, train, num_folds, seed)
    table = train.assign(fold=split)[with_answers(FOLD_COLUMNS, train)]
    table = corrected.apply(table) if corrected else table
    if not competition.has_free_outputs:
        table["fold"] = keep_known(table, table["fold"].to_numpy())
    _check_classes(competition, table, num_folds)
    _check_not_foreign(paths, competition, stamp, table)
    write_table(table, paths.folds_csv)
    stamp.write([paths.folds_csv])
    held = held_out(table)
    how = "as the organiser's" if "given" in train else "stratified, duplicates grouped"
    sizes = held["fold"].value_counts().sort_index().tolist()
    say(
        f"folds {competition.name}: {len(held):,} images in {num_folds} folds of "
        f"{min(sizes):,} to {max(sizes):,}, {how} -> {paths.folds_csv}"
    )
    _warn_of_torn_groups(competition, held)


def _given_folds(paths: Paths, competition: Competition) -> pd.DataFrame | None:
    """Read the organiser's folds; None where the competition's file names none."""
    if competition.train.folds is None:
        return None
    command = f"pipeline prepare {competition.name}"
    return read_table(paths.given_folds_csv, GIVEN_FOLD_COLUMNS, command)


def _check_given(
    paths: Paths,
    competition: Competition,
    train: pd.DataFrame,
    given: pd.DataFrame,
    num_folds: int | None,
) -> int:
    """Return the number of the organiser's folds; refuse another one, or folds of other images."""
    if not given["image_id"].equals(train["image_id"]):
        raise DataError(
            f"{paths.given_folds_csv}: must hold the images of train.csv in its order, holds "
            f"others; run 'pipeline prepare {competition.name}'"
        )
    count = int(given["fold"].nunique())
    if num_folds not in (None, count):
        raise DataError(
            f"{competition.name}: --num-folds must be {count}, as the organiser's folds are, is "
            f"{num_folds}; leave it out, or remove train.folds from the competition's file"
        )
    return count


def _corrections(
    paths: Paths, competition: Competition, train: pd.DataFrame, asked: str | None
) -> Corrections | None:
    """Return the corrections asked for, else those in effect."""
    if asked is not None:
        return None if asked == NONE else load_corrections(Path(asked), competition, train)
    recorded = recorded_corrections(paths)
    unknown = recorded.image_ids - set(train["image_id"]) if recorded else set()
    if unknown:
        raise DataError(
            f"{paths.folds_stamp}: corrected images must stand in train.csv, {len(unknown):,} "
            f"don't, the first is '{min(unknown)}'; run 'pipeline folds {competition.name} "
            f"--corrections {NONE}', or give a table that fits"
        )
    return recorded


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


def _assigned(competition: Competition, train: pd.DataFrame, num_folds: int, seed: int) -> IntArray:
    """Return the organiser's fold of every image, else one that is assigned here, `(N,)`."""
    if "given" in train:
        given: IntArray = train["given"].to_numpy(dtype=np.int64)
        return given
    if competition.is_number:
        return assign_folds(train.assign(label=in_bins(train["label"])), num_folds, seed)
    if competition.has_several:
        labels = [competition.labels_in(label) for label in train["label"]]
        return assign_folds_by_labels(train, labels, num_folds, seed)
    return assign_folds(train, num_folds, seed)


def _check_classes(competition: Competition, table: pd.DataFrame, num_folds: int) -> None:
    """Refuse a split that says nothing of two classes; tell of classes that some folds lack."""
    _check_filled(competition, table, num_folds)
    if competition.is_number:
        return
    told = table.assign(label=table["label"].map(competition.labels_in)).explode("label")
    groups = told.groupby("label")["group"].nunique()
    groups = groups.reindex(competition.classes, fill_value=0).sort_values(kind="stable")
    held = held_out(table)
    smallest, count = groups.index[0], int(groups.iloc[0])
    if count == 0 or (held["label"].nunique() < 2 and not competition.has_several):
        raise DataError(
            f"{competition.name}: every class must have images, and two of them different ones for "
            f"two folds, '{smallest}' has {count}; add others and run "
            f"'pipeline download {competition.name}'"
        )
    num_small = int((groups < num_folds).sum())
    if num_small:
        num_learned = len(table) - len(held)
        learned = f"; {num_learned:,} images are learned from in every fold and held out of none"
        warn(
            f"folds {competition.name}: {num_small:,} of {competition.num_classes:,} classes have "
            f"fewer different images than {num_folds} folds, as '{smallest}' {count}: not every "
            f"fold's score knows of them{learned if num_learned else ''}"
        )


def _check_filled(competition: Competition, table: pd.DataFrame, num_folds: int) -> None:
    """Refuse a split with a fold that holds no images."""
    held = held_out(table)
    if held.empty:
        raise DataError(
            f"{competition.name}: some class must have two different images or more, none of "
            f"{table['label'].nunique():,} has; compare [train] labels in the competition's file: "
            'amounts are target = "number"'
        )
    lacking = sorted(set(range(num_folds)) - set(held["fold"]))
    if lacking:
        raise DataError(
            f"{competition.name}: every fold must hold images, fold {lacking[0]} of {num_folds} "
            f"holds none, as {held['group'].nunique():,} groups are too few; run 'pipeline folds "
            f"{competition.name} --num-folds {num_folds - len(lacking)}', or change train.groups, "
            "train.folds or duplicates in the competition's file"
        )


def _warn_of_torn_groups(competition: Competition, table: pd.DataFrame) -> None:
    """Say if the organiser's folds tear groups apart."""
    num_folds = table.groupby("group")["fold"].nunique()
    torn = num_folds[num_folds > 1]
    if not torn.empty:
        warn(
            f"the organiser's folds tear {len(torn):,} groups of copies or of one subject apart, "
            f"the first is '{torn.index[0]}': scores out of fold are too good; remove train.folds "
            f"from the competition's file of {competition.name} to split around them"
        )
