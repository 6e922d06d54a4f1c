"""How strongly layers respond: the standard deviations of their outputs.

He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2 and figure 7: a layer's
response is its output after batch norm and before the nonlinearity or the addition. A residual
net's are smaller: its blocks change what passes by them a little.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

# Names of what a block's input passes through on its way around: no layer of the paper's count.
SHORTCUTS = {"downsample", "shortcut"}


class Moments:
    """Number, sum and sum of squares of all that a layer puts out."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, response: Tensor) -> None:
        """Count one pass's output, of any shape."""
        # A pass in float32, as MPS knows no float64; passes are added up in Python's.
        found = torch.var_mean(response.detach().float(), correction=0)
        variance, mean = torch.stack(found).tolist()
        count = response.numel()
        self._count += count
        self._sum += count * mean
        self._squares += count * (variance + mean**2)

    def std(self) -> float:
        """Return the standard deviation over images, channels and places."""
        mean = self._sum / self._count
        return math.sqrt(max(self._squares / self._count - mean**2, 0.0))


@contextmanager
def recorded_responses(module: nn.Module) -> Iterator[dict[str, Moments]]:
    """Record the responses of a network's layers while something runs it.

    Args:
        module: The network; its layers are known by their batch norms, those of shortcuts apart.

    Yields:
        Moments by the batch norm's name, in the order in which the layers run; empty where there
        is no batch norm.
    """
    moments: dict[str, Moments] = {}
    handles = []
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.BatchNorm2d) or SHORTCUTS & set(name.split(".")):
            continue

        def record(response: Tensor, name: str = name) -> None:
            moments.setdefault(name, Moments()).add(response)

        handles.append(_call_with_response(layer, record))
    try:
        yield moments
    finally:
        for handle in handles:
            handle.remove()


def _call_with_response(layer: nn.BatchNorm2d, record: Callable[[Tensor], None]) -> RemovableHandle:
    """Call `record` with what a batch norm puts out, before any nonlinearity."""
    if isinstance(layer, BatchNormAct2d):  # timm's, which holds the nonlinearity as well
        return layer.act.register_forward_pre_hook(lambda _, inputs: record(inputs[0]))
    return layer.register_forward_hook(lambda _, __, output: record(output))
