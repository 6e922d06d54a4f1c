"""Divide the time of a run: what is begun when, what doesn't fit, when all is over."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf, isinf
from typing import Literal

from rich.table import Table

from pipeline.errors import ConfigError
from pipeline.ladder.costs import Cost
from pipeline.ladder.plan import Job

# What a run may take beyond its limit, whatever happens: seconds, or a share of it.
GRACE_SECONDS, GRACE_SHARE = 30.0, 0.02
# Predictions are good to a quarter or so; what begins should end in time.
MARGIN = 1.15
_UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Deadline:
    """The end of a run's time; all moments are of `time.monotonic`.

    Attributes:
        begun: When the run began.
        limit: Its seconds; infinite where there is no limit.
    """

    begun: float
    limit: float = inf

    @property
    def end(self) -> float:
        """When it should be over."""
        return self.begun + self.limit

    @property
    def last(self) -> float:
        """When it is over, whatever happens."""
        return self.end + max(GRACE_SECONDS, GRACE_SHARE * self.limit)

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float:
        """Seconds until it should be over, not below 0."""
        return max(0.0, self.end - time.monotonic())


def parse_seconds(text: str) -> float:
    """Read a time such as `2h`, `1h30m`, `45m`, `90s` or `90`, in seconds.

    Raises:
        ConfigError: It is none, or nothing.
    """
    said, part = text.strip().lower(), r"(\d+(?:\.\d+)?)\s*(h|min|m|s)\s*"
    is_time = re.fullmatch(f"(?:{part})+|\\d+(?:\\.\\d+)?", said)  # without a unit a number alone
    parts = re.findall(part, said) or [(said, "s")]
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts) if is_time else 0.0
    if not 0 < seconds < inf:
        raise ConfigError(
            f"--time-limit {text}: must be a time such as 2h, 1h30m, 45m or 90s; give one"
        )
    return seconds


def clock(seconds: float) -> str:
    """Format seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


Fit = Literal["done", "yes", "no", "can't run here", "not rehearsed"]


@dataclass(frozen=True)
class Forecast:
    """What is known of a training before it begins.

    Attributes:
        job: The training.
        cost: None where it wasn't measured.
        refused: Why it can't run here; empty if it can.
        seconds: What is left of it takes so long; None where nothing is known.
        is_done: Whether nothing is left of it.
    """

    job: Job
    cost: Cost | None = None
    refused: str = ""
    seconds: float | None = None
    is_done: bool = False


@dataclass(frozen=True)
class Row:
    """A training's place in time.

    Attributes:
        forecast: What is known of it.
        begins: Seconds after the run's beginning; None where it isn't begun.
        fits: Whether it is.
    """

    forecast: Forecast
    begins: float | None
    fits: Fit


def lay_out(
    forecasts: Sequence[Forecast],
    deadline: Deadline,
    finish_seconds: float,
    pace: float = 1.0,
    first_rung: str = "",
) -> list[Row]:
    """Say which trainings will be begun, each after those before it.

    Args:
        forecasts: In the plan's order.
        deadline: Of the run.
        finish_seconds: What a rung's ensemble and submission take.
        pace: How much slower than rehearsed the machine is now.
        first_rung: The rung that is begun whatever it costs, as there is no submission yet.
    """
    now, rows = deadline.elapsed, []
    for rung, group in groupby(forecasts, lambda one: one.job.rung.name):
        is_climbed = False
        for one in group:
            is_first = rung == first_rung or isinf(deadline.limit)
            fits = _fits(one, now, deadline.limit - finish_seconds, pace, is_first=is_first)
            rows.append(Row(one, now if fits == "yes" else None, fits))
            if fits == "yes":
                now, is_climbed = now + (one.seconds or 0.0) * pace, True
        now += finish_seconds if is_climbed else 0.0
    return rows


def _fits(one: Forecast, now: float, room: float, pace: float, *, is_first: bool) -> Fit:
    if one.refused:
        return "can't run here"
    if one.is_done:
        return "done"
    if one.seconds is None and not is_first:
        return "not rehearsed"
    will_end = now + (one.seconds or 0.0) * pace * MARGIN
    return "yes" if is_first or will_end <= room else "no"


def schedule_table(rows: Sequence[Row], title: str) -> Table:
    """Tabulate the trainings: rung, experiment, minutes, when it begins, whether it fits."""
    table = Table("rung", "experiment", "minutes", "begins at", "fits", title=title)
    for column in table.columns[2:4]:
        column.justify = "right"
    rung = ""
    for row in rows:
        job, seconds = row.forecast.job, row.forecast.seconds
        table.add_row(
            job.rung.name if job.rung.name != rung else "",
            job.name,
            "" if seconds is None or row.fits == "done" else f"{seconds / 60:.1f}",
            "" if row.begins is None else clock(row.begins),
            row.fits,
        )
        rung = job.rung.name
    return table
