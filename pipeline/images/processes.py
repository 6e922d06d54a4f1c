"""Processes that read images beside the main one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from pipeline.errors import DataError
from pipeline.machine import keep_freed_memory, num_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Work on items in one process per core; yields results in the order of the items.

    Raises:
        DataError: A process was killed.
    """
    num_workers = min(num_cpus(), len(items))
    if num_workers <= 1:
        yield from map(work, items)
        return
    # Spawned, not forked: the same on every platform, and safe beside threads.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(num_workers, context, _start) as pool:
            yield from pool.map(work, items)
    except BrokenProcessPool as error:
        raise killed_worker() from error


def _start() -> None:
    prepare_worker()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no orphan behind when the parent is killed: its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def prepare_worker() -> None:
    """Set up a process: one thread, as the processes share the cores; Ctrl-C is the parent's."""
    cv2.setNumThreads(0)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def killed_worker() -> DataError:
    """Say that a process died; the kernel kills one where memory runs out."""
    return DataError(
        "reading images: every process must stay alive, one was killed, most likely because memory "
        "ran out; free some and run the same command again"
    )
