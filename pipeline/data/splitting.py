"""Split images into stratified, grouped folds: classes in equal shares, duplicates together."""

import numpy as np
import pandas as pd

from pipeline.store.predictions import IntArray


def assign_folds(images: pd.DataFrame, num_folds: int, seed: int) -> IntArray:
    """Assign every image to a fold, stratified by label and grouped by duplicate cluster.

    Args:
        images: Columns image_id, label and group; the order of the rows doesn't matter.
        num_folds: Number of folds, at least 2.
        seed: Seed of the shuffle.

    Returns:
        Fold of every row, `(N,)`, counted from 0. Rows of one group share a fold.
    """
    order = np.argsort(images["image_id"].to_numpy(dtype=str), kind="stable")
    ordered = images.iloc[order]
    from sklearn.model_selection import StratifiedGroupKFold  # here: `folds` is mostly up to date

    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    splits = splitter.split(ordered, ordered["label"], ordered["group"])
    folds = np.empty(len(images), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splits):
        folds[order[held_out]] = fold
    return folds
