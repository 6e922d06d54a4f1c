"""Find images that show the same picture, by bytes or by pixels, and test images in other folders.

A copy that lies in another fold, or in the test set, makes a validation score lie. Candidates are
found by a perceptual hash (the signs of the low frequencies of a cosine transform, around their
median) and confirmed on the pixels. Shots of one subject seconds apart count as copies too;
mirrored copies are found as well.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline import console
from pipeline.data.audit import Scan, scan_files
from pipeline.data.split_folders import IMAGE_SUFFIXES
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage
from pipeline.store.folders import list_files
from pipeline.store.paths import Paths
from pipeline.store.tables import OVERLAP_COLUMNS, load_test, write_for_people

# Both were read off the real photos of cat-12 and cat-dog: at these values every confirmed pair is
# one picture or one scene to the eye, and the next pairs beyond are different animals.
MAX_HASH_DISTANCE = 10
MIN_CORRELATION = 0.88

_HASH_SIDE = 8
_MOST_PAIRS = 2**22  # looked at together

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


def near_duplicates(
    thumbnails: ByteImage, *, is_mirrored: bool = True
) -> list[tuple[int, int, float]]:
    """Find pairs of pictures that are nearly the same, straight or mirrored.

    Args:
        thumbnails: `(N, 32, 32)` uint8 grey.
        is_mirrored: Whether mirrored ones count.

    Returns:
        `(i, j, correlation)` with i < j, sorted; correlation of the grey pixels, at most 1.
    """
    sides = [thumbnails, thumbnails[:, :, ::-1]][: 1 + is_mirrored]
    return _confirmed(thumbnails, sides, is_one_set=True)


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
    return _confirmed(thumbnails, [others, others[:, :, ::-1]], is_one_set=False)


def _confirmed(
    thumbnails: ByteImage, sides: Sequence[ByteImage], *, is_one_set: bool
) -> list[tuple[int, int, float]]:
    hashes = perceptual_hashes(thumbnails)
    best: dict[tuple[int, int], float] = {}
    for theirs in sides:
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


# Test images that lie in another folder: a leak, if that folder is to be trained on.

NUM_SHOWN = 10
EXACT, NEAR = "exact", "near"


def write_overlap(paths: Paths, against: Path, workers: int | None) -> None:
    """Compare the test images with all images below a folder, and write and print what is found.

    `overlap.csv` has a row per test image and file that shows its picture, only the header where
    there is none. Copies are found by the hash of their bytes, near duplicates as within the
    competition.

    Raises:
        DataError: The test table is missing, or there are no other images in the folder.
    """
    test = load_test(paths)
    test = test[test["path"] != ""]
    ours = [paths.images_dir / path for path in test["path"]]
    theirs = _others(against, {path.resolve() for path in ours})
    with console.progress(f"compare with {against}", len(ours) + len(theirs)) as advance:
        scans = scan_files([*ours, *theirs], workers, advance)
    pairs = _pairs(scans[: len(ours)], scans[len(ours) :])
    rows = [
        (test["image_id"].iloc[i], kind, str(theirs[j]), f"{correlation:.3f}")
        for (i, j), (kind, correlation) in sorted(pairs.items())
    ]
    table = pd.DataFrame(rows, columns=pd.Index(OVERLAP_COLUMNS))
    write_for_people(table, paths.overlap_csv)
    _tell(paths, len(test), len(theirs), rows)


def _others(folder: Path, ours: set[Path]) -> list[Path]:
    """List the images below a folder that aren't the test images themselves."""
    found = [folder / file for file in list_files(folder) if file.suffix.lower() in IMAGE_SUFFIXES]
    others = [path for path in found if path.resolve() not in ours]
    if not others:
        held = f"{len(found):,}, all of them the competition's own files" if found else "none"
        raise DataError(f"--against {folder}: must be a folder that holds other images, has {held}")
    return others


def _pairs(
    ours: Sequence[Scan], theirs: Sequence[Scan]
) -> dict[tuple[int, int], tuple[str, float]]:
    """Pair the scans that show one picture: kind and correlation by (ours, theirs)."""
    places, other_places = _readable(ours), _readable(theirs)
    near = near_duplicates_between(_thumbnails(ours), _thumbnails(theirs))
    pairs = {(places[i], other_places[j]): (NEAR, correlation) for i, j, correlation in near}
    by_content: dict[str, list[int]] = {}
    for j, scan in enumerate(theirs):
        by_content.setdefault(scan.sha256, []).append(j)
    for i, scan in enumerate(ours):
        # A file that can't be opened has no hash.
        for j in by_content.get(scan.sha256, []) if scan.sha256 else []:
            pairs[i, j] = (EXACT, 1.0)
    return pairs


def _readable(scans: Sequence[Scan]) -> list[int]:
    return [place for place, scan in enumerate(scans) if scan.thumbnail is not None]


def _thumbnails(scans: Sequence[Scan]) -> ByteImage:
    thumbnails = [scan.thumbnail for scan in scans if scan.thumbnail is not None]
    return np.stack(thumbnails) if thumbnails else np.empty((0, 32, 32), dtype=np.uint8)


def _tell(
    paths: Paths, num_test: int, num_others: int, rows: Sequence[tuple[str, str, str, str]]
) -> None:
    found = len({image_id for image_id, *_ in rows})
    exact = len({image_id for image_id, kind, *_ in rows if kind == EXACT})
    console.result(
        f"{found:,} of {num_test:,} test images are among {num_others:,} others, {exact:,} of them "
        f"byte for byte -> {paths.overlap_csv}"
    )
    for image_id, kind, other, correlation in rows[:NUM_SHOWN]:
        console.result(f"{image_id}  {kind} {correlation}  {other}")
    if len(rows) > NUM_SHOWN:
        console.result(f"... and {len(rows) - NUM_SHOWN:,} more")
    if rows:
        console.warn(
            f"{found:,} test images lie in that folder: whatever is known of them there, such as "
            "a label, mustn't be used"
        )
