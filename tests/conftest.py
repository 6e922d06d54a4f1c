"""One tiny drawn competition for all: drawn, prepared and split once, copied where it changes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.config.competition import Competition, load_competition
from pipeline.stages import download, folds, prepare
from pipeline.store.paths import Paths
from tests.data.archives.website import Website, serve

NUM_FOLDS = 2

# What `pick_device` and accelerate look at, in this process and in those that tests start.
_USE_CPU = "ACCELERATE_USE_CPU"

# Nothing is timed in a test: a busy machine isn't a fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def tiny_demo(name: str = "demo", num_train: int = 32, num_test: int = 8) -> Competition:
    """Return a built-in drawn competition with few and small images, odd files included."""
    competition = load_competition(name)
    assert competition.synthetic is not None
    sizes = {"num_train": num_train, "num_test": num_test, "min_side_px": 48, "max_side_px": 64}
    drawn = competition.synthetic.model_copy(update=sizes)
    return competition.model_copy(update={"synthetic": drawn})


def pytest_configure() -> None:
    """Compute on the CPU: its numbers are the same in every run, a GPU's needn't be."""
    os.environ[_USE_CPU] = "true"
    # To convert a network takes a second: the tests that are about it say so.
    os.environ.setdefault("PIPELINE_CPU_BACKEND", "torch")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compute on the GPU in what is marked `gpu`, and skip that where there is none."""
    is_marked = item.get_closest_marker("gpu") is not None
    if is_marked:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if is_marked == (_USE_CPU in os.environ):
        _change_device(to_gpu=is_marked)


def _change_device(*, to_gpu: bool) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # it remembers the device
    if to_gpu:
        del os.environ[_USE_CPU]
    else:
        os.environ[_USE_CPU] = "true"


@pytest.fixture(scope="session")
def _one_thread() -> Iterator[None]:
    """On tiny batches, threads only wait for each other; one until the session's end."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    """A web server on this machine, with nothing on it yet."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as site:
        yield site


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Competition]:
    """The root of a downloaded, prepared and split `demo`; never change anything in it."""
    root, competition = tmp_path_factory.mktemp("drawn"), tiny_demo()
    paths = Paths(root, competition.name)
    download.run(paths, competition, None)
    prepare.run(paths, competition, workers=1)
    folds.run(paths, competition, NUM_FOLDS, seed=0)
    return root, competition


@pytest.fixture
def workspace(drawn: tuple[Path, Competition], tmp_path: Path) -> tuple[Paths, Competition]:
    """A copy of `drawn` to work in; the images and archives in it are read-only files."""
    root, competition = drawn
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    return Paths(copy, competition.name), competition
