"""A training step as the engine takes it against two other loops, on batches that are there.

    python -m benchmarks.training_step [NETWORK ...]

NETWORK: `resnet50`, `timm/tf_efficientnet_lite0`; all, if left out. The other sides are a plain
float32 loop, as in the sources, and timm's way (its network, its optimizer, channels last), once
with autocast to bfloat16 and once without. timm's best is the one that ours beats by less. All
sides compute on the device that the pipeline picks, timm's on a GPU with what its script sets for
one. On a CPU that does other things as well, believe the CPU time.
"""

import itertools
import os
import sys
from collections.abc import Callable

import numpy as np
import timm
import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from torch import nn

from benchmarks.ratio import Work
from benchmarks.sides import Side, compare_sides
from pipeline.config.experiment import ImageConfig, ModelConfig
from pipeline.config.train_table import OptimizerConfig, TrainConfig
from pipeline.console import result
from pipeline.models.registry import build_model
from pipeline.training.device import describe_device, pick_device, set_up, to_inputs
from pipeline.training.losses import build_criterion
from pipeline.training.prepare_network import set_train_mode
from pipeline.training.stepper import Stepper

# Networks, and the size of their images.
NETWORKS = {"resnet50": 196, "timm/tf_efficientnet_lite0": 224}
NUM_CLASSES = 12
BATCH_SIZE = 32
ROUNDS = 3
LEARNING_RATE = 1e-3


def ours(name: str, size_px: int) -> Work:
    """Build the engine's step: from bytes, as they come from the loader."""
    adam = OptimizerConfig(name="adam", learning_rate=LEARNING_RATE)
    step, _ = engine_step(name, size_px, BATCH_SIZE, TrainConfig(optimizer=adam))
    return lambda: step().item()


def engine_step(
    name: str, size_px: int, batch_size: int, config: TrainConfig
) -> tuple[Callable[[], torch.Tensor], Stepper]:
    """Build a step that returns its loss without waiting for it, and what takes the steps."""
    device = pick_device()
    set_up(device)
    network = build_model(ModelConfig(name=name, weights="none"), NUM_CLASSES)
    set_train_mode(network.module, config)
    criterion = build_criterion(config.loss, np.ones(NUM_CLASSES, dtype=np.int64))
    stepper = Stepper(config, network.module, network.is_head, criterion, seed=0)
    pixels = torch.randint(256, (batch_size, size_px, size_px, 3), dtype=torch.uint8)
    pixels = pixels.pin_memory() if device.type == "cuda" else pixels
    targets = torch.eye(NUM_CLASSES)[torch.arange(batch_size) % NUM_CLASSES]
    numbers = itertools.count()

    def prepare(loaded: torch.Tensor) -> torch.Tensor:
        return to_inputs(loaded, ImageConfig(), device)

    def step() -> torch.Tensor:
        position = (next(numbers), 0, 0)
        return stepper.step(pixels, prepare, targets, LEARNING_RATE, position)

    return step, stepper


def plain(name: str, size_px: int) -> Work:
    """Build the step of a loop as in the sources, from normalised floats."""
    module = build_model(ModelConfig(name=name, weights="none"), NUM_CLASSES).module
    module = module.to(pick_device()).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    images, targets = _floats(size_px)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def timms(name: str, size_px: int, *, is_mixed: bool) -> Work:
    """Build the step of timm's training script, from normalised floats."""
    step = timms_step(name, size_px, BATCH_SIZE, is_mixed=is_mixed)
    return lambda: step().item()


def timms_step(
    name: str, size_px: int, batch_size: int, *, is_mixed: bool
) -> Callable[[], torch.Tensor]:
    """Build the same so that it returns its loss without waiting for it."""
    device = pick_device()
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    module = timm.create_model(name.removeprefix("timm/"), num_classes=NUM_CLASSES)
    module = module.to(device).to(memory_format=torch.channels_last).train()
    fused = True if device.type == "cuda" else None  # one kernel for all weights
    optimizer = create_optimizer_v2(module, opt="adam", lr=LEARNING_RATE, fused=fused)
    criterion = nn.CrossEntropyLoss()
    images, targets = _floats(size_px, batch_size)
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            loss: torch.Tensor = criterion(module(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def timms_bf16(name: str, size_px: int) -> Work:
    """Build timm's step with `--amp --amp-dtype bfloat16`."""
    return timms(name, size_px, is_mixed=True)


def timms_float32(name: str, size_px: int) -> Work:
    """Build timm's step without."""
    return timms(name, size_px, is_mixed=False)


def _floats(size_px: int, batch_size: int = BATCH_SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = torch.randn(batch_size, 3, size_px, size_px), torch.arange(batch_size)
    return images.to(pick_device()), (targets % NUM_CLASSES).to(pick_device())


def run(name: str, size_px: int, rounds: int = ROUNDS) -> None:
    """Compare the sides on one network."""
    others = {
        "a plain float32 loop": plain,
        "timm's, bfloat16": timms_bf16,
        "timm's, float32": timms_float32,
    }
    with Side(ours, name, size_px) as own:
        for title, build in others.items():
            with Side(build, name, size_px) as other:
                what = f"training step, {name}, against {title}"
                compare_sides(what, own, other, BATCH_SIZE, rounds)


def main() -> None:
    """Run the comparisons."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does; for all sides
    result(f"device: {describe_device(pick_device())}")
    for name in sys.argv[1:] or NETWORKS:
        run(name, NETWORKS[name])


if __name__ == "__main__":
    main()
