"""One side of a comparison in a process of its own.

What a process sets for its memory and its threads it can't take back, so sides that differ in that
can't take turns within one.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from benchmarks.ratio import Work, compare
from pipeline.console import result
from pipeline.training.device import pick_device


class Side:
    """Works in another process, whenever it is called and only then.

    Args:
        build: Makes the work, in there; a function of a module.
        arguments: What it is called with.

    Attributes:
        cpu_seconds: What each call took on all cores; unlike the time on the clock, it hardly
            shows what else the machine does.
    """

    def __init__(self, build: Callable[..., Work], *arguments: object) -> None:
        self.cpu_seconds: list[float] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments))
        self._process.start()
        theirs.close()

    def __call__(self) -> Any:
        """Do the work once and return what it returns.

        Raises:
            RuntimeError: The process failed; it has shown its traceback.
        """
        try:
            self._pipe.send(None)
            returned, cpu_seconds = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("a side's process failed; its traceback is above") from error
        self.cpu_seconds.append(cpu_seconds)
        return returned

    def __enter__(self) -> Self:
        """Return the side itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def compare_sides(title: str, ours: Side, other: Side, num_images: int, rounds: int = 7) -> None:
    """Print how many times faster `ours` is, by the clock and, where a CPU computes, in CPU time.

    What else a machine does makes work take longer, never shorter, so the least CPU times are
    compared.

    Args:
        title: What is compared.
        ours: One side.
        other: The same work done the other way.
        num_images: How many images each works on at once.
        rounds: How often each side is timed.
    """
    compare(title, ours, other, rounds)
    if pick_device().type != "cpu":
        return
    us, theirs = (1000 * min(side.cpu_seconds[-rounds:]) / num_images for side in (ours, other))
    result(f"  in CPU time {theirs / us:.2f} x: {us:.3f} against {theirs:.3f} ms/image")


def _serve(pipe: Connection, build: Callable[..., Work], arguments: tuple[object, ...]) -> None:
    work = build(*arguments)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        start = time.process_time()
        pipe.send((work(), time.process_time() - start))
