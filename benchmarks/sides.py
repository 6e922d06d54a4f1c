"""One side of a comparison in a process of its own.

What a process sets for its memory and its threads it can't take back, so sides that differ in that
can't take turns within one.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from benchmarks.ratio import Work


class Side:
    """Works in another process, whenever it is called and only then.

    Args:
        build: Makes the work, in there; a function of a module.
        arguments: What it is called with.
        environment: Variables to set for the process.
    """

    def __init__(
        self,
        build: Callable[..., Work],
        *arguments: object,
        environment: dict[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, build, arguments))
        before = dict(os.environ)
        os.environ.update(environment or {})
        self._process.start()
        os.environ.clear()
        os.environ.update(before)
        theirs.close()

    def __call__(self) -> Any:
        """Do the work once and return what it returns.

        Raises:
            EOFError: The process failed; it has shown its traceback.
        """
        self._pipe.send(None)
        return self._pipe.recv()

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
        pipe.send(work())
