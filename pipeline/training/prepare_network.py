"""Prepare a network for its training as the table `[train]` says, refusing what is impossible."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.experiment import Experiment
from pipeline.config.train_table import TrainConfig
from pipeline.errors import ConfigError
from pipeline.models.network import Network, check_classifier
from pipeline.models.split import Split, split
from pipeline.training.device import pick_device


def set_train_mode(module: nn.Module, config: TrainConfig) -> None:
    """Switch a module to training; frozen batch norm keeps its statistics and its scales."""
    module.train()
    if config.freeze_batch_norm:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
                part.requires_grad_(requires_grad=False)


def enable_gradient_checkpointing(network: Network) -> None:
    """Compute a network's blocks again in the backward pass, instead of keeping what is in them.

    Less memory for more time (Chen et al. 2016, arXiv 1604.06174), by the switch of timm's
    networks, which the ResNets here have, too. Gradients, what dropout draws, and batch norm's
    statistics stay as they are without.

    Raises:
        ConfigError: The network has no such switch, or the device is Apple's.
    """
    module: Any = network.module
    if pick_device().type == "mps":
        raise ConfigError(
            "train.gradient_checkpointing: must be false on MPS, where torch would draw dropout "
            "anew in the backward pass, is true"
        )
    try:
        module.set_grad_checkpointing()
    except (AssertionError, AttributeError) as error:
        raise ConfigError(
            "train.gradient_checkpointing: must be false for a network that has no such switch, as "
            f"{type(module).__name__}"
        ) from error
    momenta = {
        name: part.momentum for name, part in module.named_modules() if isinstance(part, _BatchNorm)
    }

    def count(part: Any, _: object) -> None:
        for name, momentum in momenta.items():
            part.get_submodule(name).momentum = momentum

    def rest(part: Any, *_: object) -> None:  # the second pass is no second look at images
        for name in momenta:
            part.get_submodule(name).momentum = 0.0

    module.register_forward_pre_hook(count)
    module.register_forward_hook(rest)


def prepare_network(experiment: Experiment, network: Network, device: torch.device) -> Split:
    """Checkpoint a network's blocks and cut it, in place, as its experiment says.

    Args:
        experiment: How to train.
        network: On its device, which may be "meta" where nothing is frozen.
        device: That device.

    Raises:
        ConfigError: It has no linear head to be fitted first, can't be checkpointed, or
            can't be cut there.
    """
    config, size = experiment.train, experiment.images.size_px
    if config.init_head == "probe":
        check_classifier(network)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(network)
    return split(network, config.freeze, torch.zeros(2, 3, size, size, device=device))
