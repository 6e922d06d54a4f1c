import pytest
import torch

from pipeline.training.readback import Readback, delayed_by_one


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
