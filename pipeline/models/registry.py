"""Build networks by name: those written here, and `timm/<any name>`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.config.experiment import ImageConfig, ModelConfig
from pipeline.config.strict import did_you_mean
from pipeline.errors import ConfigError
from pipeline.models.hub import current_name, network_config
from pipeline.models.network import Classifier, Network, SideBySide
from pipeline.models.preparation import weights_preparation
from pipeline.models.resnet import Architecture, ResNet, named_architectures
from pipeline.models.source_networks import LeNet, ResNet50Attention, SampleResNet
from pipeline.models.split import below_head
from pipeline.models.timm_backbone import (
    HUB,
    build_timm_network,
    build_timm_trunk,
    check_boundary,
)
from pipeline.models.weights import Target, dropped_head, load_weights

__all__ = [
    "FrozenLayers",
    "Network",
    "build_model",
    "build_random",
    "build_random_trunk",
    "build_trunk",
    "model_names",
    "trunk_of",
]

TIMM = "timm/"
# Networks that are no ResNet by parameters: number of classes → network.
OTHERS: dict[str, Callable[[int], Classifier]] = {
    "lenet": LeNet,
    "sample_resnet": SampleResNet,
    "resnet50_attention": ResNet50Attention,
}


@dataclass(frozen=True)
class FrozenLayers:
    """The layers of a network below its head, or below another cut, whose outputs may be cached.

    Attributes:
        module: Images `(N, 3, H, W)` → features `(N, D)`, or a map `(N, C, h, w)`.
        weights_sha256: What tells their weights and options from others.
    """

    module: nn.Module
    weights_sha256: str


def model_names() -> list[str]:
    """List the networks written here; those of timm come on top."""
    return [*OTHERS, *named_architectures()]


def build_model(
    config: ModelConfig, num_classes: int, seed: int = 0, size_px: int | None = None
) -> Network:
    """Build a network with its trunk/head boundary and load its weights.

    Args:
        config: Which network and weights.
        num_classes: K.
        seed: Seed of the random weights: of all, or of the head where the trunk's are loaded.
        size_px: Height and width of the images, for networks that are built for one; None is their
            own.

    Raises:
        ConfigError: There is no such network or no such weights for it, or an option doesn't apply.
        ArtifactError: The weights can't be had now, are damaged or don't fit.
    """
    network = build_random(config, num_classes, seed, size_px)
    digest = load_weights(Target(config.name, network.module, network.is_head, seed), config)
    _check_boundary_once(network, config.name, size_px)
    # Drawn one after the other, the trunk's weights depend on the head's size.
    drawn = f", {num_classes} classes" if config.weights == "none" else ""
    return replace(network, weights_sha256=digest + drawn + _options_text(config))


_checked: set[tuple[str, int | None]] = set()


def _check_boundary_once(network: Network, name: str, size_px: int | None) -> None:
    """Check what timm has built; the networks written here are their trunk and head."""
    key = (name, size_px)
    is_real = next(network.module.parameters()).device.type != "meta"
    if is_real and key not in _checked and not isinstance(network.module, Classifier):
        check_boundary(network, name, size_px)
        _checked.add(key)


def trunk_of(network: Network) -> FrozenLayers:
    """Return a network's trunk; it shares its tensors and its mode."""
    return FrozenLayers(below_head(network), network.weights_sha256)


def build_random(
    config: ModelConfig, num_classes: int, seed: int = 0, size_px: int | None = None
) -> Network:
    """Build a network as `build_model` does, but load no weights, whatever the config says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _construct(config, num_classes, size_px)


def build_trunk(config: ModelConfig, seed: int, size_px: int | None = None) -> FrozenLayers:
    """Build the headless network of an experiment and load its weights.

    Args:
        config: Which network and weights.
        seed: Seed of the random weights, where none are loaded.
        size_px: As for `build_model`.

    Raises:
        ConfigError: There is no such network, or no such weights for it.
        ArtifactError: The weights can't be had now, are damaged or don't fit.
    """
    if config.beside:
        trunks = [build_trunk(one, seed, size_px) for one in config.each]
        named = zip(config.each, trunks, strict=True)
        digest = "; ".join(f"{one.name} {trunk.weights_sha256}" for one, trunk in named)
        return FrozenLayers(_side_by_side(config, [trunk.module for trunk in trunks]), digest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, target = _construct_trunk(config, seed, size_px)
    digest = load_weights(target, config)
    return FrozenLayers(network, digest + _options_text(config))


def build_random_trunk(config: ModelConfig, size_px: int | None = None) -> nn.Module:
    """Build a headless network as `build_trunk` does, but load no weights."""
    if config.beside:
        return _side_by_side(config, [build_random_trunk(one, size_px) for one in config.each])
    return _construct_trunk(config, 0, size_px)[0]


def _side_by_side(config: ModelConfig, trunks: list[nn.Module]) -> SideBySide:
    """Join trunks, each of which gets its images in the colours of its own weights."""
    colours = [weights_preparation(one) or ImageConfig() for one in config.each]
    first = colours[0]
    shifts = [
        [
            (std / own_std, (mean - own_mean) / own_std)
            for mean, std, own_mean, own_std in zip(
                first.mean, first.std, own.mean, own.std, strict=True
            )
        ]
        for own in colours
    ]
    return SideBySide(trunks, shifts)


def _construct(config: ModelConfig, num_classes: int, size_px: int | None) -> Network:
    architectures = named_architectures()
    if config.pool and not config.name.startswith(TIMM):
        raise ConfigError(
            f"model.pool: must be left out for '{config.name}', applies to networks of timm"
        )
    if config.name in architectures:
        architecture = _apply_options(config, architectures[config.name])
        return Network.of(ResNet(architecture, num_classes, config.drop_path, config.dropout))
    for option in _options(config):
        raise ConfigError(
            f"model.{option}: must be left out for '{config.name}', applies to residual networks "
            "written here"
        )
    if config.name in OTHERS:
        _refuse_drops(config)
        return Network.of(OTHERS[config.name](num_classes))
    _check_hub_config(config.name)
    return build_timm_network(
        _timm_name(config),
        num_classes,
        size_px=size_px,
        drop_path=config.drop_path,
        dropout=config.dropout,
        pool=config.pool,
    )


def _construct_trunk(
    config: ModelConfig, seed: int, size_px: int | None
) -> tuple[nn.Module, Target]:
    """Build a headless network; what is to be filled may be a whole one around it."""
    if config.name.startswith(TIMM) and not _options(config):
        _check_hub_config(config.name)
        trunk = build_timm_trunk(_timm_name(config), size_px, config.pool)
        return trunk, Target(config.name, trunk, dropped_head(trunk), seed, wants_head=False)
    network = _construct(config, 2, size_px)  # the head is drawn last and dropped
    target = Target(config.name, network.module, network.is_head, seed, wants_head=False)
    return below_head(network), target


def _options(config: ModelConfig) -> dict[str, str]:
    """Return the options that were chosen."""
    options = {"shortcut": config.shortcut, "stride_on": config.stride_on}
    return {key: value for key, value in options.items() if value is not None}


def _options_text(config: ModelConfig) -> str:
    """Describe what decides the features beside the weights, for keys of caches."""
    pool = {"pool": config.pool} if config.pool else {}
    return "".join(f", {key}={value}" for key, value in (_options(config) | pool).items())


def _apply_options(config: ModelConfig, architecture: Architecture) -> Architecture:
    if config.shortcut and architecture.shortcut == "none":
        raise ConfigError(
            f"model.shortcut: must be left out for '{config.name}', which has no shortcuts"
        )
    if config.drop_path and architecture.shortcut == "none":
        raise ConfigError(
            f"model.drop_path: must be 0 for '{config.name}', which without shortcuts can't skip"
        )
    if config.stride_on and architecture.block == "basic":
        raise ConfigError(
            f"model.stride_on: must be left out for '{config.name}', whose blocks have no 1x1 "
            "convolution"
        )
    return replace(
        architecture,
        shortcut=config.shortcut or architecture.shortcut,
        stride_on=config.stride_on or architecture.stride_on,
    )


def _refuse_drops(config: ModelConfig) -> None:
    for option in ("drop_path", "dropout"):
        if getattr(config, option):
            raise ConfigError(
                f"model.{option}: must be 0 for '{config.name}', applies to residual networks "
                "written here and networks of timm"
            )


def _check_hub_config(name: str) -> None:
    """Bring the description of a hub's network into the cache, where timm looks for it."""
    if name.startswith(TIMM + HUB):
        network_config(name)


def _timm_name(config: ModelConfig) -> str:
    if config.name.startswith(TIMM):
        return current_name(config.name.removeprefix(TIMM))
    known = model_names()
    close = did_you_mean(config.name, known) or f"; here are {', '.join(known)}"
    raise ConfigError(
        f"model.name: must be 'timm/<name>' or a network written here, is '{config.name}'{close}"
    )
