"""Find images that show the same picture: the same bytes, or nearly the same pixels.

A copy that lies in another fold, or in the test set, makes a validation score lie. Candidates are
found by a perceptual hash (the signs of the low frequencies of a cosine transform, around their
median) and confirmed on the pixels. Shots of one subject seconds apart count as copies too;
mirrored copies are found as well.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.images.decode import ByteImage

# Both were read off the real photos of cat-12 and cat-dog: at these values every confirmed pair is
# one picture or one scene to the eye, and the next pairs beyond are different animals.
MAX_HASH_DISTANCE = 10
MIN_CORRELATION = 0.88

_HASH_SIDE = 8
_BLOCK = 1024


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
        for i, j in _close_pairs(hashes, perceptual_hashes(theirs), is_one_set=is_one_set):
            correlation = _correlation(thumbnails[i], theirs[j])
            if correlation >= MIN_CORRELATION:
                best[i, j] = max(correlation, best.get((i, j), 0.0))
    return [(i, j, correlation) for (i, j), correlation in sorted(best.items())]


def _close_pairs(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], *, is_one_set: bool
) -> Iterator[tuple[int, int]]:
    # All pairs, in blocks: N² / 2 popcounts take under a second for 10,000 images, and a minute
    # or two for 300,000; an index would be faster and longer than all the rest of this file.
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK, None]
        for first in range(start if is_one_set else 0, len(others), _BLOCK):
            distances = np.bitwise_count(block ^ others[None, first : first + _BLOCK])
            rows, columns = np.nonzero(distances <= MAX_HASH_DISTANCE)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                i, j = start + row, first + column
                if i < j or not is_one_set:
                    yield i, j


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
