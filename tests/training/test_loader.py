import os
import re
import signal

import numpy as np
import psutil
import pytest
import torch

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.errors import DataError
from pipeline.images.cache import CachedCopies
from pipeline.images.views import View
from pipeline.images.working_copy import WorkingCopies, working_side_px
from pipeline.store.tables import load_train
from pipeline.training.loader import Batch, ViewDataset, ViewLoader, fitting_workers

IMAGES, VIEWS = ImageConfig(size_px=32), ViewConfig()
SIDE = working_side_px(IMAGES)


@pytest.fixture
def paths(workspace):
    return workspace[0]


@pytest.fixture
def train(paths):
    return load_train(paths).head(12)


@pytest.fixture
def dataset(paths, train):
    return ViewDataset(WorkingCopies(paths, SIDE), train, IMAGES, VIEWS)


def epoch(number: int, rows: list[int], size: int = 5) -> list[Batch]:
    views = (View("heavy", number=number), View())
    return [Batch(rows[i : i + size], views) for i in range(0, len(rows), size)]


def images_of(loader: ViewLoader, batches: list[Batch]) -> dict[int, np.ndarray]:
    """Load batches; return the pixels by row."""
    rows = [row for batch in batches for row in batch.rows]
    pixels = torch.cat(list(loader.load(batches))).numpy()
    return dict(zip(rows, pixels, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than cores
@pytest.mark.parametrize("num_workers", [1, 4, 8])
def test_views_are_the_same_for_any_number_of_processes_and_any_order(
    paths, train, dataset, num_workers
):
    straight, cached = ViewLoader(dataset, "cpu", 0), CachedCopies(paths, SIDE, train)
    cached.build()
    loader = ViewLoader(ViewDataset(cached, train, IMAGES, VIEWS), "cpu", num_workers)
    for number in range(2):
        rows = list(range(len(train)))
        expected = images_of(straight, epoch(number, rows))
        shuffled = np.random.default_rng(number).permutation(rows).tolist()
        found = images_of(loader, epoch(number, shuffled, size=3))
        for row in rows:
            np.testing.assert_array_equal(found[row], expected[row])


def test_batches_may_differ_in_their_views(dataset):
    batches = [Batch([1, 2, 3], (View(),)), Batch([0], (View(), View("light")))]
    shapes = [tuple(pixels.shape) for pixels in ViewLoader(dataset, "cpu").load(batches)]
    assert shapes == [(3, 1, 32, 32, 3), (1, 2, 32, 32, 3)]


def test_nothing_is_loaded_where_nothing_is_asked_for(dataset):
    assert list(ViewLoader(dataset, "cpu").load([])) == []


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_processes_stay_for_the_next_epoch_and_go_with_the_loader(dataset):
    before = children()
    loader = ViewLoader(dataset, "cpu", 1)
    list(loader.load(epoch(0, [0, 1])))
    during = children()
    list(loader.load(epoch(1, [0, 1])))
    assert len(during - before) == 1
    assert children() == during
    del loader
    assert children() == before


def test_an_epoch_that_is_left_early_does_not_show_in_the_next(dataset):
    loader = ViewLoader(dataset, "cpu", 1)
    broken = loader.load(epoch(0, list(range(10)), size=1))
    next(broken)
    del broken
    found = images_of(loader, epoch(1, [3, 4]))
    expected = images_of(ViewLoader(dataset, "cpu", 0), epoch(1, [3, 4]))
    for row in (3, 4):
        np.testing.assert_array_equal(found[row], expected[row])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_random_stream_of_torch_is_left_alone(dataset, num_workers):
    before = torch.get_rng_state()
    list(ViewLoader(dataset, "cpu", num_workers).load(epoch(0, [0, 1])))
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_train_together_share_the_cores(dataset, monkeypatch):
    monkeypatch.setattr("pipeline.training.loader.num_cpus", lambda: 12)
    assert ViewLoader(dataset, "cuda")._num_workers == 12
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert ViewLoader(dataset, "cuda")._num_workers == 3


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_image_is_told_in_one_line(paths, train, dataset, num_workers):
    path = paths.images_dir / train["path"][2]
    path.unlink()
    line = (
        rf"^{re.escape(str(path))}: image '{re.escape(train['image_id'][2])}' must be as "
        r"it was prepared, found: .+; run 'pipeline prepare demo'$"
    )
    with pytest.raises(DataError, match=line):
        list(ViewLoader(dataset, "cpu", num_workers).load(epoch(0, [0, 1, 2])))


def test_ctrl_c_does_not_reach_the_processes(dataset):
    loader = ViewLoader(dataset, "cpu", 1)
    loading = loader.load(epoch(0, list(range(10)), size=1))
    before = children()
    next(loading)
    (worker,) = children() - before
    os.kill(worker, signal.SIGINT)
    assert len(list(loading)) == 9


def test_processes_end_at_once_where_not_all_is_read(dataset):
    loader = ViewLoader(dataset, "cpu", 1)
    before = children()
    loading = loader.load(epoch(0, list(range(10)), size=1))
    next(loading)
    (worker,) = children() - before
    loading.close()
    assert worker not in children()
    assert len(list(loader.load(epoch(0, [0, 1], size=1)))) == 2


def test_a_killed_process_is_told_in_one_line(dataset, monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 1.0)
    loader = ViewLoader(dataset, "cpu", 1)
    loading = loader.load(epoch(0, list(range(12)) * 20, size=1))
    before = children()
    next(loading)
    (worker,) = children() - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(DataError, match=r"^reading images: every process must stay alive, one was"):
        list(loading)


def test_as_many_processes_run_as_shared_memory_is_enough_for(capsys):
    assert fitting_workers(4, 1_000_000, 10_000_000) == 4
    assert capsys.readouterr().err == ""
    assert fitting_workers(4, 1_000_000, 9_999_999) == 3
    assert fitting_workers(4, 1_000_000, 100) == 0
    line = (
        "warning: /dev/shm: 4 processes that read images want 10 MB, 0 MB are free, so there are "
        "0; a container gets more by --shm-size"
    )
    assert line in capsys.readouterr().err.splitlines()
