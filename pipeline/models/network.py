"""What every network of this project offers: logits, and the boundary between trunk and head."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


class Classifier(nn.Module, ABC):
    """Base of the networks written here, each of which declares its own boundary.

    The trunk is what may be frozen and its output cached; the head is what a new competition has
    to learn anyway. `forward` is one after the other, so the two can't disagree with it.
    """

    head_names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def forward_trunk(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into what the head reads."""

    @abstractmethod
    def forward_head(self, features: Tensor) -> Tensor:
        """Turn the trunk's output into logits `(N, K)`."""

    def forward(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into logits `(N, K)`."""
        return self.forward_head(self.forward_trunk(images))


@dataclass(frozen=True)
class Network:
    """A classifier and its trunk/head boundary: `module(x) == head(trunk(x))`.

    Attributes:
        module: Images `(N, 3, H, W)` → logits `(N, K)`, with the reference's state-dict names.
        trunk: Images → what the head reads, `(N, D)` or, for `resnet50_attention`, a map.
        head: That → logits `(N, K)`.
        head_names: Prefixes of the head's parameters, `("fc",)` for a ResNet.
        weights_sha256: What tells its weights and options from others, once they are loaded.
    """

    module: nn.Module
    trunk: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    head_names: tuple[str, ...]
    weights_sha256: str = ""

    @classmethod
    def of(cls, module: Classifier) -> "Network":
        """Wrap a network that declares its boundary itself."""
        return cls(module, module.forward_trunk, module.forward_head, module.head_names)

    @property
    def classifier(self) -> nn.Linear | nn.Conv2d | None:
        """The layer with which features `(N, D)` become logits, where the head is that layer."""
        head = self.module.get_submodule(self.head_names[0])
        if len(self.head_names) > 1 or not isinstance(head, nn.Linear | nn.Conv2d):
            return None
        return head if head.bias is not None else None

    def is_head(self, name: str) -> bool:
        """Tell whether a parameter or buffer, named as in the state dict, is the head's."""
        return any(name.startswith(f"{prefix}.") for prefix in self.head_names)
