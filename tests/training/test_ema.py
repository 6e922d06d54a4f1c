import copy

import pytest
import torch
from torch import nn

from pipeline.training.stepper import Ema

DECAY = 0.6


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def train(module, num_steps, ema=None):
    """Move the weights and the batch norm's statistics; return their values after every step."""
    passed = []
    for _ in range(num_steps):
        module(torch.randn(8, 3))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += torch.randn_like(parameter)
        passed.append({name: value.clone() for name, value in module.state_dict().items()})
        if ema:
            ema.update()
    return passed


def closed_form(values, decay):
    """Sum up `(1 - d_n) x_n Π_{m > n} d_m`, where nothing is kept of what was before the first."""
    decays = [0.0, *(min(decay, (1 + n) / (10 + n)) for n in range(1, len(values)))]
    weights = [
        (1 - decays[n]) * torch.tensor(decays[n + 1 :]).prod().item() for n in range(len(values))
    ]
    assert sum(weights) == pytest.approx(1)
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


@pytest.mark.parametrize("num_steps", [1, 2, 30])  # the decay stops warming up after 12
def test_average_equals_its_closed_form(module, num_steps):
    ema = Ema(module, DECAY)
    passed = train(module, num_steps, ema)
    for name, average in ema.module.state_dict().items():
        if average.is_floating_point():
            expected = closed_form([values[name] for values in passed], DECAY)
            torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)


def test_whole_numbers_are_copied(module):
    ema = Ema(module, DECAY)
    train(module, 3, ema)
    assert ema.module.state_dict()["1.num_batches_tracked"] == 3


def test_the_average_learns_and_normalises_nothing_itself(module):
    module[0].requires_grad_(requires_grad=False)
    ema = Ema(module.train(), DECAY)
    train(module, 2, ema)
    assert module.training
    assert module[1].weight.requires_grad
    assert not any(part.training for part in ema.module.modules())
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())


def test_the_module_itself_stays_as_it_is(module):
    alone = copy.deepcopy(module)
    torch.manual_seed(1)
    train(module, 3, Ema(module, DECAY))
    torch.manual_seed(1)
    train(alone, 3)
    for name, value in module.state_dict().items():
        assert torch.equal(value, alone.state_dict()[name])


def test_resumed_average_goes_on_bit_by_bit(module, tmp_path):
    straight = Ema(module, DECAY)
    train(module, 4, straight)
    torch.save({"ema": straight.state_dict(), "module": module.state_dict()}, tmp_path / "state.pt")
    again = copy.deepcopy(module)
    torch.manual_seed(2)
    train(module, 5, straight)

    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(state["module"])
    resumed = Ema(again, DECAY)
    resumed.load_state_dict(state["ema"])
    torch.manual_seed(2)
    train(again, 5, resumed)
    for name, average in straight.module.state_dict().items():
        assert torch.equal(average, resumed.module.state_dict()[name]), name


def test_layout_and_values_of_a_resting_network_are_kept():
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    ema = Ema(network, DECAY)
    for _ in range(3):
        ema.update()
    average = ema.module.get_parameter("weight")
    assert average.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(average, network.weight)


@pytest.mark.gpu
def test_average_on_a_gpu_equals_the_cpus(module):
    on_gpu = copy.deepcopy(module).cuda()
    averages = Ema(module, DECAY), Ema(on_gpu, DECAY)
    for _ in range(5):
        train(module, 1)
        on_gpu.load_state_dict(module.state_dict())
        for ema in averages:
            ema.update()
    for name, average in averages[0].module.state_dict().items():
        torch.testing.assert_close(averages[1].module.state_dict()[name].cpu(), average)
