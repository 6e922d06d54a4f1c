"""Folds are a partition, level in classes, keep groups whole and depend on ids alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.splitting import assign_folds, assign_folds_by_labels, keep_known

num_folds = st.integers(2, 5)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def image_tables(draw: st.DrawFn, *, is_grouped: bool) -> pd.DataFrame:
    """Tables of 2 to 4 classes with at least as many groups each as there may be folds."""
    rows: list[tuple[str, str]] = []
    group_sizes = st.lists(st.integers(1, 4 if is_grouped else 1), min_size=5, max_size=14)
    for label in ("cat", "dog", "猫", "007")[: draw(st.integers(2, 4))]:
        for number, size in enumerate(draw(group_sizes)):
            rows += [(label, f"{label}/{number}")] * size
    ids = draw(st.permutations([f"{index}.jpg" for index in range(len(rows))]))
    table = pd.DataFrame(rows, columns=["label", "group"])
    return table.assign(image_id=ids)


@given(image_tables(is_grouped=True), num_folds, seeds)
def test_every_image_is_in_one_fold_and_every_fold_has_every_class(images, count, seed):
    folds = assign_folds(images, count, seed)
    assert folds.shape == (len(images),)
    assert folds.dtype == np.int64
    present = images.assign(fold=folds).groupby("label")["fold"].agg(set)
    assert all(found == set(range(count)) for found in present)


@given(image_tables(is_grouped=True), num_folds, seeds)
def test_group_never_crosses_folds(images, count, seed):
    present = (
        images.assign(fold=assign_folds(images, count, seed)).groupby("group")["fold"].agg(set)
    )
    assert all(len(found) == 1 for found in present)


@given(image_tables(is_grouped=False), num_folds, seeds)
def test_classes_are_level_where_no_image_has_a_copy(images, count, seed):
    counts = pd.crosstab(images["label"], assign_folds(images, count, seed)).to_numpy()
    assert counts.shape[1] == count
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


@given(image_tables(is_grouped=True), num_folds, seeds, st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(images, count, seed, random):
    folds = dict(zip(images["image_id"], assign_folds(images, count, seed), strict=True))
    order = random.sample(range(len(images)), len(images))
    shuffled = images.iloc[order]
    assert (
        dict(zip(shuffled["image_id"], assign_folds(shuffled, count, seed), strict=True)) == folds
    )


@pytest.fixture
def images() -> pd.DataFrame:
    ids = [f"{index}.jpg" for index in range(40)]
    return pd.DataFrame({"image_id": ids, "label": ["cat", "dog"] * 20, "group": ids})


def test_seed_changes_the_folds(images):
    assert len({assign_folds(images, 5, seed).tobytes() for seed in range(8)}) == 8


def test_same_seed_gives_the_same_folds(images):
    np.testing.assert_array_equal(assign_folds(images, 5, 3), assign_folds(images, 5, 3))


def test_group_of_two_classes_stays_whole(images):
    images.loc[[4, 5, 8], "group"] = "4.jpg"
    folds = assign_folds(images, 5, 0)
    assert folds[4] == folds[5] == folds[8]


def many_classes(sizes: list[int], label: str = "{}") -> pd.DataFrame:
    rows = [
        (label.format(number), place) for number, size in enumerate(sizes) for place in range(size)
    ]
    names = [f"{name}-{place}" for name, place in rows]
    return pd.DataFrame({"image_id": names, "label": [name for name, _ in rows], "group": names})


def test_classes_too_many_for_a_table_of_groups_are_dealt_level(monkeypatch):
    monkeypatch.setattr("pipeline.data.splitting._MOST_CELLS", 0)
    images = many_classes([7, 3, 12, 1, 5] * 40)
    folds = assign_folds(images, 5, 3)
    counts = pd.crosstab(images["label"], folds).to_numpy()
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    totals = counts.sum(axis=0)
    assert totals.max() - totals.min() <= 5
    assert (assign_folds(images.sample(frac=1, random_state=0), 5, 3) != -1).all()


def test_dealt_groups_never_cross_folds_and_follow_ids_alone(monkeypatch):
    monkeypatch.setattr("pipeline.data.splitting._MOST_CELLS", 0)
    images = many_classes([9] * 12)
    images["group"] = images["group"].str.replace("-[01]$", "-first", regex=True)
    folds = pd.Series(assign_folds(images, 3, 0), index=images["image_id"])
    assert images.assign(fold=folds.to_numpy()).groupby("group")["fold"].nunique().max() == 1
    mixed = images.sample(frac=1, random_state=1)
    again = pd.Series(assign_folds(mixed, 3, 0), index=mixed["image_id"])
    assert again.sort_index().equals(folds.sort_index())


def test_classes_that_lie_in_one_fold_are_always_learned_with_their_copies():
    images = many_classes([1, 4, 4])
    images["group"] = images["group"].replace("1-0", "0-0")  # a copy of the only one of class 0
    folds = np.array([0, 0, 1, 0, 1, 0, 1, 0, 1])
    kept = keep_known(images, folds)
    assert kept.tolist() == [-1, -1, 1, 0, 1, 0, 1, 0, 1]


def test_class_that_a_copy_leaves_in_one_fold_is_learned_as_well():
    images = many_classes([1, 2, 4])
    images["group"] = images["group"].replace("1-0", "0-0")
    kept = keep_known(images, np.array([0, 0, 1, 0, 1, 0, 1]))
    assert kept.tolist() == [-1, -1, -1, 0, 1, 0, 1]


def labelled(num: int = 300, seed: int = 0) -> tuple[pd.DataFrame, list[tuple[str, ...]]]:
    """Images of which each has some of four labels, the last of them rare."""
    rng = np.random.default_rng(seed)
    marks = rng.random((num, 4)) < (0.6, 0.3, 0.1, 0.03)
    names = [f"{index}.jpg" for index in range(num)]
    labels = [tuple(f"label {place}" for place in np.flatnonzero(row)) for row in marks]
    return pd.DataFrame({"image_id": names, "group": names}), labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_are_level_in_every_label_an_image_may_have_with_others(seed):
    images, labels = labelled()
    folds = assign_folds_by_labels(images, labels, 5, seed)
    assert np.bincount(folds).tolist() == [60] * 5
    told = [(name, fold) for one, fold in zip(labels, folds, strict=True) for name in one]
    table = pd.DataFrame(told, columns=["label", "fold"])
    counts = pd.crosstab(table["label"], table["fold"])
    assert counts.shape == (4, 5)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 2


def test_copies_with_labels_share_a_fold_and_ids_alone_decide():
    images, labels = labelled(60)
    images["group"] = [f"{index // 3}" for index in range(60)]
    folds = assign_folds_by_labels(images, labels, 3, 0)
    assert images.assign(fold=folds).groupby("group")["fold"].nunique().max() == 1
    order = np.random.default_rng(0).permutation(60)
    mixed = assign_folds_by_labels(images.iloc[order], [labels[at] for at in order], 3, 0)
    assert (mixed == folds[order]).all()
