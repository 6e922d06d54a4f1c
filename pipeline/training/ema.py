"""An exponential moving average of a network's weights, which often predicts better than the last.

Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; with a decay that
warms up, as in TensorFlow's ExponentialMovingAverage.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel


class Ema:
    """Keeps the average of a module's parameters and floating-point buffers.

    The first update takes the values as they are; after n updates, the next one keeps
    `min(decay, (1 + n) / (10 + n))` of the average: short trainings don't drag their start along.
    Whole numbers, batch norm's counters, are copied.

    Args:
        module: What is averaged, read at every update.
        decay: The share of the average that an update keeps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._source = module
        self._decay = decay
        self._average = AveragedModel(module, multi_avg_fn=self._blend, use_buffers=True)
        self._average.eval().requires_grad_(requires_grad=False)

    @property
    def module(self) -> nn.Module:
        """The averaged copy, in evaluation mode and without gradients."""
        return self._average.module

    def update(self) -> None:
        """Take the module's present values in; called after every step."""
        self._average.update_parameters(self._source)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates, tensors all."""
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._average.load_state_dict(state)

    def _blend(self, averages: PARAM_LIST, values: PARAM_LIST, _: Tensor | int) -> None:
        """Update tensors of one type and device; torch calls it with its own count, on the device.

        The count is read where it lives, on the CPU: to ask a GPU for it would stop its queue.
        """
        if not averages[0].is_floating_point():
            torch._foreach_copy_(averages, values)
            return
        num_updates = int(self._average.n_averaged)
        decay = min(self._decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(averages, values, 1 - decay)
