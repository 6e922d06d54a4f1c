"""The sources' best network for CIFAR-10: ResNet50 with an attention head on its last map."""

from typing import ClassVar

from torch import Tensor, nn

from pipeline.models.architectures import named_architectures
from pipeline.models.attention import ResAttention
from pipeline.models.network import Classifier, he_initialisation
from pipeline.models.resnet import ResNet

LOWER_DIMENSION = 512


class ResNet50Attention(Classifier):
    """ResNet50 up to `layer4`, a 1x1 convolution to 512 channels, ResAttention, mean, linear.

    The source states this, that its head-only row learns ≈ 5.11 M parameters and that its row of
    all parameters learns 28,616,876 at 10 classes. Both are met: 23,508,032 in the trunk, 5,108,844
    in the head. How ResAttention looks inside is deduced from that, see there.

    The head reads a map, not a vector. With the trunk frozen (and in eval mode, for its batch
    norms) this is the table's "attention, head"; with all of it learning, "attention, all".

    Args:
        num_classes: K.
    """

    head_names: ClassVar[tuple[str, ...]] = ("reduce", "attention", "fc")

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.trunk = ResNet(named_architectures()["resnet50"], num_classes=0)
        channels = self.trunk.num_features
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, LOWER_DIMENSION, kernel_size=1, bias=False),
            nn.BatchNorm2d(LOWER_DIMENSION),
            nn.ReLU(inplace=True),
        )
        self.attention = ResAttention(LOWER_DIMENSION, LOWER_DIMENSION // 4, channels)
        self.fc = nn.Linear(channels, num_classes)
        he_initialisation(self.reduce)
        he_initialisation(self.attention)

    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into a map `(N, 2048, H / 32, W / 32)`."""
        return self.trunk.forward_features(images)

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn a map `(N, 2048, H', W')` into logits `(N, K)`."""
        x = self.attention(self.reduce(features)).mean((2, 3))  # (N, 512, H', W') → (N, 2048)
        logits: Tensor = self.fc(x)
        return logits
