"""A network made ready to learn, as the table `[train]` says: what is refused, before any work."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.experiment import Experiment
from pipeline.config.train_table import ProgressiveConfig, TrainConfig
from pipeline.models.checkpointing import enable_gradient_checkpointing
from pipeline.models.network import Network, check_classifier
from pipeline.models.split import Split, split

# Small images first: their size, epoch by epoch (Tan and Le 2021, "EfficientNetV2").

STEP_PX = 32  # what most networks reduce by, from image to last map


def size_in_epoch(full_px: int, growth: ProgressiveConfig | None, epoch: int) -> int:
    """Return the images' size in an epoch: multiples of 32 until it is full, none larger.

    Args:
        full_px: `images.size_px`.
        growth: How they grow; None for not at all.
        epoch: Counted from 0.
    """
    if growth is None or epoch >= growth.epochs:
        return full_px
    size = growth.from_px + (full_px - growth.from_px) * epoch / growth.epochs
    return min(round(size / STEP_PX) * STEP_PX, full_px)


# What is switched to training, and what rests.


def set_train_mode(module: nn.Module, config: TrainConfig) -> None:
    """Switch a module to training; frozen batch norm keeps its statistics and its scales."""
    module.train()
    if config.freeze_batch_norm:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
                part.requires_grad_(requires_grad=False)


def prepare_network(experiment: Experiment, network: Network, device: torch.device) -> Split:
    """Checkpoint a network's blocks and cut it, in place, as its experiment says.

    Args:
        experiment: How to train.
        network: On its device, which may be "meta" where nothing is frozen.
        device: That device.

    Raises:
        ConfigError: It has no linear head to be fitted first, no blocks to be checkpointed, or
            can't be cut there.
    """
    config, size = experiment.train, experiment.images.size_px
    if config.init_head == "probe":
        check_classifier(network)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(network)
    return split(network, config.freeze, torch.zeros(2, 3, size, size, device=device))
