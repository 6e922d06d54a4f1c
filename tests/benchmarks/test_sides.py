import itertools
import os
import time

import pytest
import torch

from benchmarks import sides
from benchmarks.sides import Side

pytestmark = pytest.mark.slow  # to start a side takes two seconds


def counting(start):
    """Count calls, and tell where."""
    numbers = itertools.count(start)
    return lambda: (next(numbers), os.getpid())


def waiting():
    """Compute and wait; tell what both took by the clock, and what the process computed."""

    def work():
        clock, computed = time.perf_counter(), time.process_time()
        while time.process_time() < computed + 0.01:
            pass
        time.sleep(0.1)
        return time.perf_counter() - clock, time.process_time() - computed

    return work


def failing():
    raise OSError("the side can't be built")


def test_a_side_keeps_its_state_in_a_process_of_its_own():
    with Side(counting, 5) as side:
        (first, pid), (second, _) = side(), side()
    assert (first, second) == (5, 6)
    assert pid != os.getpid()


def test_waiting_is_no_cpu_time():
    with Side(waiting) as side:
        by_clock, computed = zip(side(), side(), strict=True)
    for seconds, least, most in zip(side.cpu_seconds, computed, by_clock, strict=True):
        assert least <= seconds < most


@pytest.mark.parametrize(("device", "is_told"), [("cpu", True), ("cuda", False)])
def test_cpu_time_is_told_only_where_a_cpu_computes(monkeypatch, capsys, device, is_told):
    monkeypatch.setattr(sides, "pick_device", lambda: torch.device(device))
    with Side(counting, 0) as ours, Side(counting, 0) as other:
        sides.compare_sides("counting", ours, other, num_images=1, rounds=1)
    assert ("in CPU time" in capsys.readouterr().out) == is_told


def test_a_side_that_fails_is_no_silent_side(capfd):
    with Side(failing) as side, pytest.raises(RuntimeError, match="a side's process failed"):
        side()
    assert "the side can't be built" in capfd.readouterr().err


def test_a_side_ends_with_its_context():
    with Side(counting, 0) as side:
        _, pid = side()
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(pid, 0)
