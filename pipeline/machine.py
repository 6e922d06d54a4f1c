"""What the machine at hand offers."""

import os


def num_cpus() -> int:
    """Count the cores this process may use, which in a container is less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
