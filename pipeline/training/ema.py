"""Average a network's weights exponentially: the average often predicts better than the last.

Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; with a decay that
warms up, as in TensorFlow's ExponentialMovingAverage.
"""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """Keeps the average of a module's parameters and floating-point buffers.

    The first update takes the values as they are; after n updates, the next one keeps
    `min(decay, (1 + n) / (10 + n))` of the average: short trainings don't drag their start along.
    Whole numbers, batch norm's counters, are copied.

    torch's AveragedModel does the same, but moves its count to the device in every step, which
    stops a GPU's queue.

    Args:
        module: What is averaged, read at every update.
        decay: The share of the average that an update keeps.

    Attributes:
        module: The averaged copy, in evaluation mode and without gradients.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._source = module
        self._decay = decay
        self._num_updates = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present values in; called after every step."""
        count = self._num_updates
        kept = min(self._decay, (1 + count) / (10 + count)) if count else 0.0
        # One kernel for many tensors, not one for each.
        torch._foreach_lerp_(_floats(self.module), _floats(self._source), 1 - kept)
        for average, value in zip(_others(self.module), _others(self._source), strict=True):
            average.copy_(value)
        self._num_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates."""
        return {"num_updates": self._num_updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._num_updates = state["num_updates"]
        self.module.load_state_dict(state["module"])


def _floats(module: nn.Module) -> list[Tensor]:
    tensors = itertools.chain(module.parameters(), module.buffers())
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def _others(module: nn.Module) -> list[Tensor]:
    return [buffer for buffer in module.buffers() if not buffer.is_floating_point()]
