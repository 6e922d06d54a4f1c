import math

import pytest
import torch
from torch import nn

from pipeline.config import OptimizerConfig, ScheduleConfig
from pipeline.training.optim import build_optimizer, rate_factor


def test_warm_up_rises_linearly_to_the_peak():
    factor = rate_factor(ScheduleConfig(name="constant", warmup_epochs=2), 50, 5)
    assert [factor(step) for step in range(12)] == [
        *(pytest.approx((step + 1) / 10) for step in range(10)),
        1.0,
        1.0,
    ]


def test_cosine_follows_its_formula_after_the_warm_up():
    factor = rate_factor(ScheduleConfig(name="cosine", warmup_epochs=1), 100, 10)
    for step in range(10, 100):
        expected = 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))
        assert factor(step) == pytest.approx(expected)
    assert factor(10) == 1.0
    assert factor(99) < 0.001


def test_constant_schedule_stays():
    factor = rate_factor(ScheduleConfig(name="constant"), 10, 5)
    assert {factor(step) for step in range(10)} == {1.0}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_optimizers_are_found_by_name(name, kind):
    config = OptimizerConfig(name=name, learning_rate=0.25)
    optimizer = build_optimizer(config, nn.Linear(2, 2).parameters())
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_biases_and_norms_do_not_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.1), network.parameters())
    decays = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decays == {
        id(parameter): (0.1 if name == "0.weight" else 0.0)
        for name, parameter in network.named_parameters()
    }


def test_frozen_parameters_are_left_out():
    network = nn.Linear(2, 2)
    network.weight.requires_grad = False
    optimizer = build_optimizer(OptimizerConfig(), network.parameters())
    chosen = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert [id(parameter) for parameter in chosen] == [id(network.bias)]
