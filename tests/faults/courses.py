"""How a command runs: how long it takes, and how often it changes a file."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.commands import Command, Commands

NEVER = 10**9


@dataclass(frozen=True)
class Course:
    """How a command runs undisturbed.

    Attributes:
        seconds: How long it takes.
        num_changes: How often a file appears, changes or goes.
    """

    seconds: float
    num_changes: int


class Changes:
    """Counts the changes below a root, as far as a poll every two milliseconds sees them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._look()
        self.count = 0

    def poll(self) -> int:
        """Look again; returns the number of changes so far."""
        now = self._look()
        self.count += len(set(now.items()) ^ set(self._seen.items()))
        self._seen = now
        return self.count

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _, files in os.walk(self._root):
            for name in files:
                path = os.path.join(folder, name)  # noqa: PTH118  # ten times as quick as a Path
                try:
                    status = os.stat(path)  # noqa: PTH116
                except OSError:
                    continue
                found[path] = (status.st_mtime_ns, status.st_ino)
        return found


def follow(command: Command, changes: Changes, until_change: int, seconds: float) -> int | None:
    """Wait for the k-th change, at most so long; returns the exit code if the command ended."""
    end = time.monotonic() + seconds
    while changes.poll() < until_change and time.monotonic() < end:
        code = command.wait(0.002)
        if code is not None:
            return code
    return None


def measured(commands: Commands, arguments: Sequence[str], root: Path) -> Course:
    """Run a command to its good end, watching it."""
    changes, start = Changes(root), time.monotonic()
    command = commands.start(arguments, root)
    assert follow(command, changes, NEVER, NEVER) == 0, command.told
    return Course(time.monotonic() - start, changes.poll())
