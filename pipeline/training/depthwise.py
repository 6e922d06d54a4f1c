"""Compute gradients of depthwise convolutions in float32 under bfloat16 on a CPU: it is faster.

oneDNN multiplies matrices in bfloat16 at several times the speed of float32, and computes depthwise
convolutions forward in it as well. For their gradients it has no such kernels: those of the
weight take 3 to 6 times as long as in float32, those of the input of a strided convolution up to
17 times (`docs/performance.md`). The matrix units wouldn't help anyway: there is no matrix in a
convolution of one channel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

# Channels per group. With 4, as in the first stage of ResNeXt-50 32x4d, float32 is faster, too;
# with 8 it isn't any more.
MOST_CHANNELS = 4


class DepthwiseGradients(TorchFunctionMode):
    """In this context, autocast's `conv2d` of thin groups computes its gradients in float32.

    They are the gradients of what was computed, in bfloat16, only rounded less. All other functions
    and convolutions run as ever. The backward pass belongs into the context, too: gradient
    checkpointing computes the forward pass again in there.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Stand in for the one function, as torch's modes do."""
        if func is torch.conv2d and not kwargs and _is_served(*args):
            return _ThinConv2d.apply(*args)
        return func(*args, **(kwargs or {}))


def _is_served(_: Tensor, weight: Tensor, *options: Any) -> bool:
    """Tell by the arguments of `conv2d`, given as modules give them: all, and pairs as tuples."""
    if len(options) != 5 or not torch.is_autocast_enabled("cpu"):
        return False
    groups = options[-1]
    are_pairs = all(isinstance(option, tuple) for option in options[1:4])  # padding may be a word
    return are_pairs and groups > 1 and weight.shape[1] <= MOST_CHANNELS


class _ThinConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *options: Any
    ) -> Tensor:
        images, weight = images.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(images, weight)
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        ctx.options = options
        return torch.conv2d(images, weight, bias, *options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = (tensor.float() for tensor in ctx.saved_tensors)
        *geometry, groups = ctx.options  # stride, padding, dilation
        transposed = (False, [0, 0])
        wanted = list(ctx.needs_input_grad[:3])
        grads = torch.ops.aten.convolution_backward(
            grad.float(), images, weight, ctx.bias_sizes, *geometry, *transposed, groups, wanted
        )
        return *grads, None, None, None, None
