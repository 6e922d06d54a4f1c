"""What is switched to training, and what rests."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.train_config import TrainConfig


def set_train_mode(module: nn.Module, config: TrainConfig) -> None:
    """Switch a module to training; frozen batch norm keeps its statistics and its scales."""
    module.train()
    if config.freeze_batch_norm:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
                part.requires_grad_(requires_grad=False)
