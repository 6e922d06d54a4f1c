"""Print what a person sees while a stage works: lines, warnings and bars, all on stderr.

Results (tables, paths, scores) go to stdout by `result`, so that they can be piped.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from pipeline.errors import printable
from pipeline.machine import rank

# Set by `run` for the commands that it starts: what their bars show of it, see `run_view`.
RUN_VIEW = "PIPELINE_RUN_VIEW"

# In a file, a finished bar has room for all its columns.
_FILE_WIDTH = 160

# Of several processes that train together, the first one speaks.
_stderr = Console(
    stderr=True,
    highlight=False,
    soft_wrap=True,
    emoji=False,
    quiet=rank() > 0,
    width=None if sys.stderr.isatty() else _FILE_WIDTH,
)
_stdout = Console(highlight=False, soft_wrap=True, emoji=False)


def say(message: str) -> None:
    """Print a line on how the work goes."""
    _stderr.print(printable(message), markup=False)


def log_off_terminal(message: str) -> None:
    """Print what a bar shows on a terminal where there is none: in a log file, in a notebook."""
    if not _stderr.is_terminal:
        say(message)


def warn(message: str) -> None:
    """Print a line on what needs a look but doesn't stop the work."""
    _stderr.print(Text("warning: ", style="yellow") + Text(printable(message)))


def result(content: str | Table) -> None:
    """Print what was asked for."""
    _stdout.print(content, markup=False)


class RateColumn(ProgressColumn):
    """Items per second, as `312 img/s`."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Format the speed of the last seconds."""
        return Text(f"{task.finished_speed or task.speed or 0.0:.0f} {self._unit}/s")


class _RunColumn(ProgressColumn):
    """Time left of the run that this command is part of, and the score so far."""

    def __init__(self, ends: float | None, score: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._ends = ends
        self._score = score

    def render(self, _: Task) -> Text:
        """Format them as `12:34 left, so far 0.9306`."""
        so_far = f"so far {self._score or 'no file'}"
        if self._ends is None:
            return Text(f"| {so_far}")
        left = max(0, round(self._ends - time.time()))
        return Text(f"| {left // 60}:{left % 60:02d} left, {so_far}")


def run_view(place: str, ends: float | None, score: str) -> str:
    """Say what the bars of a command are to show of the run that it is part of.

    Args:
        place: Where the run is, as `rung 2 of 5`.
        ends: When its time is up, in seconds since the epoch; None where it has no limit.
        score: The best one so far; empty where there is none.
    """
    return json.dumps([place, ends, score])


def _of_the_run() -> tuple[list[ProgressColumn], list[ProgressColumn]]:
    """Return columns for the front and the end of a bar; none outside a run."""
    if RUN_VIEW not in os.environ:
        return [], []
    place, ends, score = json.loads(os.environ[RUN_VIEW])
    return [TextColumn(place)], [_RunColumn(ends, score)]


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, count: int, detail: str = "") -> None:
        """Move by `count`; `detail`, where there is any, replaces what stands behind the bar."""


@contextmanager
def progress(description: str, total: int | None, unit: str = "img") -> Iterator[Advance]:
    """Show a bar with rate and time left, at the end the time taken; yields what moves it.

    Off a terminal (a log file, a notebook kernel) only the finished bar is printed.

    Args:
        description: What is being done.
        total: How many there are; None where it isn't known.
        unit: What is counted; "B" for bytes, shown as MB.
    """
    counters = (
        (DownloadColumn(), TransferSpeedColumn())
        if unit == "B"
        else (MofNCompleteColumn(), RateColumn(unit))
    )
    front, end = _of_the_run()
    columns = (
        *front,
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        *counters,
        # On a narrow terminal the bar gives way, not what can be read.
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[detail]}"),
        *end,
    )
    with Progress(*columns, console=_stderr) as bars:
        task = bars.add_task(description, total=total, detail="")

        def advance(count: int, detail: str = "") -> None:
            bars.advance(task, count)
            if detail:
                bars.update(task, detail=detail)

        yield advance
