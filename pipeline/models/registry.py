"""Networks by name: `timm/<any name>`."""

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.timm_backbone import build_timm_trunk
from pipeline.models.weights import load_packaged_weights


@dataclass(frozen=True)
class Trunk:
    """A headless network, `(N, 3, H, W)` → `(N, D)`, and the digest of its weights."""

    network: nn.Module
    weights_sha256: str


def build_trunk(config: ModelConfig, seed: int) -> Trunk:
    """Build the headless network of an experiment and load its weights.

    Args:
        config: Which network and weights.
        seed: Seed of the random weights, where none are loaded.

    Raises:
        ConfigError: There is no such network, or no such weights for it.
        ArtifactError: The weights aren't installed or don't fit.
    """
    prefix, _, name = config.name.partition("/")
    if prefix != "timm":
        raise ConfigError(f"model.name: must be 'timm/<name>', is '{config.name}'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_timm_trunk(name)
    if config.weights == "package":
        return Trunk(network, load_packaged_weights(network, config.name))
    return Trunk(network, f"none, drawn with seed {seed}")
