"""Scale maps by attention: squeeze-and-excitation, CBAM, and the sources' residual block with CBAM.

Hu et al. 2018, "Squeeze-and-Excitation Networks"; Woo et al. 2018, "CBAM", arXiv 1807.06521, whose
own code adds a batch norm behind the spatial convolution, as timm does; eq. 3 has none, and we
follow the equation.

The gradients of gates and pooled maps are autograd's, in fewer passes and in the maps' own memory
layout. Autograd makes those of a mean or a maximum out of an expanded tensor, channels first; where
maps are channels last, each addition to it walks through memory the wrong way, a quarter of a
training step of CBAM on a CPU.
"""

from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
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


class SqueezeExcitation(nn.Module):
    """Scale the channels of a map by a gate computed from their means.

    Each channel is scaled by what the whole image says about all of them, eq. 2 to 4 of the paper:
    `s = sigmoid(W2 relu(W1 z))` with `z` the mean of each channel. The two layers are 1x1
    convolutions with biases and called as in timm, so its `seresnet50` loads; the hidden width is
    the paper's `C / r` (timm rounds it up to a multiple of 8, which changes its 18 and 34 layers).

    Args:
        channels: C.
        ratio: r, by which the hidden layer is narrower; 16 in the paper.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // ratio)
        self.fc1 = nn.Conv2d(channels, hidden, kernel_size=1)
        self.fc2 = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale `(N, C, H, W)`, the shape stays."""
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return gated(x, torch.sigmoid(self.fc2(torch.relu(self.fc1(squeezed)))))


class ChannelAttention(nn.Module):
    """Weigh channels: CBAM's eq. 2, `M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F)))`.

    One MLP serves both pooled vectors. It has no biases, as eq. 2 writes it (`W1(W0(·))`).

    Args:
        channels: C.
        ratio: r, by which the hidden layer is narrower; 16 in the paper.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // ratio)
        self.fc1 = nn.Conv2d(channels, hidden, kernel_size=1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, kernel_size=1, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """Return `M_c`, `(N, C, 1, 1)` between 0 and 1."""
        mean, peak = mean_and_max(x, (2, 3))
        return torch.sigmoid(self._mlp(mean) + self._mlp(peak))

    def _mlp(self, pooled: Tensor) -> Tensor:
        out: Tensor = self.fc2(torch.relu(self.fc1(pooled)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `(N, C, H, W)`, the shape stays."""
        return gated(x, self.gate(x))


class SpatialAttention(nn.Module):
    """Weigh places: CBAM's eq. 3, `M_s(F) = sigmoid(f7x7([AvgPool(F); MaxPool(F)]))`.

    Mean and maximum run over the channels here.

    Args:
        kernel_size: Of the convolution; 7 is the paper's choice over 3 (table 2).
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """Return `M_s`, `(N, 1, H, W)` between 0 and 1."""
        pooled = torch.cat(mean_and_max(x, (1,)), dim=1)
        return torch.sigmoid(self.conv(pooled))  # (N, 2, H, W) → (N, 1, H, W)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the places of `(N, C, H, W)`, the shape stays."""
        return gated(x, self.gate(x))


class CBAM(nn.Module):
    """Channel attention, then spatial attention on its result: eq. 1; the order won in table 3."""

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, ratio)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Scale `(N, C, H, W)`, the shape stays."""
        scaled: Tensor = self.spatial(self.channel(x))
        return scaled


class ResAttention(nn.Module):
    """Apply CBAM to what comes in, two 3x3 convolutions, and a 1x1 shortcut with batch norm.

    The source names the block, says that in `resnet50_attention` it ends in a 1x1 convolution
    512→2048 without bias and a batch norm, and gives that network's number of parameters. The rest
    is arithmetic: of the arrangements we tried (attention of several kinds, widths and places, one
    to three convolutions, with and without biases and batch norms), this one was the simplest that
    meets the number exactly. So the closing 1x1 convolution is the shortcut, listed last; there is
    a batch norm behind the second convolution and none behind the first. Other arrangements may
    meet the number, and the order inside the block is our choice.

    Args:
        channels: C coming in.
        hidden: Channels between the two convolutions.
        out: Channels going out; where it equals `channels` and the stride is 1, the shortcut is
            the identity.
        stride: Of the first convolution and the shortcut.
        ratio: By which the hidden layer of the channel attention is narrower.
    """

    def __init__(
        self, channels: int, hidden: int, out: int, *, stride: int = 1, ratio: int = 16
    ) -> None:
        super().__init__()
        self.attention = CBAM(channels, ratio)
        self.conv1 = nn.Conv2d(channels, hidden, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(hidden, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if channels != out or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, out, H / stride, W / stride)`."""
        branch = torch.relu(self.conv1(self.attention(x)))
        return torch.relu(self.bn2(self.conv2(branch)) + self.downsample(x))
