"""Copies are found through resizing, encoding, light and mirrors; different pictures aren't."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from pipeline.data.audit import THUMBNAIL_PX
from pipeline.data.drawing.image_files import draw_animal
from pipeline.data.drawing.species import species_of
from pipeline.data.duplicates import (
    MAX_HASH_DISTANCE,
    _close_pairs,
    clusters,
    near_duplicates,
    near_duplicates_between,
    perceptual_hashes,
)
from pipeline.images.decode import ByteImage

CLASSES = ("cat", "dog")
NUM = 24


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Different drawn animals, cats and dogs by turns."""
    species = [species_of(CLASSES, index, 0) for index in range(len(CLASSES))]
    return [
        Image.fromarray(draw_animal(species[n % 2], np.random.default_rng((5, n)), 120, 96))
        for n in range(NUM)
    ]


def thumbnail(image: Image.Image) -> ByteImage:
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = cv2.resize(np.asarray(image.convert("RGB")), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def thumbnails(images: list[Image.Image]) -> ByteImage:
    return np.stack([thumbnail(image) for image in images])


def reencoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


COPIES = {
    "exact": lambda image: image,
    "resized": lambda image: image.resize((67, 80)),
    "re-encoded": reencoded,
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "mirrored": ImageOps.mirror,
    "mirrored and resized": lambda image: ImageOps.mirror(image).resize((67, 80)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copy_is_found_whichever_comes_first(pictures, copy):
    copies = [copy(image) for image in pictures]
    expected = [(n, n + NUM) for n in range(NUM)]
    for images in (pictures + copies, copies + pictures):
        assert [(i, j) for i, j, _ in near_duplicates(thumbnails(images))] == expected


def test_exact_copy_correlates_fully(pictures):
    [(_, _, correlation)] = near_duplicates(thumbnails([pictures[0], pictures[0]]))
    assert correlation == pytest.approx(1.0)


def test_different_pictures_are_not_copies(pictures):
    assert near_duplicates(thumbnails(pictures)) == []


def test_turned_picture_is_not_a_copy(pictures):
    turned = [image.transpose(Image.Transpose.ROTATE_180) for image in pictures]
    assert near_duplicates(thumbnails([*pictures, *turned])) == []


def test_pairs_are_sorted_however_many_are_looked_at_together(monkeypatch, pictures):
    small = thumbnails([*pictures, *pictures, *pictures])
    whole = near_duplicates(small)
    assert len(whole) == 3 * NUM
    assert whole == sorted(whole)
    assert all(i < j for i, j, _ in whole)
    monkeypatch.setattr("pipeline.data.duplicates._MOST_PAIRS", 7)
    assert near_duplicates(small) == whole


@pytest.mark.parametrize("most", [1, 5, 1024])
def test_pictures_of_one_set_are_found_in_another_and_not_within_their_own(
    monkeypatch, pictures, most
):
    monkeypatch.setattr("pipeline.data.duplicates._MOST_PAIRS", most)
    ours = thumbnails([pictures[0], pictures[0], pictures[1], pictures[2]])
    others = thumbnails([pictures[5], ImageOps.mirror(pictures[1]), pictures[0], pictures[0]])
    pairs = [(i, j) for i, j, _ in near_duplicates_between(ours, others)]
    assert pairs == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 1)]
    assert near_duplicates_between(ours[:0], others) == []


def test_plain_images_are_not_clustered():
    plain = [np.full((THUMBNAIL_PX, THUMBNAIL_PX), level, np.uint8) for level in (0, 9, 255, 255)]
    assert near_duplicates(np.stack(plain)) == []


def test_nearly_plain_images_are_not_clustered():
    rng = np.random.default_rng(0)
    shape = (12, THUMBNAIL_PX, THUMBNAIL_PX)
    assert near_duplicates((200 + rng.integers(0, 3, shape)).astype(np.uint8)) == []


def test_alike_hashes_need_alike_pixels():
    rng = np.random.default_rng(1)
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    scene = cv2.resize(30 * rng.standard_normal((5, 5)), size, interpolation=cv2.INTER_CUBIC)
    stripes = np.where(np.arange(THUMBNAIL_PX) % 2, 60, -60)[:, None]  # too fine for the hash
    small = (128 + np.stack([scene + stripes, scene - stripes])).clip(0, 255).astype(np.uint8)
    first, second = perceptual_hashes(small)
    assert int(np.bitwise_count(first ^ second)) <= MAX_HASH_DISTANCE
    assert near_duplicates(small) == []


def test_hash_ignores_brightness(pictures):
    small = thumbnails(pictures)
    dimmed = (small // 2).astype(np.uint8)
    distances = np.bitwise_count(perceptual_hashes(small) ^ perceptual_hashes(dimmed))
    assert int(distances.max()) <= 4


def test_no_images_give_no_pairs():
    assert near_duplicates(np.empty((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)) == []


def test_clusters_are_transitive():
    numbers = clusters(7, [(0, 1), (1, 4), (2, 3)])
    assert numbers[0] == numbers[1] == numbers[4]
    assert numbers[2] == numbers[3]
    assert len(set(numbers.tolist())) == 4


def test_images_without_pairs_are_clusters_of_their_own():
    assert sorted(clusters(3, []).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["one set", "one set, mirrored", "two sets"])
def test_no_close_pair_of_hashes_is_missed(kind):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 600, dtype=np.uint64)
    flips = np.zeros(600, np.uint64)
    for _ in range(12):  # up to 12 bits, some of them twice
        flips ^= np.uint64(1) << rng.integers(0, 64, 600, dtype=np.uint64)
    is_one_set = kind != "two sets"
    others = rng.permutation(hashes ^ flips)  # as mirrored ones, in no order that tells
    if kind == "one set":
        hashes = others = np.concatenate([hashes, hashes ^ flips])
    distances = np.bitwise_count(hashes[:, None] ^ others[None])
    rows, columns = np.nonzero(distances <= MAX_HASH_DISTANCE)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    expected = {(i, j) for i, j in pairs if i < j or not is_one_set}
    assert len(expected) > 150
    assert set(_close_pairs(hashes, others, is_one_set=is_one_set)) == expected
