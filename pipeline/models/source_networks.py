"""Build the sources' networks: the course's LeNet, and two with attention for CIFAR-10."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import ConfigError
from pipeline.models.attention import CBAM, ResAttention
from pipeline.models.network import Classifier, he_initialisation
from pipeline.models.resnet import ResNet, named_architectures

LENET_PX = 200
LENET_CHANNELS = 16


class LeNet(Classifier):
    """Two convolutions and three linear layers for images of 200 x 200 pixels.

    The source put a softmax behind the last layer and then took PyTorch's cross-entropy, which
    applies its own: the second softmax sees numbers between 0 and 1 only, so its loss for two
    classes can't leave 0.31 ... 1.31 and its gradients fade as soon as the first one is sure. That
    is why it hardly learned. This one returns logits. The layers are the source's (course notes,
    after LeCun et al. 1998, whose LeNet-5 has other sizes); 5,131,282 parameters for two classes,
    5,120,128 of them in the first linear layer.

    Args:
        num_classes: K.
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc3",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, LENET_CHANNELS, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(LENET_CHANNELS, LENET_CHANNELS, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(LENET_CHANNELS * (LENET_PX // 4) ** 2, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, num_classes)

    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, 200, 200)` into features `(N, 64)`.

        Raises:
            ConfigError: The images have another size.
        """
        height, width = images.shape[-2:]
        if (height, width) != (LENET_PX, LENET_PX):
            raise ConfigError(
                f"lenet: images must be {LENET_PX} x {LENET_PX} pixels, are {height} x {width}; "
                f"set images.size_px={LENET_PX}"
            )
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (N, 16, 100, 100)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 16, 50, 50)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, 40000) → (N, 128)
        return F.relu(self.fc2(x))

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features `(N, 64)` into logits `(N, K)`."""
        logits: Tensor = self.fc3(features)
        return logits


SAMPLE_RATIO = 8


class SampleResNet(Classifier):
    """Conv7x7, BN, ReLU, max-pool, ResAttention, attention, ResAttention, mean, linear.

    The first row of the sources' table for CIFAR-10. The source states this order and about 230,000
    parameters at 10 classes. Our choice: CBAM as the attention, the widths (64 → 128 → 256
    channels, 32 between a block's convolutions) and the ratio of 8, which together give 230,000;
    the stride of 2 in the second block; the stem's stride and padding, a ResNet's. A ratio of 16
    would leave four hidden units to 64 channels that a ReLU has made positive: with some seeds all
    four are dead for every image, and stay so.

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
        self.block1 = ResAttention(64, 32, 128, ratio=SAMPLE_RATIO)
        self.attention = CBAM(128, SAMPLE_RATIO)
        self.block2 = ResAttention(128, 32, 256, stride=2, ratio=SAMPLE_RATIO)
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


REDUCED_CHANNELS = 512


class ResNet50Attention(Classifier):
    """ResNet50 up to `layer4`, a 1x1 convolution to 512 channels, ResAttention, mean, linear.

    The sources' best network for CIFAR-10. The source states this, that its head-only row learns
    ≈ 5.11 M parameters and that its row of all parameters learns 28,616,876 at 10 classes. Both are
    met: 23,508,032 in the trunk, 5,108,844 in the head. How ResAttention looks inside is deduced
    from that, see there.

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
            nn.Conv2d(channels, REDUCED_CHANNELS, kernel_size=1, bias=False),
            nn.BatchNorm2d(REDUCED_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.attention = ResAttention(REDUCED_CHANNELS, REDUCED_CHANNELS // 4, channels)
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
