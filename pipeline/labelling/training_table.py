"""The training images of record: those of the fold table, with its labels."""

import pandas as pd

from pipeline.errors import DataError
from pipeline.labelling.corrections import recorded_corrections
from pipeline.paths import Paths
from pipeline.tables import load_folds, load_train


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
