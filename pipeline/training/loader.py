"""Read batches of views in processes beside the one that computes."""

import shutil
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from pipeline.config.experiment import ImageConfig, ViewConfig
from pipeline.console import warn
from pipeline.errors import DataError, DiskError
from pipeline.images.decoder_pool import killed_worker, prepare_worker
from pipeline.images.views import View, ViewMaker
from pipeline.images.working_copy import ImageRows, WorkingCopies
from pipeline.machine import num_cpus, num_local_processes, num_processes

# Where batches lie on their way from process to process; a container may have only 64 MB of it.
SHARED_MEMORY = Path("/dev/shm")

# Batches that each process works on or has ready, and those that are being used.
_AHEAD = 2
_IN_USE = 2

# What fetching a batch raises whose process has died.
_CANNOT_FETCH = (ConnectionError, EOFError, FileNotFoundError)


class Batch(NamedTuple):
    """Images that are loaded together, in the same views.

    Attributes:
        rows: Numbers of the images in their table, B of them.
        views: V views of each.
    """

    rows: list[int]
    views: tuple[View, ...]


class ViewDataset(Dataset[torch.Tensor]):
    """Views of a table's images, a whole batch at a time; every image is read once for its views.

    Args:
        copies: The images' working copies, which views are made from.
        images: The table: `train.csv` or `test.csv`, or some rows of them.
        config: How an image becomes the network's input.
        views: Holds the transforms of the recipe "custom".
    """

    def __init__(
        self, copies: WorkingCopies, images: pd.DataFrame, config: ImageConfig, views: ViewConfig
    ) -> None:
        self._copies = copies
        self._images = ImageRows(images)
        self._config = config
        self._views = views
        self._maker: ViewMaker | None = None  # made where it is used: it can't travel

    def __getitem__(self, batch: Batch) -> torch.Tensor:
        """Return `(B, V, size_px, size_px, 3)` uint8.

        Raises:
            DataError: An image can't be read any more.
        """
        rows, views = batch
        maker = self._maker = self._maker or ViewMaker(self._config, self._views)
        size = self._config.size_px
        pixels = np.empty((len(rows), len(views), size, size, 3), dtype=np.uint8)
        for place, image in zip(pixels, (self._images[row] for row in rows), strict=True):
            copy = self._copies.read(image)
            for number, view in enumerate(views):
                place[number] = maker.make(view, copy, image.sha256)
        return torch.from_numpy(pixels)

    def num_bytes(self, batch: Batch) -> int:
        """Return a batch's size in bytes."""
        return len(batch.rows) * len(batch.views) * self._config.size_px**2 * 3


class ViewLoader:
    """Reads batches of a dataset in processes, which stay for the next epoch.

    Args:
        dataset: What to read.
        device_type: What computes meanwhile: a network keeps the cores of a "cpu" busy, so one
            process must do there; beside "cuda" they are all free to decode, and shared by the
            processes that train.
        num_workers: How many processes instead; 0 reads in this one.
    """

    def __init__(
        self, dataset: ViewDataset, device_type: str, num_workers: int | None = None
    ) -> None:
        usual = 1 if device_type == "cpu" else min(max(num_cpus() // num_local_processes(), 1), 16)
        self._num_workers = usual if num_workers is None else num_workers
        self._is_pinned = device_type == "cuda"
        self._dataset = dataset
        self._plan = _Plan()
        self._loader: DataLoader[torch.Tensor] | None = None
        self._is_busy = False

    def load(
        self, batches: Iterable[Batch], most_bytes: int | None = None
    ) -> Generator[torch.Tensor, None, None]:
        """Read batches, in the order given; the next call must wait until these are read.

        Args:
            batches: What to read; asked for one by one where they are made while they are read.
            most_bytes: What the largest takes; None to look at them all.

        Yields:
            `(B, V, size_px, size_px, 3)` uint8.

        Raises:
            DataError: An image can't be read any more, or a process was killed.
        """
        assert not self._is_busy
        if not batches:
            return
        if self._loader is None:
            most = most_bytes or max(map(self._dataset.num_bytes, batches))
            self._loader = self._start(most)
        self._plan.batches = batches
        self._is_busy, is_whole = True, False
        loading: Iterator[torch.Tensor] | None = None
        try:
            loading = iter(self._loader)
            _wait_to_be_asked()
            yield from loading
            is_whole = True
        except DataError as error:
            # A worker's error arrives with its traceback; ours is the last line.
            line = str(error.args[0]).strip().splitlines()[-1]
            kind = DiskError if "DiskError: " in line else DataError
            raise kind(line.partition(f"{kind.__name__}: ")[2] or line) from error
        except (RuntimeError, *_CANNOT_FETCH) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise killed_worker() from error
        finally:
            self._is_busy = False
            if not is_whole:
                # The processes end at once. Left to the search for garbage, which ends their queues
                # first, each of them would be waited for: 5 s.
                loading = self._loader = None

    def _start(self, batch_bytes: int) -> DataLoader[torch.Tensor]:
        num_workers = self._num_workers
        if num_workers and SHARED_MEMORY.exists():
            free = shutil.disk_usage(SHARED_MEMORY).free
            num_workers = fitting_workers(num_workers, batch_bytes, free)
        return DataLoader(
            self._dataset,
            batch_size=None,  # the plan says what belongs together
            sampler=self._plan,
            num_workers=num_workers,
            prefetch_factor=_AHEAD if num_workers else None,
            persistent_workers=num_workers > 0,
            # Beside threads of other processes' messages, a fork may end with a lock that nobody
            # frees any more (seen once in some ten trainings by two processes, Python 3.11).
            multiprocessing_context="spawn" if num_workers and num_processes() > 1 else None,
            worker_init_fn=_prepare,
            collate_fn=_shared,  # type: ignore[arg-type]  # there is nothing to collate
            pin_memory=self._is_pinned,
            generator=torch.Generator(),  # else every epoch would draw from torch's own stream
        )


class _Plan(Sampler[Batch]):
    """The batches of the current epoch."""

    batches: Iterable[Batch] = ()

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def fitting_workers(wanted: int, batch_bytes: int, free_bytes: int) -> int:
    """Return how many processes the shared memory is enough for; warn if it isn't for all.

    Args:
        wanted: Number of processes.
        batch_bytes: Size of the largest batch.
        free_bytes: Shared memory that is free.
    """
    fitting = max(0, free_bytes // batch_bytes - _IN_USE) // _AHEAD
    if fitting < wanted:
        warn(
            f"{SHARED_MEMORY}: {wanted} processes that read images want "
            f"{(wanted * _AHEAD + _IN_USE) * batch_bytes / 1e6:,.0f} MB, "
            f"{free_bytes / 1e6:,.0f} MB are free, so there are {fitting}; "
            "a container gets more by --shm-size"
        )
    return min(wanted, fitting)


def _wait_to_be_asked() -> None:
    """Have a worker's death raised where its batch is waited for, within seconds.

    Torch raises it from a signal handler at once, in the midst of whatever this process is doing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _shared(views: torch.Tensor) -> torch.Tensor:
    """Put what a process has read where the main one sees it.

    Torch would do so later, in a thread whose failures nobody hears of: the batch never comes.

    Raises:
        DiskError: There is no room for it.
    """
    if torch.utils.data.get_worker_info() is None:
        return views
    try:
        return cast("torch.Tensor", views.share_memory_())  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else 0
        raise DiskError(
            f"{SHARED_MEMORY}: must have room for a batch of {views.nbytes:,} bytes, {free:,} "
            f"are free ({str(error).rpartition(': ')[2]}); a container gets more by --shm-size, "
            "'ulimit -f' must allow as much; then run the same command again"
        ) from error


def _prepare(_: int) -> None:
    prepare_worker()
