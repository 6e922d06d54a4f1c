"""Build ResNets, and by parameters ResNeXts, plain networks, CIFAR stems, attention in the blocks.

He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv 1512.03385; Xie et al. 2017,
"Aggregated Residual Transformations for Deep Neural Networks", arXiv 1611.05431. Modules are named
as in torchvision and timm, so state dicts of both load unchanged.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from timm.layers.drop import DropPath
from timm.models import checkpoint_seq
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.attention import CBAM, SqueezeExcitation
from pipeline.models.network import Classifier, he_initialisation

STAGE_PLANES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Architecture:
    """The parameters that tell one ResNet from another.

    Attributes:
        block: Two 3x3 convolutions, or 1x1, 3x3, 1x1 (figure 5).
        depths: Blocks per stage (table 1).
        cardinality: Groups of the 3x3 convolution, ResNeXt's C; 1 is a ResNet.
        base_width: Channels per group in the first stage, ResNeXt's d; counts in bottlenecks only.
        stem: "imagenet" is 7x7 with stride 2 and a max-pool; "cifar" 3x3 with stride 1 and none,
            for images of 32 px. (The paper's CIFAR networks are narrower, too: 16 to 64 channels.)
        shortcut: Where shapes change, "A" pads with zero channels and has no parameters, "B"
            projects; "C" projects in every block (section 4.1); "none" makes a plain network.
        stride_on: The convolution of a bottleneck that halves the map: "1x1" is the paper's, v1;
            "3x3" is v1.5, of Facebook's later code: about half a point better and 5 % slower, as
            NVIDIA reports; no paper we know of measures it.
        attention: What scales the residual branch before the addition.
        zero_init_last: Let each branch start as zero, by its last batch norm (Goyal et al. 2017,
            section 5.1). Off: it starves all weights before it of their first gradient, and
            couldn't be fair to plain networks, which it would switch off.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, int, int, int]
    cardinality: int = 1
    base_width: int = 64
    stem: Literal["imagenet", "cifar"] = "imagenet"
    shortcut: Literal["A", "B", "C", "none"] = "B"
    stride_on: Literal["3x3", "1x1"] = "3x3"
    attention: Literal["se", "cbam"] | None = None
    zero_init_last: bool = False

    @property
    def expansion(self) -> int:
        """Return how many times wider a block's output is than its planes."""
        return 4 if self.block == "bottleneck" else 1


def named_architectures() -> dict[str, Architecture]:
    """Return the registry's ResNets by name.

    The ResNet paper has the five depths (table 1) and the plain 18 and 34 (figure 3), the ResNeXt
    paper the 50-layer 32x4d (table 1), the two papers of the attentions theirs. 101 layers in 32x8d
    seem to stem from Mahajan et al. 2018, and the `_cifar` forms are common practice, no paper's.
    """
    bases = {
        18: Architecture("basic", (2, 2, 2, 2)),
        34: Architecture("basic", (3, 4, 6, 3)),
        50: Architecture("bottleneck", (3, 4, 6, 3)),
        101: Architecture("bottleneck", (3, 4, 23, 3)),
        152: Architecture("bottleneck", (3, 8, 36, 3)),
    }
    named = {f"resnet{depth}": base for depth, base in bases.items()}
    named |= {f"plain{depth}": replace(bases[depth], shortcut="none") for depth in (18, 34)}
    named |= {f"{name}_cifar": replace(base, stem="cifar") for name, base in named.items()}
    named["resnext50_32x4d"] = replace(bases[50], cardinality=32, base_width=4)
    named["resnext101_32x8d"] = replace(bases[101], cardinality=32, base_width=8)
    for depth in (18, 34, 50, 101):
        named[f"cbam_resnet{depth}"] = replace(bases[depth], attention="cbam")
        named[f"se_resnet{depth}"] = replace(bases[depth], attention="se")
    return named


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
