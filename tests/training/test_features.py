import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config.experiment import Experiment
from pipeline.errors import ArtifactError, DataError, DiskError
from pipeline.images.views import View, ViewMaker
from pipeline.images.working_copy import working_copy, working_side_px
from pipeline.models.registry import build_trunk
from pipeline.store.cache_budget import VARIABLE
from pipeline.store.paths import Paths
from pipeline.store.tables import load_train
from pipeline.training import feature_cache, features
from pipeline.training.feature_cache import FeatureArray, FeatureCache, FeatureRows
from pipeline.training.features import FeatureExtractor
from pipeline.training.shared_blocks import Block, SharedBlocks
from tests import tiny

VIEWS = [View(), View(is_mirrored=True), View("light", number=1)]


@pytest.fixture
def paths(workspace):
    return workspace[0]


@pytest.fixture
def images(paths):
    return load_train(paths).head(10)


@pytest.fixture
def small_blocks(monkeypatch):
    """Three blocks for ten images, of two batches or one."""
    monkeypatch.setattr(feature_cache, "BLOCK_SIZE", 4)
    monkeypatch.setattr(features, "BATCH_SIZE", 3)


def extract(
    paths: Paths, rows: pd.DataFrame, views: Sequence[View] = VIEWS, **changes: Any
) -> FeatureArray:
    return whole(extractor_of(paths, tiny.experiment(**changes)).extract(rows, views, "train"))


def whole(views: Sequence[FeatureRows]) -> FeatureArray:
    """Put the rows of all views into one array, `(V, N, ...)`."""
    return np.stack([view.take(range(len(view))) for view in views])


def extractor_of(paths: Paths, experiment: Experiment) -> FeatureExtractor:
    trunk = build_trunk(experiment.model, experiment.seed)
    return FeatureExtractor(paths, experiment, trunk)


def cached(paths: Paths) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(paths.features_dir.rglob("*.npy"))}


def test_features_are_those_of_a_plain_forward_pass(paths, images):
    images_config = {"size_px": 32, "mean": (0.4, 0.5, 0.6)}
    experiment = tiny.experiment(images=images_config, train={"precision": "fp32"})
    extractor = extractor_of(paths, experiment)
    found = whole(extractor.extract(images, VIEWS, "train"))
    maker = ViewMaker(experiment.images, experiment.views)
    network, side = extractor._layers.module, working_side_px(experiment.images)
    mean, std = (np.array(values) for values in (experiment.images.mean, experiment.images.std))
    assert found.shape == (3, 10, 96)
    assert found.dtype == np.float16
    for number, view in enumerate(VIEWS):
        for row, image in enumerate(images.itertuples()):
            pixels = working_copy((paths.images_dir / image.path).read_bytes(), side)
            prepared = (maker.make(view, pixels, image.sha256) / 255 - mean) / std
            batch = torch.tensor(prepared, dtype=torch.float32).permute(2, 0, 1)[None]
            with torch.inference_mode():
                expected = network(batch)[0].numpy()
            np.testing.assert_allclose(found[number, row], expected, rtol=2e-3, atol=1e-5)


def test_a_second_time_nothing_is_computed(paths, images):
    first = extract(paths, images)
    shutil.rmtree(paths.images_dir)
    np.testing.assert_array_equal(extract(paths, images), first)


def test_blocks_and_batches_change_no_number(paths, images, monkeypatch):
    expected = extract(paths, images)
    shutil.rmtree(paths.features_dir)
    monkeypatch.setattr(feature_cache, "BLOCK_SIZE", 4)
    monkeypatch.setattr(features, "BATCH_SIZE", 3)
    # Other batches may be summed in another order; bfloat16 keeps 8 bits.
    np.testing.assert_allclose(extract(paths, images), expected, rtol=2e-2, atol=2e-3)
    assert len(cached(paths)) == 3 * len(VIEWS)


@pytest.mark.usefixtures("small_blocks")
def test_processes_that_train_together_share_the_blocks(paths, images, monkeypatch):
    extractor = extractor_of(paths, tiny.experiment())
    monkeypatch.setattr("pipeline.training.features.processes.wait_for_all", lambda: None)
    monkeypatch.setattr("pipeline.training.features.processes.broadcast", lambda _: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("pipeline.training.loader.num_processes", lambda: 1)  # forks are quicker
    counts = []
    for number in ("1", "0"):
        monkeypatch.setenv("RANK", number)
        extractor._fill_cache(images, [View()], "train")
        counts.append(len(cached(paths)))
    assert counts == [1, 3]
    assert len(extractor.cache.rows(images, View())) == 10


@pytest.mark.usefixtures("small_blocks")
def test_a_broken_off_run_goes_on_to_the_same_bytes(paths, images):
    first = extract(paths, images)
    whole = cached(paths)
    lost = list(whole)[::2]
    for path in lost:
        path.unlink()
    np.testing.assert_array_equal(extract(paths, images), first)
    assert cached(paths) == whole


@pytest.mark.usefixtures("small_blocks")
def test_views_computed_one_by_one_are_those_computed_together(paths, images):
    together = extract(paths, images)
    shutil.rmtree(paths.features_dir)
    one_by_one = [extract(paths, images, [view])[0] for view in VIEWS]
    np.testing.assert_allclose(one_by_one, together, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "timm/test_efficientnet", "weights": "none"}},
        {"seed": 1},
        {"images": {"size_px": 48}},
        {"images": {"size_px": 32, "std": (0.5, 0.5, 0.5)}},
        {"images": {"size_px": 32, "crop_fraction": 1.0}},
    ],
)
def test_what_decides_the_numbers_is_in_the_name(paths, images, changes):
    extract(paths, images, [View()])
    before = cached(paths)
    extract(paths, images, [View()], **changes)
    assert len(cached(paths)) == len(before) + 1


def test_precision_and_device_are_in_the_name(paths, images):
    for precision in ("fp32", "bf16"):
        extract(paths, images, [View()], train={"precision": precision})
    assert len(cached(paths)) == 2


def test_another_content_under_the_same_name_is_another_block(paths, images):
    extract(paths, images, [View()])
    changed = images["path"].iloc[0]
    (paths.images_dir / changed).unlink()
    shutil.copy(paths.images_dir / images["path"].iloc[1], paths.images_dir / changed)
    sha256 = [images["sha256"].iloc[1], *images["sha256"].iloc[1:]]
    extract(paths, images.assign(sha256=sha256), [View()])
    assert len(cached(paths)) == 2


def test_experiments_that_differ_in_the_head_share_their_features(paths, images):
    first = extract(paths, images)
    shutil.rmtree(paths.images_dir)
    second = extract(paths, images, name="other", head={"l2": 5.0})
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "rows"])
def test_a_damaged_block_is_named(paths, images, damage):
    extract(paths, images, [View()])
    (path,) = cached(paths)
    content = path.read_bytes()
    damaged = {"cut": content[:-9], "empty": b"", "text": b"hello, this is no array"}
    path.write_bytes(damaged.get(damage, b""))
    if damage == "rows":
        np.save(path, np.zeros((3, 96), dtype=np.float16))
    line = rf"^{re.escape(str(path))}: damaged \(.+\); delete it and run the same command again$"
    with pytest.raises(ArtifactError, match=line):
        extract(paths, images, [View()])


@pytest.mark.usefixtures("small_blocks")
def test_a_missing_image_is_named_in_one_line_and_whole_blocks_stay(paths, images):
    path = paths.images_dir / images["path"].iloc[8]
    content = path.read_bytes()
    path.unlink()
    line = (
        rf"^{re.escape(str(path))}: image '{re.escape(images['image_id'].iloc[8])}' must be as "
        r"it was prepared, found: .+; run 'pipeline prepare demo'$"
    )
    with pytest.raises(DataError, match=line) as caught:
        extract(paths, images, [View()])
    assert len(str(caught.value).splitlines()) == 1
    assert len(cached(paths)) == 2
    path.write_bytes(content)
    assert extract(paths, images, [View()]).shape == (1, 10, 96)


@pytest.mark.usefixtures("small_blocks")
def test_batches_cover_their_block_and_nothing_else(small_blocks, images):
    del small_blocks
    rows = [batch.rows for batch in Block(4, images.head(4), (View(),)).batches(3)]
    assert rows == [[4, 5, 6], [7]]


@pytest.fixture
def budget(monkeypatch):
    """Allows so many bytes."""
    return lambda num_bytes: monkeypatch.setenv(VARIABLE, str(num_bytes / 1e9))


def age(paths: Paths) -> None:
    """Let what is cached be of an earlier run."""
    for path in cached(paths):
        os.utime(path, (0, 0))


@pytest.mark.usefixtures("small_blocks")
def test_what_has_no_room_is_computed_every_time_to_the_same_bits(paths, images, budget, capsys):
    budget(0)
    computed = extract(paths, images)
    assert cached(paths) == {}
    told = " ".join(capsys.readouterr().err.split())
    assert f"{paths.features_dir}: has room for 0.0 GB, what the frozen layers make of 10" in told
    budget(10**9)
    np.testing.assert_array_equal(extract(paths, images), computed)
    assert len(cached(paths)) == 3 * len(VIEWS)


def test_what_lies_there_counts_unless_an_earlier_run_left_it(paths, images, budget):
    extract(paths, images, [View()])
    (first,) = cached(paths)
    budget(1.5 * first.stat().st_size)
    extract(paths, images, [View()], seed=1)
    assert set(cached(paths)) == {first}
    age(paths)
    extract(paths, images, [View()], seed=1)
    (second,) = cached(paths)
    assert second != first


def test_the_longest_unused_goes_first_and_nothing_more_than_must(paths, images, budget):
    for seed in (0, 1):
        extract(paths, images, [View()], seed=seed)
    age(paths)
    extract(paths, images, [View()])  # used again
    used = next(path for path in cached(paths) if path.stat().st_mtime > 0)
    (unused,) = cached(paths).keys() - {used}
    os.utime(used, (1, 1))
    budget(2.5 * used.stat().st_size)
    extract(paths, images, [View()], seed=2)
    assert used in cached(paths)
    assert unused not in cached(paths)


def test_nothing_is_deleted_for_what_does_not_fit_anyway(paths, images, budget):
    extract(paths, images, [View()])
    before = cached(paths)
    age(paths)
    budget(2.5 * next(iter(before)).stat().st_size)
    extract(paths, images, VIEWS, seed=1)
    assert cached(paths) == before


@pytest.mark.usefixtures("small_blocks")
def test_what_another_run_deletes_before_it_is_opened_is_computed(paths, images, monkeypatch):
    expected = extract(paths, images)
    extractor = extractor_of(paths, tiny.experiment())
    read = feature_cache.read_block

    def deleted(path, num_images):
        path.unlink()
        return read(path, num_images)

    monkeypatch.setattr(feature_cache, "read_block", deleted)
    np.testing.assert_array_equal(whole(extractor.extract(images, VIEWS, "train")), expected)
    extractor.extract(images, VIEWS, "train")
    assert extractor.cached(images, VIEWS, "train") is None


@pytest.mark.usefixtures("small_blocks")
def test_rows_come_in_any_order_from_however_few_open_files(paths, images, monkeypatch):
    monkeypatch.setattr(feature_cache, "most_open_files", lambda: 1)
    extractor = extractor_of(paths, tiny.experiment())
    (rows,) = extractor.extract(images, [View()], "train")
    expected = extract(paths, images, [View()])[0]
    order = [9, 0, 5, 5, 1, 8]
    np.testing.assert_array_equal(rows.take(order), expected[order])
    assert extractor.cache._open.cache_info().currsize == 1
    assert rows.take([]).shape == (0, 96)


@pytest.mark.usefixtures("small_blocks")
def test_what_writing_a_block_raises_ends_the_run_and_claims_nothing(paths, images, monkeypatch):
    def fail(*_):
        raise DiskError("disk: must have room")

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "write", fail)
        with pytest.raises(DiskError, match="must have room"):
            extract(paths, images)
    assert not cached(paths)
    extract(paths, images)
    assert cached(paths)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_that_another_command_is_at_are_left_to_it(paths, images, capsys, monkeypatch):
    expected = extract(paths, images)
    kept = {path: path.read_bytes() for path in cached(paths)}
    for path in kept:
        path.unlink()
    extractor = extractor_of(paths, tiny.experiment())
    claimed = extractor.cache.claim(images.iloc[4:8], VIEWS[0])
    assert claimed is not None
    give_back = claimed
    paused = []

    class Others(SharedBlocks):
        def pause(self, what):
            super().pause(what)
            paused.append(len(cached(paths)))
            for path, content in kept.items():  # the other command is done
                path.write_bytes(content)
            give_back()

    monkeypatch.setattr(features, "SharedBlocks", Others)
    found = whole(extractor.extract(images, VIEWS, "train"))
    np.testing.assert_array_equal(found, expected)
    assert paused[0] == 2 * len(VIEWS)  # all but the block that was taken
    assert "waiting for another command's last 4 images" in capsys.readouterr().err


@pytest.mark.usefixtures("small_blocks")
def test_blocks_that_share_a_lock_arent_taken_for_another_commands(
    paths, images, capsys, monkeypatch
):
    path_of = FeatureCache._path

    def in_one_folder(self, block, view):
        path = path_of(self, block, view)
        return path.parent.parent / "aa" / path.name

    monkeypatch.setattr(FeatureCache, "_path", in_one_folder)
    assert extract(paths, images).shape == (len(VIEWS), 10, 96)
    assert len(cached(paths)) == 3 * len(VIEWS)
    assert "another command" not in capsys.readouterr().err
