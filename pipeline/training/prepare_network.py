"""Prepare a network for its training as the table `[train]` says, refusing what is impossible.

`check_trainable` tries all of it before any image is read.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.competition import MOST_DENSE
from pipeline.config.experiment import Experiment
from pipeline.config.train_table import TrainConfig
from pipeline.console import say, warn
from pipeline.errors import ConfigError
from pipeline.images.transforms import check_recipe
from pipeline.models.hub import hub_repository
from pipeline.models.network import Network, check_classifier
from pipeline.models.preparation import prepared
from pipeline.models.registry import build_random, build_random_trunk
from pipeline.models.split import Split, split
from pipeline.models.weights_source import chosen_source
from pipeline.training.device import Precision, check_compiler, pick_device
from pipeline.training.mixing import Mixing
from pipeline.training.optim import build_optimizer, rate_factors

# Blocks that learn at less of the rate stay next to where they are.
LEAST_FACTOR = 1e-4
# What networks raise at images of a size that they can't take.
_REFUSALS = (AssertionError, RuntimeError, TypeError, ValueError)


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


def check_trainable(experiment: Experiment, num_classes: int) -> None:
    """Refuse what would be refused later, at the first fold or amidst a training.

    It takes a second or so. Networks are built without weights, and mostly without data (torch's
    device "meta"); where layers are frozen, the cut is tried on real numbers, and so is what can't
    do without them, before it is refused.

    Args:
        experiment: How to train.
        num_classes: K.

    Raises:
        ConfigError: The number of classes, a transform, the precision, the network, a size of its
            images, the source of its weights, its head, the layer it is frozen up to, gradient
            checkpointing, mixing or the optimizer is impossible; begins with the experiment's name.
        ArtifactError: A hub must say what the network is, and doesn't.
    """
    try:
        experiment = prepared(experiment, is_told=True)
        check_recipe(experiment.views, experiment.images)
        if experiment.method == "finetune" and num_classes > MOST_DENSE:
            raise ConfigError(
                f"method must be 'probe' of more than {MOST_DENSE:,} classes, of which the "
                f"likeliest alone are kept, is 'finetune' of {num_classes:,}"
            )
        Precision.choose(experiment.train.precision, pick_device())
        if experiment.method == "finetune" and experiment.train.compile:
            check_compiler(pick_device())
        check = _check_trunk if experiment.method == "probe" else _check_network
        try:
            check(experiment, num_classes, torch.device("meta"))
        except (ConfigError, *_REFUSALS):  # some networks can't do without data, either
            check(experiment, num_classes, torch.device("cpu"))
        for model in experiment.model.each:
            if chosen_source(model) == "hub":
                hub_repository(model.name)
    except ConfigError as error:
        raise ConfigError(f"{experiment.name}: {error}") from error


def _check_trunk(experiment: Experiment, _: int, device: torch.device) -> None:
    with device:
        trunk = build_random_trunk(experiment.model, experiment.images.size_px)
    _check_size(experiment, trunk, device)


@torch.no_grad()
def _check_network(experiment: Experiment, num_classes: int, device: torch.device) -> None:
    config, size = experiment.train, experiment.images.size_px
    device = device if config.freeze == "none" else torch.device("cpu")
    with device:
        network = build_random(experiment.model, num_classes, experiment.seed, size)
    _check_size(experiment, network.module, device)
    parts = prepare_network(experiment, network, device)
    if parts.lower:
        inputs = parts.lower(torch.zeros(2, 3, size, size))
        _check_channels(experiment, network.module, inputs)
        mixing = Mixing(config.mixing, experiment.seed)
        mixing.apply(inputs, torch.zeros(2, num_classes), mixing.draw(2, 0, 0))
    set_train_mode(parts.upper, config)
    if 1 in (config.batch_size, config.micro_batch_size):
        image = torch.zeros(1, 3, size, size, device=device)
        _check_single(parts.upper, parts.lower(image) if parts.lower else image)
    build_optimizer(config.optimizer, parts.upper, network.is_head)
    _say_layer_rates(experiment, parts.upper, network.is_head)


def _say_layer_rates(
    experiment: Experiment, module: nn.Module, is_head: Callable[[str], bool]
) -> None:
    """Log what `layer_decay` makes of the learning rates, which depends on what a block is."""
    config = experiment.train.optimizer
    if config.layer_decay == 1:
        return
    factors = rate_factors(module, is_head, config)
    trunk = {factor for name, factor in factors.items() if not is_head(name)}
    if len(trunk) < 2:
        warn(
            f"{experiment.name}: layer_decay finds {len(trunk)} block below the head: it changes "
            "next to nothing; leave it out"
        )
        return
    tell = say if min(trunk) >= LEAST_FACTOR else warn
    tell(
        f"{experiment.name}: layer_decay {config.layer_decay:g} over {len(trunk)} blocks; the "
        f"lowest learns at {min(trunk):.2g} of the rate"
    )


def _check_single(module: nn.Module, image: torch.Tensor) -> None:
    """Refuse to learn from images one by one where batch norm would have one value to go by."""
    try:
        module(image)
    except _REFUSALS as error:
        raise ConfigError(
            "train.batch_size and train.micro_batch_size: must be 2 at least for this network, one "
            f"is 1 ({str(error).partition(chr(10))[0]}); choose 2, or freeze_batch_norm"
        ) from error


def _check_channels(experiment: Experiment, module: nn.Module, inputs: torch.Tensor) -> None:
    """Refuse CutMix of maps whose channels can't be told from their rows; see `Mixing.apply`."""
    is_last = getattr(module, "output_fmt", "NCHW") == "NHWC"
    if experiment.train.mixing.cutmix_alpha > 0 and is_last and len(set(inputs.shape[1:])) == 1:
        raise ConfigError(
            "train.mixing.cutmix_alpha: must be 0 where maps have as many channels as rows, which "
            f"are {inputs.shape[1]} here; choose another images.size_px, or use mixup_alpha"
        )


@torch.no_grad()
def _check_size(experiment: Experiment, module: nn.Module, device: torch.device) -> None:
    size = experiment.images.size_px
    try:
        module.eval()(torch.zeros(1, 3, size, size, device=device))
    except _REFUSALS as error:
        reason = str(error).strip().partition("\n")[0] or "refused"
        raise ConfigError(
            f"images.size_px: must give images that {experiment.model.name} can take, gives some "
            f"of {size} x {size} pixels ({reason}); choose another"
        ) from error
