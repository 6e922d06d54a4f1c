import threading
from typing import Any

import pytest
import torch

from pipeline.errors import ArtifactError, DiskError
from pipeline.training.readback import Readback, StateWriter, delayed_by_one


def test_tensors_come_in_order_each_after_the_next_was_begun():
    begun = []

    def work():
        for number in range(3):
            begun.append(number)
            yield torch.tensor(number)

    seen = [(int(tensor), len(begun)) for tensor in delayed_by_one(work())]
    assert seen == [(0, 2), (1, 3), (2, 3)]


def test_of_nothing_comes_nothing():
    assert list(delayed_by_one([])) == []


def test_a_state_is_written_as_it_was_when_it_was_given():
    weights, losses = torch.zeros(3), [1.0]
    state = {"weights": [weights], "position": {"losses": losses, "best": None}}
    goes_on = threading.Event()
    written: list[Any] = []

    def save(copied):
        assert goes_on.wait(60)
        written.append(copied)

    with StateWriter(in_background=True) as writer:
        writer.write(save, state)
        weights += 1  # as a step does, in place
        losses.append(2.0)
        goes_on.set()
    assert written[0]["weights"][0].tolist() == [0, 0, 0]
    assert written[0]["position"] == {"losses": [1.0], "best": None}


def test_states_are_written_one_after_the_other():
    written: list[int] = []
    with StateWriter(in_background=True) as writer:
        for number in range(5):
            writer.write(written.append, number)
            assert len(written) >= number
    assert written == [0, 1, 2, 3, 4]


def test_in_the_foreground_the_state_itself_is_written_at_once():
    state = {"weights": torch.zeros(1)}
    written: list[Any] = []
    StateWriter(in_background=False).write(written.append, state)
    assert written[0] is state


def fail(_):
    raise DiskError("disk: must have room")


def write_failing(count, error=None):
    """Write so many states in vain, then raise an error."""
    with StateWriter(in_background=True) as writer:
        for number in range(count):
            assert number < 2, "the first one's error was kept"
            writer.write(fail, {})
        if error:
            raise error


@pytest.mark.parametrize("count", [1, 3])
def test_what_writing_raised_is_raised_by_the_next_write_or_at_the_end(count):
    with pytest.raises(DiskError, match="must have room"):
        write_failing(count)


def test_an_error_of_the_training_is_not_hidden_by_that_of_writing():
    with pytest.raises(ArtifactError, match="the loss"):
        write_failing(1, ArtifactError("the loss must be finite"))


@pytest.mark.gpu
def test_a_gpus_numbers_arrive_though_it_is_busy():
    numbers = torch.full((1000,), 3.0, device="cuda")
    readings = []
    for _ in range(20):
        numbers = numbers * 1.5
        readings.append((Readback(numbers), numbers.clone()))
        torch.randn(4096, 4096, device="cuda") @ torch.randn(4096, 4096, device="cuda")
    for reading, expected in readings:
        assert torch.equal(reading.get(), expected.cpu())
