import re
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from pipeline.config import ImageConfig
from pipeline.errors import DataError
from pipeline.images.dataset import ViewDataset, _one_thread
from pipeline.images.decode import decode_rgb
from pipeline.images.views import View, ViewMaker
from pipeline.paths import Paths
from pipeline.tables import load_test, load_train

CONFIG = ImageConfig(size_px=32)
VIEWS = (View(), View("heavy"), View("heavy", number=1))


@pytest.fixture
def paths(drawn):
    root, competition = drawn
    return Paths(root, competition.name)


@pytest.fixture
def train(paths):
    return load_train(paths).head(8)


def test_an_item_holds_the_views_of_its_image(paths, train):
    item = ViewDataset(paths, [(train, VIEWS)], CONFIG)[3].numpy()
    row = train.iloc[3]
    image = decode_rgb((paths.images_dir / row["path"]).read_bytes())
    maker = ViewMaker(CONFIG)
    expected = [maker.make(view, image, row["sha256"]) for view in VIEWS]
    np.testing.assert_array_equal(item, expected)
    assert item.shape == (3, 32, 32, 3)
    assert item.dtype == np.uint8


def test_items_are_numbered_through_all_parts(paths, train):
    test = load_test(paths)
    test = test[test["width"] > 0].head(2)
    dataset = ViewDataset(paths, [(train, VIEWS), (test, (View(),))], CONFIG)
    assert len(dataset) == 10
    assert len(dataset[7]) == 3
    np.testing.assert_array_equal(
        dataset[9].numpy(), ViewDataset(paths, [(test, (View(),))], CONFIG)[1].numpy()
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_views_are_the_same_for_any_number_of_workers_and_any_order(paths, train, workers):
    def views_by_id(table: Any, workers: int, batch_size: int) -> dict[str, Any]:
        dataset = ViewDataset(paths, [(table, VIEWS)], CONFIG)
        loader = DataLoader(
            dataset, batch_size, num_workers=workers, worker_init_fn=_one_thread, drop_last=False
        )
        items = [item for batch in loader for item in batch.numpy()]
        return dict(zip(table["image_id"], items, strict=True))

    straight = views_by_id(train, 0, 1)
    shuffled = views_by_id(train.sample(frac=1, random_state=1), workers, 3)
    assert straight.keys() == shuffled.keys()
    for image_id, item in straight.items():
        np.testing.assert_array_equal(item, shuffled[image_id], err_msg=image_id)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_an_image_that_cannot_be_read_any_more_is_named(workspace, damage):
    paths, _ = workspace
    train = load_train(paths).head(2)
    path = paths.images_dir / train["path"][1]
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    line = (
        rf"^{re.escape(str(path))}: image '{re.escape(train['image_id'][1])}' must still be "
        r"readable, isn't \(.+\); run 'pipeline prepare demo'$"
    )
    dataset = ViewDataset(paths, [(train, VIEWS)], CONFIG)
    assert len(dataset[0]) == 3
    with pytest.raises(DataError, match=line):
        dataset[1]
