"""A head that was fitted elsewhere, put into a network."""

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.models.network import Network


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
