"""The residual attention block of the sources' two networks for CIFAR-10."""

import torch
from torch import Tensor, nn

from pipeline.models.cbam import CBAM


class ResAttention(nn.Module):
    """Attention on what comes in, two 3x3 convolutions, and a 1x1 shortcut with batch norm.

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
