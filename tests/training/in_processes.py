"""Runs a function in processes that train together, as accelerate's launcher starts them."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


def run(work: Callable[[], Any], count: int = 2) -> list[Any]:
    """Return what a module's function returns in each of `count` processes, by their rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    running = []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(work, theirs))
        with _launched(rank, count, port):
            process.start()
        theirs.close()
        running.append((process, ours))
    results = [pipe.recv() for _, pipe in running]  # EOFError: it failed, its traceback is above
    for process, _ in running:
        process.join()
    return results


@contextmanager
def _launched(rank: int, count: int, port: int) -> Iterator[None]:
    """Set what the launcher sets."""
    before = dict(os.environ)
    values = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ |= {name: str(value) for name, value in values.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(work: Callable[[], Any], pipe: Connection) -> None:
    import torch.distributed

    pipe.send(work())
    torch.distributed.destroy_process_group()
