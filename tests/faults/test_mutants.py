"""What fuzzed readers are held to is noticed when they exceed it, whatever they catch."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline import errors
from pipeline.errors import DataError
from tests.faults import mutants
from tests.faults.mutants import READ, REFUSED, STATUS, attempt, hold

SOME_BYTES = 100 << 20


def refusing(work: Callable[[], object]) -> Callable[[], None]:
    """Take every error for damage of the file, as readers do."""

    def read() -> None:
        try:
            work()
        except Exception as error:
            raise DataError(f"a.csv: damaged ({type(error).__name__})") from error

    return read


def spin() -> None:
    while True:
        pass


def test_a_reader_that_takes_all_errors_for_damage_is_stopped_in_time() -> None:
    assert "s of CPU time" in attempt(refusing(spin), cpu_seconds=0.1)


@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux")
@pytest.mark.parametrize("times", [1.5, 3])
def test_a_reader_that_takes_all_errors_for_damage_is_held_to_its_memory(
    monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    monkeypatch.setattr(mutants, "MEMORY_BYTES", SOME_BYTES)
    assert attempt(refusing(lambda: np.ones(SOME_BYTES // 2, np.uint8))) == READ
    assert "memory" in attempt(refusing(lambda: np.ones(int(SOME_BYTES * times), np.uint8)))
    assert attempt(refusing(lambda: np.ones(SOME_BYTES // 2, np.uint8))) == READ


@pytest.mark.parametrize("message", ["a\rb", "a\u2028b", "\x1b[2J", "a\nb", ""])
def test_an_error_that_is_not_one_printable_line_is_a_crash(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(errors, "printable", str)  # what escapes all of ours

    def read(content: bytes) -> None:
        raise DataError(content.decode())

    outcome = hold(read, iter([message.encode(), b"a.csv: damaged"]))
    assert (outcome.num_refused, len(outcome.crashes)) == (1, 1)
    assert "not one printable line" in outcome.crashes[0]


def test_an_error_of_others_is_a_crash() -> None:
    assert attempt(lambda: int("x")).startswith("ValueError")
    assert attempt(refusing(lambda: int("x"))) == REFUSED
