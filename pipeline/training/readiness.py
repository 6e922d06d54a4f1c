"""A network made ready to learn, as the table `[train]` says: what is refused, before any work."""

import torch

from pipeline.config import Experiment
from pipeline.models.checkpointing import enable_gradient_checkpointing
from pipeline.models.classifier import check_classifier
from pipeline.models.network import Network
from pipeline.models.split import Split, split


def make_ready(experiment: Experiment, network: Network, device: torch.device) -> Split:
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
