"""Cut a network in two: a lower part that stays as it is and an upper part that learns.

A network declares one cut itself, that between its trunk and its head; `split` finds the others.
"""

import contextlib
import copy
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, fx, nn

from pipeline.config.strict import did_you_mean
from pipeline.errors import ConfigError
from pipeline.models.network import Network
from pipeline.models.suffix_graph import EntangledError, record_after_layer, record_head

NUM_SUGGESTIONS = 8
# What is raised by networks whose code meets the recorder's stand-in, or lacks its upper part.
_FAILURES = (AttributeError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Split:
    """A network in two: `module(images) == upper(lower(images))`.

    Both work on the network's own tensors: to train `upper` is to train the network. Whoever moves
    the network to a device does so before.

    Attributes:
        lower: Images `(N, 3, H, W)` → what `upper` reads, in most networks features `(N, D)` or a
            map `(N, C, h, w)`, in transformers tokens `(N, T, C)`. It needs no gradient and stays
            in evaluation mode, whatever `train` says. None where nothing is frozen.
        upper: That, or the images → logits `(N, K)`. Its parameters have the network's names, and
            its `train` leaves the lower part alone. It tells by `no_weight_decay`, as networks of
            timm do, which parameters mustn't decay, and by `group_matcher` what its blocks are.
    """

    lower: nn.Module | None
    upper: nn.Module


def split(network: Network, freeze: str, example: Tensor) -> Split:
    """Freeze a network up to and including one of its layers, as `train.freeze` says.

    That nothing but this layer's output crosses the cut is not taken on trust: the two parts must
    give the network's logits, for two numbers of images.

    Args:
        network: On its device. It is left in evaluation mode, and what is frozen of it with
            `requires_grad = False`.
        freeze: "none", "trunk" (all but the head), or the name of a layer, as `blocks.3`.
        example: Two or more images `(N, 3, H, W)` of the working size, on that device; what is
            on them doesn't matter.

    Raises:
        ConfigError: There is no such layer, or the network can't be cut there.
    """
    network.module.eval()
    if freeze == "none":
        return Split(None, network.module)
    example = _noise_like(example)
    layers = dict(network.module.named_modules())
    if freeze not in ("trunk", *layers):
        hint = did_you_mean(freeze, ["none", "trunk", *layers]) or _suggestions(network, example)
        raise ConfigError(
            f"train.freeze: must be 'none', 'trunk' or the name of a layer, is '{freeze}'{hint}"
        )
    try:
        parts = _cut(network, freeze, example)
    except _FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            "train.freeze: must name a layer after which nothing earlier is used and something "
            f"learns, '{freeze}' isn't ({reason}){_suggestions(network, example)}"
        ) from error
    network.module.requires_grad_(requires_grad=False)
    parts.upper.requires_grad_(requires_grad=True)
    # As timm's networks tell it; not by their own method, with which a copy would copy the network.
    undecayed = frozenset(getattr(network.module, "no_weight_decay", frozenset)())
    parts.upper.no_weight_decay = lambda: undecayed  # type: ignore[assignment]
    if has_groups := getattr(network.module, "group_matcher", None):
        matcher = has_groups(coarse=False)
        parts.upper.group_matcher = lambda **_: matcher  # type: ignore[assignment]
    return parts


def _noise_like(images: Tensor) -> Tensor:
    """Draw noise: two networks that differ might agree about blank images."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return noise.to(images)


class LowerPart(nn.Module):
    """The layers of a network below a cut, as a module on the network's own tensors.

    Args:
        module: The network.
        run: Runs those layers: images `(N, 3, H, W)` → what the upper part reads.
    """

    def __init__(self, module: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self._run = run

    def forward(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into what the upper part reads."""
        try:
            return self._run(images)
        except _Reached as reached:
            return reached.output


def below_head(network: Network) -> LowerPart:
    """Return a network's trunk as a lower part that shares its tensors and its mode."""
    return LowerPart(network.module, network.trunk)


class _Reached(Exception):  # noqa: N818 - no error, the way out of a forward pass
    def __init__(self, output: Tensor) -> None:
        self.output = output


class _Frozen(LowerPart):
    """A lower part that never learns: in evaluation mode, whatever `train` says."""

    def __init__(self, module: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__(module, run)
        self.train(mode=False)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - as nn.Module's
        """Stay in evaluation mode."""
        return super().train(mode=False)


def _cut(network: Network, freeze: str, example: Tensor) -> Split:
    """Build both parts; refuse them unless they give the network's logits."""
    if freeze == "trunk":
        upper = record_head(network)
    else:
        upper = record_after_layer(network.module, network.module.get_submodule(freeze), example)
    own = _without(network, upper)
    run: Callable[[Tensor], Tensor] = own.trunk
    if freeze != "trunk":
        own.module.get_submodule(freeze).register_forward_hook(_leave)
        run = own.module
    lower = _Frozen(own.module, run)
    frozen = set(lower.parameters())
    if not list(upper.parameters()):
        raise EntangledError("nothing above it learns")
    if any(parameter in frozen for parameter in upper.parameters()):
        raise EntangledError("parameters below it are used above it, too")
    with torch.no_grad():
        for images in (example, example[:1]):
            expected = network.module(images)
            if not torch.allclose(upper(lower(images)), expected, rtol=1e-5, atol=1e-5):
                raise EntangledError("what comes before it is used after it, too")
    return Split(lower, upper)


def _leave(_: nn.Module, __: object, output: Tensor) -> None:
    raise _Reached(output)


def _without(network: Network, upper: fx.GraphModule) -> Network:
    """Copy a network without its upper part and without copying its tensors."""
    tensors = (*network.module.parameters(), *network.module.buffers())
    memo: dict[int, object] = {id(tensor): tensor for tensor in tensors}
    for node in upper.graph.nodes:
        if node.op == "call_module":
            part = upper.get_submodule(node.target)
            if list(part.parameters()):
                memo[id(part)] = nn.Identity()
    for parameter in upper.parameters(recurse=False):  # of no module, as a class token
        memo[id(parameter)] = None
    return copy.deepcopy(network, memo)


def _suggestions(network: Network, example: Tensor) -> str:
    """Name stages and blocks after which the network can be cut."""
    found = list(itertools.islice(_cuttable(network, example), NUM_SUGGESTIONS))
    return f"; choose from {', '.join(found)}" if found else ""


def _cuttable(network: Network, example: Tensor) -> Iterator[str]:
    """Yield stages and blocks, known by their numbers as `layer1`, after which a cut succeeds."""
    taken: tuple[str, ...] = ()
    for name, module in network.module.named_modules():
        is_part = re.fullmatch(r"(\w+\.)?\w*\d", name) and list(module.children())
        if not is_part or name.startswith(taken):
            continue
        taken += (f"{name}.",)  # what is inside of it isn't listed
        with contextlib.suppress(*_FAILURES):
            _cut(network, name, example)
            yield name
