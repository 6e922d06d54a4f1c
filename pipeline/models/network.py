"""Define what every network here offers: logits, and the boundary between trunk and head.

A head that was fitted elsewhere can be put into a network, what a head reads be recorded, and deep
ReLU networks be given random weights from which they learn.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.store.predictions import FloatArray


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
        """Return the layer that makes logits of features `(N, D)`, where the head is that layer."""
        head = self.module.get_submodule(self.head_names[0])
        if len(self.head_names) > 1 or not isinstance(head, nn.Linear | nn.Conv2d):
            return None
        return head if head.bias is not None else None

    def is_head(self, name: str) -> bool:
        """Tell whether a parameter or buffer, named as in the state dict, is the head's."""
        return any(name.startswith(f"{prefix}.") for prefix in self.head_names)


class SideBySide(nn.Module):
    """Join the features of several trunks, each of which reads the same images in its own colours.

    Args:
        trunks: Images `(N, 3, H, W)` → features `(N, D)` each.
        colours: By trunk and channel, factor and summand that make its inputs of the first one's.
    """

    changes: Tensor

    def __init__(
        self, trunks: Sequence[nn.Module], colours: Sequence[Sequence[tuple[float, float]]]
    ) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        self._are_changed = [any(one != (1.0, 0.0) for one in own) for own in colours]
        # By trunk: the factors of the channels, and their summands. No more than three dimensions,
        # as more would be taken for a convolution's and laid out channels last.
        changes = torch.tensor(colours).transpose(1, 2)
        self.register_buffer("changes", changes, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into features `(N, D1 + D2 + ...)`."""
        features = []
        changes = self.changes[..., None, None]
        for trunk, (factor, summand), is_changed in zip(
            self.trunks, changes, self._are_changed, strict=True
        ):
            features.append(trunk(images * factor + summand if is_changed else images))
        return torch.cat(features, dim=1)


def check_classifier(network: Network) -> None:
    """Refuse a network whose head isn't one linear layer (or 1x1 convolution).

    Raises:
        ConfigError: It is something else.
    """
    if network.classifier is None:
        raise ConfigError(
            "train.init_head: must be 'random' for a network whose head is more than one linear "
            f"layer, {type(network.module).__name__}'s is {', '.join(network.head_names)}"
        )


def set_classifier(network: Network, weight: Tensor, bias: Tensor) -> None:
    """Copy a linear head into a network, in place: `logits = weight @ features + bias`.

    Args:
        network: One whose head is one linear layer (or 1x1 convolution).
        weight: `(K, D)` float32, on any device.
        bias: `(K,)` float32.

    Raises:
        ConfigError: The network's head is something else.
    """
    check_classifier(network)
    layer = network.classifier
    assert layer is not None
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        layer.bias.copy_(bias)


@contextmanager
def record_head_inputs(network: Network) -> Iterator[list[FloatArray]]:
    """Record what the network's head reads, pass by pass, `(N, D)` each; a map is averaged.

    Args:
        network: Run within this context, as a whole or from any layer below its head on.

    Yields:
        A list that grows with every pass.
    """
    recorded: list[FloatArray] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features = inputs[0].detach().float()
        pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
        recorded.append(np.asarray(pooled.cpu()))

    head = network.module.get_submodule(network.head_names[0])
    handle = head.register_forward_pre_hook(record)
    try:
        yield recorded
    finally:
        handle.remove()


def he_initialisation(network: nn.Module) -> None:
    """Draw the weights of all convolutions from `N(0, 2 / (k² · channels out))`, in place.

    He et al. 2015, "Delving Deep into Rectifiers", eq. 14 (fan out), which keeps the variance of
    the gradient from layer to layer; eq. 10 (fan in) keeps the activations' and does as well, says
    the paper. Fan out is what torchvision and timm draw. Linear layers and batch norms keep
    PyTorch's own start, also as there.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
