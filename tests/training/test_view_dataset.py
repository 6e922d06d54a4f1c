import re

import numpy as np
import pytest

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.errors import DataError
from pipeline.images.views import View, ViewMaker
from pipeline.images.working_copy import WorkingCopies, working_copy, working_side_px
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train
from pipeline.training.loader import Batch, ViewDataset

IMAGES, VIEWS = ImageConfig(size_px=32), ViewConfig()
SIDE = working_side_px(IMAGES)
THREE = (View(), View("heavy"), View("heavy", number=1))


@pytest.fixture
def paths(drawn):
    root, competition = drawn
    return Paths(root, competition.name)


@pytest.fixture
def train(paths):
    return load_train(paths).head(8)


@pytest.fixture
def dataset(paths, train):
    return ViewDataset(WorkingCopies(paths, SIDE), train, IMAGES, VIEWS)


def test_a_batch_holds_the_views_of_its_images(paths, train, dataset):
    pixels = dataset[Batch([5, 3], THREE)].numpy()
    assert pixels.shape == (2, 3, 32, 32, 3)
    assert pixels.dtype == np.uint8
    maker = ViewMaker(IMAGES, VIEWS)
    for made, row in zip(pixels, (5, 3), strict=True):
        copy = working_copy((paths.images_dir / train["path"][row]).read_bytes(), SIDE)
        expected = [maker.make(view, copy, train["sha256"][row]) for view in THREE]
        np.testing.assert_array_equal(made, expected)


def test_other_images_in_a_batch_change_nothing(dataset):
    together = dataset[Batch([0, 1, 2], THREE)]
    for row in range(3):
        np.testing.assert_array_equal(dataset[Batch([row], THREE)][0], together[row])


@pytest.mark.parametrize("damage", ["gone", "cut", "swapped"])
def test_an_image_that_is_not_what_was_prepared_is_named(workspace, damage):
    paths, _ = workspace
    train = load_train(paths).head(2)
    path = paths.images_dir / train["path"][1]
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "swapped":
        path.write_bytes((paths.images_dir / train["path"][0]).read_bytes())
    line = (
        rf"^{re.escape(str(path))}: image '{re.escape(train['image_id'][1])}' must be as "
        r"it was prepared, found: [^;]+; (delete [^ ]+ and )?run 'pipeline prepare demo'$"
    )
    dataset = ViewDataset(WorkingCopies(paths, SIDE), train, IMAGES, VIEWS)
    assert len(dataset[Batch([0], THREE)]) == 1
    with pytest.raises(DataError, match=line):
        dataset[Batch([0, 1], THREE)]
