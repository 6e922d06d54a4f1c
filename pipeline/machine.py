"""What the machine at hand offers."""

import os


def num_cpus() -> int:
    """Count the cores this process may use, which in a container is less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_processes() -> int:
    """Count the processes that train together, as torch's and accelerate's launchers say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number this process among those that train together, counted from 0."""
    return int(os.environ.get("RANK", "0")) if num_processes() > 1 else 0
