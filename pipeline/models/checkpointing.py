"""Gradient checkpointing: less memory for more time.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174. What a block
computes inside is forgotten after the forward pass and computed again for the backward pass.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from pipeline.errors import ConfigError
from pipeline.models.network import Network
from pipeline.models.resnet import BasicBlock, Bottleneck


def enable_gradient_checkpointing(network: Network) -> None:
    """Checkpoint every block of a network, in place, for good.

    Gradients stay as they are, and so do batch norm's statistics (timm's own switch, which this
    replaces, lets both passes count) and what dropout and stochastic depth draw.

    Args:
        network: A ResNet written here, or a network of timm that tells its blocks.

    Raises:
        ConfigError: It has no blocks, or doesn't tell them.
    """
    blocks = _blocks(network.module)
    if not blocks:
        raise ConfigError(
            "train.gradient_checkpointing: must be false for a network without known blocks, as "
            f"{type(network.module).__name__}"
        )
    for block in blocks:
        block.forward = partial(_checkpointed, block, block.forward)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """List the blocks; timm's networks name theirs for learning rates that differ by block."""
    named = dict(module.named_modules())
    own = [part for part in named.values() if isinstance(part, BasicBlock | Bottleneck)]
    matcher: Any = getattr(module, "group_matcher", dict)
    groups = matcher() if callable(matcher) else {}
    patterns = groups.get("blocks") or [] if isinstance(groups, dict) else []
    if isinstance(patterns, str):
        patterns = [(patterns, None)]
    expressions = [pattern for pattern, place in patterns if place is None]
    return own + [
        part
        for name, part in named.items()
        if any(re.fullmatch(expression, name) for expression in expressions)
        and list(part.children())  # a single layer, as VGG's, has no inside to forget
    ]


def _checkpointed(block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    if torch.compiler.is_compiling():  # computes again what has no side effect
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)
    return checkpoint(
        forward,
        *args,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _second_pass(block, _state_of_mps())),
        **kwargs,
    )


def _state_of_mps() -> Tensor | None:
    return torch.mps.get_rng_state() if torch.backends.mps.is_available() else None


@contextmanager
def _second_pass(block: nn.Module, state_of_mps: Tensor | None) -> Iterator[None]:
    drawing = nullcontext() if state_of_mps is None else _drawing_again(state_of_mps)
    with _resting_statistics(block), drawing:
        yield


@contextmanager
def _drawing_again(state: Tensor) -> Iterator[None]:
    """Draw on MPS what the first pass drew; torch sees to CUDA and the CPU, but not to MPS."""
    before = torch.mps.get_rng_state()
    torch.mps.set_rng_state(state)
    try:
        yield
    finally:
        torch.mps.set_rng_state(before)


@contextmanager
def _resting_statistics(block: nn.Module) -> Iterator[None]:
    """Keep the second forward pass out of the running statistics of batch norm.

    They must be there: the backward pass asks for as many tensors as the first pass left.
    """
    norms = [part for part in block.modules() if isinstance(part, _NormBase)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
