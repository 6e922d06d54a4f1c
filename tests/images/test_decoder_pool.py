import multiprocessing
import os
import signal
import time
from pathlib import Path

import cv2
import pytest

from pipeline.errors import DataError
from pipeline.images import decoder_pool
from pipeline.images.decoder_pool import map_in_processes


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(decoder_pool, "num_cpus", lambda: 2)


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


def test_a_killed_process_is_told_in_one_line():
    message = r"^reading images: every process must stay alive, one was killed \(SIGKILL\), most"
    with pytest.raises(DataError, match=message):
        list(map_in_processes(die, [0, 1, 2]))


def end(number: int) -> int:
    os._exit(number)


def test_a_process_that_ended_by_itself_is_not_put_down_to_memory():
    message = r"one ended \(exit code 3\); mend what it printed above"
    with pytest.raises(DataError, match=message):
        list(map_in_processes(end, [3]))


def test_an_item_that_is_fatal_is_given_up_and_all_others_are_done():
    given_up: list[tuple[int, str]] = []

    def on_crash(number: int, cause: str) -> int:
        given_up.append((number, cause))
        return -1

    assert list(map_in_processes(die, [0, 1, 2, 1, 3], None, on_crash)) == [0, -1, 2, -1, 3]
    assert given_up == [(1, "SIGKILL")] * 2


def die_once(marker: str) -> str:
    if marker and not Path(marker).exists():
        Path(marker).touch()
        os._exit(3)
    return marker


def test_an_item_that_was_not_to_blame_gets_another_chance(tmp_path):
    items = ["", str(tmp_path / "marker"), ""]
    assert list(map_in_processes(die_once, items)) == items


def fail(number: int) -> int:
    if number == 1:
        raise DataError("item 1")
    if number == 2:
        raise ValueError("a bug")
    return number


def test_what_the_work_raises_is_raised_here():
    with pytest.raises(DataError, match=r"^item 1$"):
        list(map_in_processes(fail, [0, 1]))
    with pytest.raises(ValueError, match="a bug") as raised:
        list(map_in_processes(fail, [0, 2]))
    assert "in fail" in raised.value.__notes__[0]  # where it happened in the other process


def test_no_process_is_left_when_nobody_wants_the_rest():
    results = map_in_processes(state, [0.0, 0.5, 0.5])
    next(results)
    results.close()
    assert multiprocessing.active_children() == []
