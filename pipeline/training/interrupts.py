"""Defer Ctrl-C to the end of the current step, so that a whole state can be saved."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C instead of raising it; a second one raises as always.

    Off the main thread, where Python takes no signals, nothing changes.

    Yields:
        A function that says whether there was one.
    """
    is_requested = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal is_requested
        is_requested = True
        signal.signal(signal.SIGINT, before)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: is_requested
    finally:
        signal.signal(signal.SIGINT, before)
