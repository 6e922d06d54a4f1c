"""What the bars of a run's commands show of it."""

import time

import pytest

from pipeline.console import RUN_VIEW, progress, run_view


@pytest.fixture
def bar(capsys, monkeypatch):
    """Show a bar to its end as a run's command does; returns what was printed."""

    def show(view: str | None) -> str:
        monkeypatch.delenv(RUN_VIEW, raising=False)
        if view is not None:
            monkeypatch.setenv(RUN_VIEW, view)
        with progress("features", 3) as advance:
            advance(3)
        return str(capsys.readouterr().err)

    return show


def test_a_bar_says_where_the_run_is_what_time_is_left_and_the_score_so_far(bar):
    told = bar(run_view("rung 2 of 5", time.time() + 3600.4, "0.9306"))
    assert told.startswith("rung 2 of 5 features")
    assert "| 60:00 left, so far 0.9306" in told


def test_a_bar_says_that_there_is_no_file_yet_and_of_no_limit_nothing(bar):
    assert "| so far no file" in bar(run_view("rung 1 of 5", None, ""))
    assert "| 0:00 left" in bar(run_view("rung 1 of 5", time.time() - 5, ""))


def test_a_bar_outside_a_run_says_nothing_of_one(bar):
    told = bar(None)
    assert told.startswith("features")
    assert "|" not in told
