"""One side of a comparison in a process of its own.

What a process sets for its memory and its threads it can't take back, so sides that differ in that
can't take turns within one.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from benchmarks.ratio import Work


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


def _serve(pipe: Connection, build: Callable[..., Work], arguments: tuple[object, ...]) -> None:
    work = build(*arguments)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        start = time.process_time()
        pipe.send((work(), time.process_time() - start))
