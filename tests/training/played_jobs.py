"""What jobs of tests do in the process of a slot, which imports this."""

import os
import sys
import time
from collections.abc import Callable


def print_process() -> None:
    sys.stdout.write(f"{os.getpid()}\n")


def fail(error: Exception) -> None:
    raise error


def fork_and(end: Callable[[], object]) -> None:
    """Fork a process that lives on, print which it is, and end."""
    if (forked := os.fork()) == 0:
        time.sleep(60)
        os._exit(0)
    sys.stdout.write(f"{forked}\n")
    sys.stdout.flush()
    end()
