"""Networks of the timm library, without their heads."""

import timm
from torch import nn

from pipeline.errors import ConfigError


def build_timm_trunk(name: str) -> nn.Module:
    """Build a timm network that ends in its pooled features: `(N, 3, H, W)` → `(N, D)`.

    Raises:
        ConfigError: timm has no such network.
    """
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        hint = f"; timm has {', '.join(similar)}" if similar else ""
        raise ConfigError(f"model.name: timm must know the network, knows no '{name}'{hint}")
    trunk: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return trunk
