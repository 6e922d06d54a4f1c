"""Build optimizers by name, and schedule their learning rates.

Each kind of parameter has a learning rate and a weight decay of its own.

Learning rates may differ by layer: the lower a block, the more general what it learned before.
Clark et al. 2020, "ELECTRA", arXiv 2003.10555; after Howard and Ruder 2018, "Universal Language
Model Fine-tuning for Text Classification", section 3.2.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import (  # type: ignore[attr-defined]
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
)
from torch import nn

from pipeline.config.strict import did_you_mean
from pipeline.config.train_table import TIMM_PREFIX, OptimizerConfig, ScheduleConfig
from pipeline.errors import ConfigError


def rate_factors(
    module: nn.Module, is_head: Callable[[str], bool], config: OptimizerConfig
) -> dict[str, float]:
    """Return the factor on the learning rate of every parameter, frozen ones included, by name.

    The head learns at `head_factor`, the block below it at `layer_decay`, the next one at
    `layer_decay²`, and so on.
    """
    numbers = number_blocks(module, is_head)
    num_blocks = max(numbers.values(), default=0)
    return {
        name: config.layer_decay ** (num_blocks + 1 - numbers[name])
        if name in numbers
        else config.head_factor
        for name, _ in module.named_parameters()
    }


def number_blocks(module: nn.Module, is_head: Callable[[str], bool]) -> dict[str, int]:
    """Number the blocks below the head from 1 at the image; parameter's name → number.

    Where a network of timm says what its blocks are (`group_matcher`), these are they; what it
    leaves with the head goes with the last block. Otherwise what a block is, is read off the names,
    which come in the order of registration:

    - `layer1.0.conv2.weight`, `blocks.3.1.bn1.bias`, `stages.2.blocks.5.gamma`: up to the last
      index that numbers modules with modules in them, so `layer1.0.downsample.0.weight` belongs to
      `layer1.0`.
    - Other names have their first part as the block: `conv1`, `stem`. So networks that number
      nothing, as DenseNet, are cut more coarsely.
    - What holds no matrix is no block: a norm goes with what is before it, and tokens and position
      embeddings, parameters of the network itself, go with the first block.
    """
    parameters = dict(module.named_parameters())
    trunk = [name for name in parameters if not is_head(name)]
    if matcher := getattr(module, "group_matcher", None):
        return _number_groups(module, matcher(coarse=False), trunk)
    indexed = {prefix for name in trunk for prefix in _indexed_prefixes(name)}
    blocks: dict[str, list[str]] = {}
    for name in trunk:
        blocks.setdefault(_block(name, indexed), []).append(name)
    numbers: dict[str, int] = {}
    number = 0
    for block, names in blocks.items():
        number += block != "" and any(parameters[name].ndim > 1 for name in names)
        numbers |= dict.fromkeys(names, max(number, 1))
    return numbers


def _number_groups(module: nn.Module, matcher: Any, trunk: list[str]) -> dict[str, int]:
    """Number the groups of a matcher of timm that hold anything of the trunk."""
    groups: dict[str, int] = group_parameters(module, matcher, reverse=True)
    used = {groups[name] for name in trunk}
    heads = {groups[name] for name in groups.keys() - set(trunk)}
    if len(used) > 1:
        used -= {max(used)} & heads
    order = {group: number for number, group in enumerate(sorted(used), start=1)}
    return {name: order.get(groups[name], len(order)) for name in trunk}


def _indexed_prefixes(name: str) -> list[str]:
    """List what ends in an index and has a module below: `a.0` and `a.0.b.1` of `a.0.b.1.c.w`."""
    parts = name.split(".")
    ends = [end for end in range(1, len(parts) - 1) if parts[end - 1].isdigit()]
    return [".".join(parts[:end]) for end in ends]


def _block(name: str, indexed: set[str]) -> str:
    """Return the longest indexed prefix, else the first part; nothing for a root's parameter."""
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    first = parts[0] if len(parts) > 1 else ""
    return next((prefix for prefix in prefixes if prefix in indexed), first)


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


# Where one-cycle starts and ends, as in fastai and torch: 1/25 of the peak, and 1/10000 of that.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


class Schedule:
    """The factor on the learning rate of every step of one training.

    With w warm-up steps, all but one-cycle rise as `(t + 1) / w` until step w; on that comes the
    schedule's own factor. The cosine starts at the warm-up's end; steps count from the training's
    start.

    Args:
        config: Which schedule.
        num_steps: Optimizer updates of the whole training.
        steps_per_epoch: Of an epoch.
    """

    def __init__(self, config: ScheduleConfig, num_steps: int, steps_per_epoch: int) -> None:
        self._config = config
        self._num_steps = num_steps
        self._steps_per_epoch = steps_per_epoch
        self._num_warmup = round(config.warmup_epochs * steps_per_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at a step, counted from 0; in (0, 1]."""
        if self._config.name == "one_cycle":
            return self._one_cycle(step)
        warmup = (step + 1) / self._num_warmup if step < self._num_warmup else 1.0
        return warmup * self._decay(step)

    def _decay(self, step: int) -> float:
        config = self._config
        if config.name == "cosine":
            progress = max(step - self._num_warmup, 0) / max(self._num_steps - self._num_warmup, 1)
            return _cosine(1, config.final_factor, progress)
        if config.name == "step":
            return float(config.gamma ** int(step / (config.step_epochs * self._steps_per_epoch)))
        return 1.0

    def _one_cycle(self, step: int) -> float:
        """Smith and Topin 2018, "Super-Convergence", with fastai's cosines for straight lines."""
        last = self._num_steps - 1
        peak = self._config.peak_at * self._num_steps - 1
        if step < peak:
            return _cosine(ONE_CYCLE_START, 1, step / peak)
        return _cosine(1, ONE_CYCLE_END, (step - peak) / (last - peak))


def _cosine(start: float, end: float, progress: float) -> float:
    """Go from start to end along half a cosine (Loshchilov and Hutter 2017, SGDR, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
