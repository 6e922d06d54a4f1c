"""Pool and scale maps with gradients that keep the maps' memory layout.

Autograd makes the gradient of a mean or a maximum out of an expanded tensor, channels first. Where
maps are channels last each addition to it then walks through memory the wrong way: half of a
training step of CBAM on a CPU went into that. The gradients here are autograd's, maxima that are
shared included, in fewer passes.
"""

from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch.autograd.function import once_differentiable


@torch.fx.wrap
def gated(x: Tensor, gate: Tensor) -> Tensor:
    """Scale a map `(N, C, H, W)` by a gate that broadcasts: `(N, C, 1, 1)` or `(N, 1, H, W)`."""
    if not torch.is_grad_enabled():  # what traces a network reads plain operations
        return x * gate
    result: Tensor = _Gated.apply(x, gate)
    return result


@torch.fx.wrap
def mean_and_max(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Pool `(N, C, H, W)` over dimensions that are kept, of size 1: by mean and by maximum."""
    if not torch.is_grad_enabled():
        return x.mean(dims, keepdim=True), x.amax(dims, keepdim=True)
    mean, peak = _MeanAndMax.apply(x, dims)
    return mean, peak


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, gate = ctx.saved_tensors
        dims = [dim for dim, size in enumerate(gate.shape) if size == 1 and x.shape[dim] > 1]
        product = grad * x
        gate_grad = product.sum(dims, keepdim=True) if dims else product
        return (grad * gate).to(x.dtype), gate_grad.to(gate.dtype)


class _MeanAndMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        mean, peak = x.mean(dims, keepdim=True), x.amax(dims, keepdim=True)
        ctx.save_for_backward(x, peak)
        ctx.dims = dims
        return mean, peak

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean_grad: Tensor, peak_grad: Tensor) -> tuple[Tensor, None]:
        x, peak = ctx.saved_tensors
        is_peak = x == peak
        even = mean_grad / (x.numel() // peak.numel())
        # Counted in float32: in whole numbers, torch's default, it takes five times as long.
        share = peak_grad / is_peak.sum(ctx.dims, keepdim=True, dtype=torch.float32)
        return torch.where(is_peak, even + share, even).to(x.dtype), None
