"""The sources' small attention network, the first row of their table for CIFAR-10."""

from typing import ClassVar

from torch import Tensor, nn

from pipeline.models.attention import CBAM, ResAttention
from pipeline.models.network import Classifier, he_initialisation

RATIO = 8


class SampleResNet(Classifier):
    """Conv7x7, BN, ReLU, max-pool, ResAttention, attention, ResAttention, mean, linear.

    The source states this order and about 230,000 parameters at 10 classes. Our choice: CBAM as the
    attention, the widths (64 → 128 → 256 channels, 32 between a block's convolutions) and the ratio
    of 8, which together give 230,000; the stride of 2 in the second block; the stem's stride and
    padding, a ResNet's. A ratio of 16 would leave four hidden units to 64 channels that a ReLU has
    made positive: with some seeds all four are dead for every image, and stay so.

    Args:
        num_classes: K.
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.block1 = ResAttention(64, 32, 128, ratio=RATIO)
        self.attention = CBAM(128, RATIO)
        self.block2 = ResAttention(128, 32, 256, stride=2, ratio=RATIO)
        he_initialisation(self)
        self.fc = nn.Linear(256, num_classes)  # drawn last: the trunk must not depend on K

    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into pooled features `(N, 256)`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))  # (N, 64, H / 4, W / 4)
        features: Tensor = self.block2(self.attention(self.block1(x))).mean((2, 3))
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features `(N, 256)` into logits `(N, K)`."""
        logits: Tensor = self.fc(features)
        return logits
