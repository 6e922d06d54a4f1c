"""Optimizers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from pipeline.config import OptimizerConfig, ScheduleConfig


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Build an optimizer; biases and norm parameters (one dimension) get no weight decay."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = config.learning_rate
    if config.name == "sgd":
        return torch.optim.SGD(groups, rate, momentum=config.momentum, nesterov=config.momentum > 0)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, rate)


def rate_factor(
    config: ScheduleConfig, num_steps: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """Return the factor on the peak learning rate at a step, counted from 0.

    With w warm-up steps of n: (t + 1) / w for t < w; then 1, or (1 + cos(π (t - w) / (n - w))) / 2
    (Loshchilov and Hutter 2017, eq. 5, one cycle).
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.name == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1))) / 2

    return factor
