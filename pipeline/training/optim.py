"""Optimizers by name, with a learning rate and a weight decay for each kind of parameter."""

from collections.abc import Callable
from typing import Any

import torch
from timm.optim import (  # type: ignore[attr-defined]
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
)
from torch import nn

from pipeline.errors import ConfigError
from pipeline.strict import did_you_mean
from pipeline.train_config import TIMM_PREFIX, OptimizerConfig
from pipeline.training.layer_decay import rate_factors

Groups = list[dict[str, Any]]


def build_optimizer(
    config: OptimizerConfig, module: nn.Module, is_head: Callable[[str], bool]
) -> torch.optim.Optimizer:
    """Build the optimizer of a module's trainable parameters, on the device where they are.

    Biases, norms and other parameters of one dimension get no weight decay, nor do those that a
    timm network lists, its tokens and position embeddings. Each parameter group carries its
    `rate_factor`, by which a scheduled learning rate is to be multiplied.

    Args:
        config: Which optimizer, its rates and decays.
        module: What learns.
        is_head: Tells by a parameter's name whether it is the head's.

    Raises:
        ConfigError: timm has no such optimizer, or none that this loop can run here.
    """
    groups = _parameter_groups(config, module, is_head)
    rate, momentum = config.learning_rate, config.momentum
    if config.name.startswith(TIMM_PREFIX):
        return _build_timm_optimizer(config, groups)
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    # One pass over all of it, instead of one per operation; elsewhere torch knows best.
    fused = True if devices <= {"cuda", "cpu"} else None
    if config.name == "sgd":
        nesterov = momentum > 0
        return torch.optim.SGD(groups, rate, momentum=momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, rate, fused=fused)


def _parameter_groups(
    config: OptimizerConfig, module: nn.Module, is_head: Callable[[str], bool]
) -> Groups:
    factors = rate_factors(module, is_head, config)
    undecayed: set[str] = getattr(module, "no_weight_decay", set)()
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factor = factors[name]
            is_decayed = parameter.ndim > 1 and name not in undecayed
            decay = config.weight_decay if is_decayed else 0.0
            rates = {"rate_factor": factor, "lr": config.learning_rate * factor}
            new = {"params": [], "weight_decay": decay, **rates}
            groups.setdefault((factor, decay), new)["params"].append(parameter)
    return list(groups.values())


def _build_timm_optimizer(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    name = config.name.removeprefix(TIMM_PREFIX)
    known = [str(other) for other in list_optimizers()]
    if name not in known:
        close = did_you_mean(config.name, [TIMM_PREFIX + other for other in known])
        hint = close or f"; it has {', '.join(known)}"
        raise ConfigError(
            f"train.optimizer.name: must name an optimizer of timm, is '{config.name}'{hint}"
        )
    if get_optimizer_info(name).second_order:
        raise ConfigError(
            "train.optimizer.name: must be an optimizer of first order, "
            f"'{config.name}' wants second derivatives; choose timm/adamw"
        )
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            groups, name, lr=config.learning_rate, momentum=config.momentum
        )
    except (AssertionError, ImportError) as error:  # those of apex and bitsandbytes
        raise ConfigError(
            f"train.optimizer.name: must run on this machine, '{config.name}' doesn't: {error}; "
            "choose timm/adamw"
        ) from error
    return optimizer
