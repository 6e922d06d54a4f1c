"""Ask what the machine offers: packages, cores, processes; keep freed memory, defer Ctrl-C."""

import ctypes
import importlib.util
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Numbers of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def num_cpus() -> int:
    """Count the cores this process may use, which in a container is less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_processes() -> int:
    """Count the processes that train together, as torch's and accelerate's launchers say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def num_local_processes() -> int:
    """Count those of them that run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if num_processes() > 1 else 1


def rank() -> int:
    """Number this process among those that train together, counted from 0."""
    return int(os.environ.get("RANK", "0")) if num_processes() > 1 else 0


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next array instead of giving it back to the kernel.

    A network's activations and the pixels of images are freed and wanted again many times a second;
    fetching them anew, page by page, took a quarter of the time of a forward pass on a CPU, and a
    third of that of a random view. Elsewhere than on glibc this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_TOP_PAD, 2**28)


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
