"""The course's baseline for cats and dogs, a LeNet in spirit."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.errors import ConfigError
from pipeline.models.network import Classifier

IMAGE_PX = 200
CHANNELS = 16


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
        self.conv1 = nn.Conv2d(3, CHANNELS, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(CHANNELS * (IMAGE_PX // 4) ** 2, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, num_classes)

    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, 200, 200)` into features `(N, 64)`.

        Raises:
            ConfigError: The images have another size.
        """
        height, width = images.shape[-2:]
        if (height, width) != (IMAGE_PX, IMAGE_PX):
            raise ConfigError(
                f"lenet: images must be {IMAGE_PX} x {IMAGE_PX} pixels, are {height} x {width}; "
                f"set images.size_px={IMAGE_PX}"
            )
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (N, 16, 100, 100)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # (N, 16, 50, 50)
        x = F.relu(self.fc1(x.flatten(1)))  # (N, 40000) → (N, 128)
        return F.relu(self.fc2(x))

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features `(N, 64)` into logits `(N, K)`."""
        logits: Tensor = self.fc3(features)
        return logits
