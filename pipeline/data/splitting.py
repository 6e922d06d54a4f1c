"""Split training images into folds around the groups that must stay together."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.config.class_names import ClassLookup, names_in
from pipeline.store.predictions import IntArray
from pipeline.store.tables import ALWAYS_LEARNED

NUM_BINS = 10  # of numbers, by quantiles
_MOST_CELLS = 2**26  # groups times classes that scikit-learn's table may have


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
    num_classes, num_groups = ordered["label"].nunique(), ordered["group"].nunique()
    largest = int(ordered["label"].value_counts().max())
    if num_classes * num_groups > _MOST_CELLS or min(largest, num_groups) < num_folds:
        folds = np.empty(len(images), dtype=np.int64)
        folds[order] = _dealt(ordered, num_folds, seed)
        return folds
    from sklearn.model_selection import StratifiedGroupKFold  # here: `folds` is mostly up to date

    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    splits = splitter.split(ordered, ordered["label"], ordered["group"])
    folds = np.empty(len(images), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # see `keep_known`
        for fold, (_, held_out) in enumerate(splits):
            folds[order[held_out]] = fold
    return folds


def in_bins(numbers: pd.Series) -> pd.Series:
    """Sort numbers into NUM_BINS bins of as many images each: folds are level in these."""
    return pd.qcut(numbers.astype(float), NUM_BINS, labels=False, duplicates="drop").astype(str)


def _dealt(images: pd.DataFrame, num_folds: int, seed: int) -> IntArray:
    """Deal groups to the fold that has least of their class, then least of all, large ones first.

    It needs a cell per class and fold, where StratifiedGroupKFold needs one per class and group:
    tens of thousands of classes fit.
    """
    labels = pd.factorize(images["label"])[0]
    rows_of = list(images.groupby("group", sort=False).indices.values())
    shuffled = np.random.default_rng(seed).permutation(len(rows_of))
    by_class = np.zeros((labels.max() + 1, num_folds), dtype=np.int64)
    sizes = np.zeros(num_folds, dtype=np.int64)
    folds = np.empty(len(images), dtype=np.int64)
    for place in sorted(shuffled.tolist(), key=lambda place: -len(rows_of[place])):
        rows = rows_of[place]
        label = np.bincount(labels[rows]).argmax()
        fold = min(range(num_folds), key=lambda one: (by_class[label, one], sizes[one]))
        folds[rows] = fold
        np.add.at(by_class, (labels[rows], fold), 1)
        sizes[fold] += len(rows)
    return folds


def keep_known(images: pd.DataFrame, folds: IntArray) -> IntArray:
    """Take classes out of the folds that lie in a single one, as classes of one image do.

    No model that is scored on them would know them. They are learned from in every fold instead,
    and so are the copies of their images, of whatever class.

    Args:
        images: Columns label and group.
        folds: Of every row, `(N,)`.

    Returns:
        The folds, `(N,)`, ALWAYS_LEARNED in those rows.
    """
    labels, groups = images["label"].to_numpy(), images["group"].to_numpy()
    kept = folds.copy()
    while True:
        is_held = kept != ALWAYS_LEARNED
        num_folds = pd.Series(kept[is_held]).groupby(labels[is_held]).nunique()
        is_alone = np.isin(labels, num_folds.index[num_folds == 1].to_numpy()) & is_held
        if not is_alone.any():
            return kept
        kept[np.isin(groups, groups[is_alone])] = ALWAYS_LEARNED


def assign_folds_by_labels(
    images: pd.DataFrame,
    labels: Sequence[Sequence[str]],
    num_folds: int,
    seed: int,
) -> IntArray:
    """Assign images that have several labels each to folds, level in every label.

    It is iterative stratification (Sechidis et al. 2011, "On the Stratification of Multi-label
    Data") of duplicate clusters: those of the rarest label that is left go to the fold that lacks
    most of it, then to the one that lacks most images.

    Args:
        images: Columns image_id and group; the order of the rows doesn't matter.
        labels: Of each row, any number.
        num_folds: Number of folds, at least 2.
        seed: Seed of the order in which clusters are dealt.

    Returns:
        Fold of every row, `(N,)`, counted from 0. Rows of one group share a fold.
    """
    order = np.argsort(images["image_id"].to_numpy(dtype=str), kind="stable")
    rows_of = list(images.iloc[order].groupby("group", sort=False).indices.values())
    rows_of = [order[rows_of[at]] for at in np.random.default_rng(seed).permutation(len(rows_of))]
    counts = [Counter(name for row in rows for name in labels[row]) for rows in rows_of]
    having: dict[str, list[int]] = {}
    for place, found in enumerate(counts):
        for name in found:
            having.setdefault(name, []).append(place)
    total = Counter[str]()
    for found in counts:
        total.update(found)
    lacking = {name: np.full(num_folds, number / num_folds) for name, number in total.items()}
    lacking_images = np.full(num_folds, len(images) / num_folds)
    folds = np.full(len(images), ALWAYS_LEARNED, dtype=np.int64)
    left = {name: len(places) for name, places in having.items()}
    while left or (folds == ALWAYS_LEARNED).any():
        rarest = min(left, key=lambda name: (left[name], name)) if left else None
        for place in having.pop(rarest) if rarest is not None else range(len(rows_of)):
            rows = rows_of[place]
            if folds[rows[0]] != ALWAYS_LEARNED:
                continue
            own = lacking[rarest] if rarest is not None else lacking_images
            fold = max(range(num_folds), key=lambda one: (own[one], lacking_images[one]))
            folds[rows] = fold
            lacking_images[fold] -= len(rows)
            for name, number in counts[place].items():
                lacking[name][fold] -= number
                left[name] -= 1
        left = {name: number for name, number in left.items() if number > 0}
    return folds


def number_folds(folds: Sequence[str]) -> IntArray:
    """Number the organiser's folds from 0, in the order of their names or numbers, `(N,)`."""
    lookup = ClassLookup(names_in(folds))
    return np.array([lookup.find(fold) for fold in folds], dtype=np.int64)
