"""Describe the ResNets of the papers by the parameters of one class."""

from dataclasses import dataclass, replace
from typing import Literal

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
