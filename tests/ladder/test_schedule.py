"""The time of a run: limits as people type them, what fits, when all is over."""

import io
import time

import pytest
from rich.console import Console

from pipeline.errors import ConfigError
from pipeline.ladder.plan import Job, Rung
from pipeline.ladder.schedule import (
    Deadline,
    Forecast,
    clock,
    lay_out,
    parse_seconds,
    schedule_table,
)
from tests import tiny


def forecast(rung: str, name: str, seconds: float | None, refused: str = "") -> Forecast:
    experiment = tiny.experiment(name=name)
    job = Job(Rung(name=rung, experiments=(name,), adds="x"), experiment, ())
    return Forecast(job, refused=refused, seconds=seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1h30m", 5400), ("45m", 2700), ("90s", 90), ("90", 90), ("1.5 h", 5400)],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2d", "-3m", "0", "1h30", "1 000", "9" * 400])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match=f"--time-limit {text}: must be a time such as 2h"):
        parse_seconds(text)


def test_times_are_written_as_clocks_show_them():
    assert [clock(seconds) for seconds in (0, 61, 3599.6, 7325)] == [
        "0:00", "1:01", "1:00:00", "2:02:05",
    ]  # fmt: skip


def test_a_run_is_over_half_a_minute_or_two_percent_after_its_limit():
    assert Deadline(1000.0, 60.0).last == 1090.0
    assert Deadline(1000.0, 7200.0).last == 1000.0 + 7344.0


def test_what_does_not_fit_is_not_begun_and_what_is_cheaper_still_is():
    forecasts = [
        forecast("a", "first", 500.0),
        forecast("b", "short", 60.0),
        forecast("b", "long", 900.0),
        forecast("c", "unknown", None),
        forecast("c", "barred", None, "its weights aren't installed"),
        forecast("d", "cheap", 30.0),
    ]
    rows = lay_out(forecasts, Deadline(time.monotonic(), 700.0), 10.0, first_rung="a")
    assert [row.fits for row in rows] == [
        "yes", "yes", "no", "not rehearsed", "can't run here", "yes",
    ]  # fmt: skip
    begins = [row.begins and round(row.begins) for row in rows]
    assert begins == [0.0, 510, None, None, None, 580]


def test_a_slower_pace_leaves_less_room():
    one = [forecast("b", "short", 60.0)]
    deadline = Deadline(time.monotonic(), 100.0)
    assert lay_out(one, deadline, 10.0)[0].fits == "yes"
    assert lay_out(one, deadline, 10.0, pace=2.0)[0].fits == "no"


def test_without_a_limit_everything_that_can_run_fits():
    forecasts = [forecast("a", "one", None), forecast("b", "two", 1e6)]
    assert [row.fits for row in lay_out(forecasts, Deadline(0.0), 10.0)] == ["yes", "yes"]


def test_the_table_says_when_what_begins():
    rows = lay_out([forecast("a", "one", 90.0)], Deadline(time.monotonic(), 3600.0), 10.0)
    text = io.StringIO()
    Console(file=text, width=100).print(schedule_table(rows, "run demo"))
    assert all(word in text.getvalue() for word in ("a", "one", "1.5", "0:00", "yes"))
