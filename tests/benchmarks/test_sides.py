import itertools
import os
import time

import pytest

from benchmarks.sides import Side


def counting(start):
    """Count calls, and tell where."""
    numbers = itertools.count(start)
    return lambda: (next(numbers), os.getpid())


def busy():
    """Work for a while, then wait as long."""

    def work():
        start = time.process_time()
        while time.process_time() < start + 0.1:
            pass
        time.sleep(0.3)

    return work


def failing():
    raise OSError("the side can't be built")


def test_a_side_keeps_its_state_in_a_process_of_its_own():
    with Side(counting, 5) as side:
        (first, pid), (second, _) = side(), side()
    assert (first, second) == (5, 6)
    assert pid != os.getpid()


def test_waiting_is_no_cpu_time():
    with Side(busy) as side:
        side(), side()
    assert len(side.cpu_seconds) == 2
    assert all(0.1 <= seconds < 0.3 for seconds in side.cpu_seconds)


def test_a_side_that_fails_is_no_silent_side(capfd):
    with Side(failing) as side, pytest.raises(RuntimeError, match="a side's process failed"):
        side()
    assert "the side can't be built" in capfd.readouterr().err


def test_a_side_ends_with_its_context():
    with Side(counting, 0) as side:
        _, pid = side()
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(pid, 0)
