"""CBAM: attention over channels, then over places. Woo et al. 2018, arXiv 1807.06521.

The paper's own code adds a batch norm behind the spatial convolution, and so does timm; eq. 3 has
none, and we follow the equation.
"""

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Which channels matter: eq. 2, `M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F)))`.

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
        mean = self._mlp(x.mean((2, 3), keepdim=True))
        peak = self._mlp(x.amax((2, 3), keepdim=True))
        return torch.sigmoid(mean + peak)

    def _mlp(self, pooled: Tensor) -> Tensor:
        out: Tensor = self.fc2(torch.relu(self.fc1(pooled)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `(N, C, H, W)`, the shape stays."""
        return x * self.gate(x)


class SpatialAttention(nn.Module):
    """Which places matter: eq. 3, `M_s(F) = sigmoid(f7x7([AvgPool(F); MaxPool(F)]))`.

    Mean and maximum run over the channels here.

    Args:
        kernel_size: Of the convolution; 7 is the paper's choice over 3 (table 2).
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """Return `M_s`, `(N, 1, H, W)` between 0 and 1."""
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv(pooled))  # (N, 2, H, W) → (N, 1, H, W)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the places of `(N, C, H, W)`, the shape stays."""
        return x * self.gate(x)


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
