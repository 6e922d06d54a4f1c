import os
import signal
import time

import cv2
import pytest

from pipeline.errors import DataError
from pipeline.images import processes
from pipeline.images.processes import map_in_processes


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(processes, "num_cpus", lambda: 2)


def state(seconds: float) -> tuple[float, int, bool]:
    """Sleep; return how long, the process, and whether it is set up."""
    time.sleep(seconds)
    ignores_interrupts = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return seconds, os.getpid(), ignores_interrupts and cv2.getNumThreads() == 1


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_the_items_from_processes_that_are_set_up():
    found = list(map_in_processes(state, [0.3, 0.0, 0.1, 0.2]))
    assert [seconds for seconds, _, _ in found] == [0.3, 0.0, 0.1, 0.2]
    assert all(is_set_up for _, _, is_set_up in found)
    assert len({pid for _, pid, _ in found} | {os.getpid()}) == 3


def test_a_single_item_needs_no_process():
    assert list(map_in_processes(os.getenv, ["HOME"])) == [os.environ["HOME"]]


def test_a_killed_process_is_told_in_one_line():
    with pytest.raises(DataError, match=r"^reading images: every process must stay alive, one was"):
        list(map_in_processes(die, [0, 1, 2]))
