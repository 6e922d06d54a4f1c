"""Find images that show the same picture, by bytes or by pixels, and split folds around them.

A copy that lies in another fold, or in the test set, makes a validation score lie. Candidates are
found by a perceptual hash (the signs of the low frequencies of a cosine transform, around their
median) and confirmed on the pixels. Shots of one subject seconds apart count as copies too;
mirrored copies are found as well.
"""

import itertools
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.images.decode import ByteImage
from pipeline.store.predictions import IntArray
from pipeline.store.tables import ALWAYS_LEARNED

# Both were read off the real photos of cat-12 and cat-dog: at these values every confirmed pair is
# one picture or one scene to the eye, and the next pairs beyond are different animals.
MAX_HASH_DISTANCE = 10
MIN_CORRELATION = 0.88

_HASH_SIDE = 8
_MOST_PAIRS = 2**22  # looked at together
_MOST_CELLS = 2**26  # groups times classes that scikit-learn's table may have

# All changes of at most two of 16 bits.
_CHANGES = [
    0,
    *(1 << i for i in range(16)),
    *(1 << i | 1 << j for i in range(16) for j in range(i)),
]

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


def perceptual_hashes(thumbnails: ByteImage) -> npt.NDArray[np.uint64]:
    """Hash thumbnails `(N, 32, 32)` to 64 bits each, `(N,)`; alike pictures differ in few bits."""
    bits = np.empty((len(thumbnails), _HASH_SIDE**2), dtype=np.uint8)
    for row, thumbnail in enumerate(thumbnails):
        low = cv2.dct(thumbnail.astype(np.float32))[:_HASH_SIDE, :_HASH_SIDE].ravel()
        bits[row] = low > np.median(low[1:])  # [0] is the mean brightness, which says nothing
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def near_duplicates(thumbnails: ByteImage) -> list[tuple[int, int, float]]:
    """Find pairs of pictures that are nearly the same, straight or mirrored.

    Args:
        thumbnails: `(N, 32, 32)` uint8 grey.

    Returns:
        `(i, j, correlation)` with i < j, sorted; correlation of the grey pixels, at most 1.
    """
    return _confirmed(thumbnails, thumbnails, is_one_set=True)


def near_duplicates_between(
    thumbnails: ByteImage, others: ByteImage
) -> list[tuple[int, int, float]]:
    """Find pictures of one set that are nearly those of another, straight or mirrored.

    Args:
        thumbnails: `(N, 32, 32)` uint8 grey.
        others: `(M, 32, 32)` uint8 grey.

    Returns:
        `(i, j, correlation)`, i among the first and j among the others, sorted.
    """
    return _confirmed(thumbnails, others, is_one_set=False)


def _confirmed(
    thumbnails: ByteImage, others: ByteImage, *, is_one_set: bool
) -> list[tuple[int, int, float]]:
    hashes = perceptual_hashes(thumbnails)
    best: dict[tuple[int, int], float] = {}
    for theirs in (others, others[:, :, ::-1]):
        their_hashes = hashes if theirs is thumbnails else perceptual_hashes(theirs)
        for i, j in _close_pairs(hashes, their_hashes, is_one_set=is_one_set):
            correlation = _correlation(thumbnails[i], theirs[j])
            if correlation >= MIN_CORRELATION:
                best[i, j] = max(correlation, best.get((i, j), 0.0))
    return [(i, j, correlation) for (i, j), correlation in sorted(best.items())]


def _close_pairs(hashes: Hashes, others: Hashes, *, is_one_set: bool) -> Iterator[tuple[int, int]]:
    """Yield `(i, j)` of hashes that differ in at most MAX_HASH_DISTANCE bits; i < j in one set.

    Multi-index hashing (Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index
    Hashing"): of hashes that differ in at most 10 of 64 bits, one of the four quarters differs in
    at most 2 of its 16. So each quarter is looked up among the others', with each of the 137
    changes of at most two bits. A pair may come several times.
    """
    for quarter in range(4):
        shift = np.uint64(16 * quarter)
        ours, theirs = _sorted_by(hashes, shift), _sorted_by(others, shift)
        bounds = np.searchsorted(theirs.keys, np.arange(2**16 + 1))
        for change in _CHANGES:
            wanted = ours.keys ^ change
            first, last = bounds[wanted], bounds[wanted + 1]
            if others is hashes and change:  # the other half are the same, seen from their ends
                last = np.where(wanted > ours.keys, last, first)
            for rows, columns in _near(ours.hashes, theirs.hashes, first, last - first):
                pairs = zip(ours.order[rows].tolist(), theirs.order[columns].tolist(), strict=True)
                for i, j in pairs:
                    if i < j or not is_one_set:
                        yield i, j
                    elif i > j and others is hashes:
                        yield j, i


class _Sorted(NamedTuple):
    keys: Rows
    hashes: Hashes
    order: Rows


def _sorted_by(hashes: Hashes, shift: np.uint64) -> _Sorted:
    keys = (hashes >> shift).astype(np.uint16)
    order = np.argsort(keys, kind="stable")
    return _Sorted(keys[order].astype(np.int64), hashes[order], order)


def _near(hashes: Hashes, others: Hashes, first: Rows, counts: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Compare `hashes[i]` with `others[first[i] : first[i] + counts[i]]`, in parts."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_MOST_PAIRS, total, _MOST_PAIRS))
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(counts)]):
        part = counts[start:stop]
        ahead = first[start:stop] - (np.cumsum(part) - part)
        columns = np.repeat(ahead, part)
        columns += np.arange(len(columns))
        distances = np.bitwise_count(np.repeat(hashes[start:stop], part) ^ others[columns])
        near = np.flatnonzero(distances <= MAX_HASH_DISTANCE)
        rows = start + np.searchsorted(np.cumsum(part), near, side="right")
        yield rows, columns[near]


def _correlation(one: ByteImage, other: ByteImage) -> float:
    first, second = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    # A plain area has nothing to compare: two blank pictures aren't known to be one picture.
    return float(first @ second / scale) if scale > 0 else 0.0


def clusters(count: int, pairs: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Number the connected groups of `count` images joined by `pairs`; `(count,)`."""
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    numbers = connected_components(links, directed=False)[1]
    return np.asarray(numbers, dtype=np.int64)


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
    if num_classes * num_groups > _MOST_CELLS or largest < num_folds:
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
