"""Ask what the machine offers: packages, cores, processes; keep freed memory, defer Ctrl-C.

A command that another one started ends with it.
"""

import ctypes
import importlib.util
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType

# Numbers of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

CPUS_VARIABLE = "PIPELINE_CPUS"

# Where Linux says which control groups a process is in, and what they allow.
OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")

# Names the process that started this one, and without which this one has nothing to do.
PARENT = "PIPELINE_PARENT"

# Set in processes of jobs that another one deals, and that start no others of their kind.
JOB = "PIPELINE_JOB"


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def pip_install(packages: str) -> str:
    """Return the command that installs packages for this Python, whichever `pip` a shell finds."""
    return f"{sys.executable} -m pip install {packages}"


def num_cpus() -> int:
    """Count the cores this process may use, which in a container is less than the machine has.

    A quota of a control group counts, rounded up, as containers and schedulers set one; and what
    CPUS_VARIABLE says, which who starts several commands on one machine may set for each.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    wanted = os.environ.get(CPUS_VARIABLE, "")
    limits = [float(wanted)] if wanted.isdecimal() else []
    return min([count, *(max(1, math.ceil(limit)) for limit in [*limits, *_cpu_quotas()])])


def _cpu_quotas() -> list[float]:
    """List the cores that this process's control group and those above it allow, on Linux."""
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Within a container the path may be the host's, of which nothing is seen but its end.
        inner = PurePosixPath(group.strip("/"))
        for folder in {GROUPS / "cpu" / inner, *((GROUPS / up) for up in (inner, *inner.parents))}:
            quotas += _cpu_quota(folder)
        quotas += _cpu_quota(GROUPS / "cpu")
    return quotas


def _cpu_quota(folder: Path) -> list[float]:
    """Read a group's quota, of version 2 or 1; empty where it has none."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / name).read_text(encoding="utf-8") for name in names)
        found = float(quota) / float(period)  # "max" is no number
    except (OSError, ValueError, ZeroDivisionError):
        return []
    return [found] if found > 0 else []  # -1 is no limit


def most_open_files() -> int:
    """Return how many files one cache may keep open: an eighth of what the process may, or 512."""
    try:
        import resource
    except ImportError:  # Windows
        return 64
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 512 if limit == resource.RLIM_INFINITY else max(4, min(limit // 8, 512))


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


def end_with_parent() -> None:
    """End this process when the one that PIPELINE_PARENT names is gone, however it ended."""
    parent = os.environ.pop(PARENT, "")
    if parent and os.name == "posix":
        end_with(int(parent))


def end_with(parent: int, grace_seconds: float = 0.0) -> None:
    """End this process when its parent is gone, however it ended.

    Args:
        parent: The parent's process id.
        grace_seconds: How long it may save, as after Ctrl-C.
    """
    threading.Thread(target=_end_after, args=(parent, grace_seconds), daemon=True).start()


def _end_after(parent: int, grace_seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    if grace_seconds:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(grace_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
