"""Squeeze-and-excitation: each channel is scaled by what the whole image says about all of them."""

import torch
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scale the channels of a map by a gate computed from their means.

    Hu et al. 2018, "Squeeze-and-Excitation Networks", eq. 2 to 4:
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
        gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(squeezed))))
        return x * gate
