"""Build ResNets, and by parameters ResNeXts, plain networks, CIFAR stems, attention in the blocks.

He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv 1512.03385; Xie et al. 2017,
"Aggregated Residual Transformations for Deep Neural Networks", arXiv 1611.05431. Modules are named
as in torchvision and timm, so state dicts of both load unchanged.
"""

from typing import ClassVar

from timm.layers.drop import DropPath
from timm.models import checkpoint_seq
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.architectures import STAGE_PLANES, Architecture
from pipeline.models.attention import CBAM, SqueezeExcitation
from pipeline.models.network import Classifier, he_initialisation


class PaddedShortcut(nn.Module):
    """Option A: take every `stride`-th place and pad with zero channels; nothing to learn."""

    def __init__(self, num_new_channels: int, stride: int) -> None:
        super().__init__()
        self.num_new_channels = num_new_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, C + new, H / stride, W / stride)`."""
        sampled = x[:, :, :: self.stride, :: self.stride]
        return F.pad(sampled, (0, 0, 0, 0, 0, self.num_new_channels))


def _shortcut(architecture: Architecture, channels: int, out: int, stride: int) -> nn.Module | None:
    """Build what a block's input passes through on its way around; None is the identity."""
    is_same_shape = channels == out and stride == 1
    if architecture.shortcut == "none" or (is_same_shape and architecture.shortcut != "C"):
        return None
    if architecture.shortcut == "A":
        return PaddedShortcut(out - channels, stride)
    projection = nn.Conv2d(channels, out, kernel_size=1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(out))


class _Block(nn.Module):
    """The parts that both kinds of block share: attention, shortcut, addition, ReLU."""

    def __init__(self, architecture: Architecture, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        out = planes * architecture.expansion
        self.relu = nn.ReLU(inplace=True)
        self.se = SqueezeExcitation(out) if architecture.attention == "se" else nn.Identity()
        self.cbam = CBAM(out) if architecture.attention == "cbam" else nn.Identity()
        self.drop_path: nn.Module = nn.Identity()
        self.downsample = _shortcut(architecture, channels, out, stride)
        self.is_residual = architecture.shortcut != "none"

    def _add(self, branch: Tensor, x: Tensor) -> Tensor:
        branch = self.drop_path(self.cbam(self.se(branch)))
        if self.is_residual:
            branch = branch + (x if self.downsample is None else self.downsample(x))
        out: Tensor = self.relu(branch)
        return out


class BasicBlock(_Block):
    """Two 3x3 convolutions, the first with the stride (figure 5, left)."""

    def __init__(self, architecture: Architecture, channels: int, planes: int, stride: int) -> None:
        super().__init__(architecture, channels, planes, stride)
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, planes, H / stride, W / stride)`."""
        branch = self.relu(self.bn1(self.conv1(x)))
        return self._add(self.bn2(self.conv2(branch)), x)


class Bottleneck(_Block):
    """1x1 to fewer channels, 3x3 in groups, 1x1 to 4 · planes (ResNeXt's figure 3c)."""

    def __init__(self, architecture: Architecture, channels: int, planes: int, stride: int) -> None:
        super().__init__(architecture, channels, planes, stride)
        groups = architecture.cardinality
        width = planes * architecture.base_width // 64 * groups
        out = planes * architecture.expansion
        first, second = (stride, 1) if architecture.stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, 4 · planes, H / stride, W / stride)`."""
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        return self._add(self.bn3(self.conv3(branch)), x)


class ResNet(Classifier):
    """Stem, four stages of blocks, mean over the map, one linear layer (table 1).

    Args:
        architecture: Which ResNet.
        num_classes: K; with 0 there is no linear layer, as in timm.
        drop_path: Probability that the last block's branch is skipped in training.
        dropout: Probability that a feature before the linear layer is.
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.grad_checkpointing = False
        self.num_features = STAGE_PLANES[-1] * architecture.expansion
        if architecture.stem == "imagenet":
            self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3, self.layer4 = _stages(architecture)
        he_initialisation(self)
        if architecture.zero_init_last:
            _zero_last_norms(self)
        if drop_path:
            _set_stochastic_depth(self, drop_path)
        # Drawn last, so that a seed gives the same trunk whatever the number of classes.
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """Compute the last map: `(N, 3, H, W)` → `(N, D, H / 32, W / 32)`, CIFAR's `H / 8`."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
        return x

    def set_grad_checkpointing(self) -> None:
        """Compute blocks again in the backward pass from now on; named as timm's."""
        self.grad_checkpointing = True

    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into pooled features `(N, D)`."""
        return self.forward_features(images).mean((2, 3))

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features `(N, D)` into logits `(N, K)`."""
        logits: Tensor = self.fc(F.dropout(features, self.dropout, self.training))
        return logits


def _stages(architecture: Architecture) -> list[nn.Sequential]:
    block = Bottleneck if architecture.block == "bottleneck" else BasicBlock
    stages = []
    channels = 64
    for planes, depth in zip(STAGE_PLANES, architecture.depths, strict=True):
        blocks = []
        for number in range(depth):
            # The first stage keeps the size that the stem left.
            stride = 2 if number == 0 and planes != STAGE_PLANES[0] else 1
            blocks.append(block(architecture, channels, planes, stride))
            channels = planes * architecture.expansion
        stages.append(nn.Sequential(*blocks))
    return stages


def _zero_last_norms(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
            nn.init.zeros_(last.weight)


def _set_stochastic_depth(network: nn.Module, last: float) -> None:
    """Let training skip branches, image by image, with a probability that rises linearly.

    Huang et al. 2016, "Deep Networks with Stochastic Depth", arXiv 1603.09382, section 3. As in
    timm, the first block is never skipped (the paper counts the image as block 0), the draw is per
    image, not per batch, and what remains is scaled up in training, not down in prediction.
    """
    blocks = [module for module in network.modules() if isinstance(module, _Block)]
    for number, block in enumerate(blocks):
        block.drop_path = DropPath(last * number / (len(blocks) - 1))
