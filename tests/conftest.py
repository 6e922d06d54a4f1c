"""One tiny drawn competition for all: drawn, prepared and split once, copied where it changes."""

import gc
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from pipeline.config.competition import Competition, load_competition
from pipeline.machine import num_cpus
from pipeline.stages import download, folds, prepare
from pipeline.store.paths import Paths
from tests.data.archives.website import Website, serve

NUM_FOLDS = 2

Made = TypeVar("Made")

_READERS = ("data.drawing.draw_competition", "data.audit", "images.cache", "inference.folder")

# What `pick_device` and accelerate look at, in this process and in those that tests start.
_USE_CPU = "ACCELERATE_USE_CPU"

# On tiny batches, threads only wait for each other, and workers of a session would fight for cores.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}

# Nothing is timed in a test: a busy machine isn't a fault. `make test-all` asks for `thorough`.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _UNTIMED, max_examples=12)
settings.register_profile("thorough", _UNTIMED, max_examples=100)
settings.load_profile("quick")


def tiny_demo(name: str = "demo", num_train: int = 32, num_test: int = 8) -> Competition:
    """Return a built-in drawn competition with few and small images, odd files included."""
    competition = load_competition(name)
    assert competition.synthetic is not None
    sizes = {"num_train": num_train, "num_test": num_test, "min_side_px": 48, "max_side_px": 64}
    drawn = competition.synthetic.model_copy(update=sizes)
    return competition.model_copy(update={"synthetic": drawn})


def pytest_configure() -> None:
    """Compute on the CPU, in one thread: its numbers are the same in every run."""
    os.environ |= {_USE_CPU: "true"} | _ONE_THREAD
    # To convert a network takes a second: the tests that are about it say so.
    os.environ.setdefault("PIPELINE_CPU_BACKEND", "torch")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start a worker per core that this session may use (`-n auto`)."""
    return num_cpus()


def pytest_collection_finish() -> None:
    """Spare what was imported the search for garbage, which every training ends with."""
    gc.freeze()


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


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """Make something in a folder, once for all workers of a session; never change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
    return cast("Made", pickle.loads(made.read_bytes()))


@pytest.fixture(autouse=True)
def _read_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on images in this process, not in one that takes a second to start.

    What is made once for all is made in processes, and so is what is marked `processes`.
    """
    if request.node.get_closest_marker("processes"):
        return
    for module in _READERS:
        monkeypatch.setattr(f"pipeline.{module}.map_in_processes", _map_here)


def _map_here(work: Callable[[Any], Any], items: Sequence[Any], *_: object) -> Iterator[Any]:
    return map(work, items)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Website]:
    """A web server on this machine, with nothing on it yet."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as site:
        yield site


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Competition]:
    """The root of a downloaded, prepared and split `demo`; never change anything in it."""
    return shared(tmp_path_factory, "drawn", _draw)


def _draw(root: Path) -> tuple[Path, Competition]:
    competition = tiny_demo()
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
