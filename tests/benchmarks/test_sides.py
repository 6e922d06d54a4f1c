import itertools
import os
from functools import partial

import pytest

from benchmarks.sides import Side


def counting(start):
    """Count calls, and tell where."""
    numbers = itertools.count(start)
    return lambda: (next(numbers), os.getpid(), os.environ.get("A_SETTING"))


def failing():
    raise OSError("the side can't be built")


def test_a_side_keeps_its_state_in_a_process_of_its_own_with_its_own_settings():
    with Side(counting, 5, environment={"A_SETTING": "here"}) as side:
        (first, pid, setting), (second, *_) = side(), side()
    assert (first, second, setting) == (5, 6, "here")
    assert pid != os.getpid()
    assert "A_SETTING" not in os.environ


def test_a_side_that_fails_is_no_silent_side(capfd):
    with Side(failing) as side, pytest.raises((EOFError, BrokenPipeError)):
        side()
    assert "the side can't be built" in capfd.readouterr().err


def test_a_side_ends_with_its_context():
    with Side(partial(counting, 0)) as side:
        _, pid, _ = side()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
