"""Frozen layers on a CPU, through OpenVINO against torch: on idle cores, and on a shared machine.

    python -m benchmarks.frozen_layers

Each side is a process of its own that makes the features of the same pixels, as the pipeline does.
Then both work beside three busy processes: the share of its idle rate that a side keeps is set
against its fair share, the cores divided by all that want them; so is a training step. Last, how
training compares with the forward pass of the networks whose gates keep their memory layout.
"""

import multiprocessing
import os
import statistics
import time
from functools import partial
from multiprocessing.synchronize import Event

import torch

from benchmarks.ratio import Work, compare, seconds
from benchmarks.sides import Side
from pipeline.config.experiment import ImageConfig, ModelConfig
from pipeline.console import result
from pipeline.machine import num_cpus
from pipeline.models.registry import build_random
from pipeline.training.device import CPU_BACKEND, Precision, describe_device, set_up
from pipeline.training.frozen import frozen_forward

CPU = torch.device("cpu")
TRUNKS = [("timm/tf_efficientnet_lite0", 224), ("timm/tf_efficientnet_lite2", 320)]
GATED = [("sample_resnet", 16), ("cbam_resnet50", 8)]
NUM_IMAGES = 64
NUM_BUSY = 3
ROUNDS = 5


def features(name: str, size_px: int, backend: str) -> Work:
    """Return what makes features of the same pixels by a backend."""
    os.environ[CPU_BACKEND] = backend
    set_up(CPU)
    module = build_random(ModelConfig(name=name, weights="none"), 2, 0, size_px).module
    module = module.to(memory_format=torch.channels_last).eval()
    precision = Precision.choose("auto", CPU)
    forward = frozen_forward(module, CPU, precision, ImageConfig(size_px=size_px))
    pixels = torch.randint(0, 256, (NUM_IMAGES, size_px, size_px, 3), dtype=torch.uint8)

    def work() -> None:
        with torch.inference_mode():
            forward(pixels)

    return work


def keep_busy(stop: Event) -> None:
    """Use one core until told to stop."""
    while not stop.is_set():
        sum(range(10_000))


def share_kept(side: Side) -> float:
    """Return which part of its fair share of the idle rate a side keeps beside busy processes."""
    idle = statistics.median(seconds(side) for _ in range(ROUNDS))
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    others = [context.Process(target=keep_busy, args=(stop,)) for _ in range(NUM_BUSY)]
    for other in others:
        other.start()
    time.sleep(1)
    shared = statistics.median(seconds(side) for _ in range(ROUNDS))
    stop.set()
    for other in others:
        other.join()
    cores = num_cpus()
    fair = min(1.0, cores / (cores + NUM_BUSY))
    return idle / shared / fair


def compare_backends(name: str, size_px: int) -> None:
    """Compare the two, idle and beside others."""
    with (
        Side(features, name, size_px, "openvino") as ours,
        Side(features, name, size_px, "torch") as other,
    ):
        compare(f"features of {name} at {size_px} px, openvino against torch", ours, other, ROUNDS)
        kept = [
            f"{who} {share_kept(side):.2f}" for who, side in (("openvino", ours), ("torch", other))
        ]
        result(f"  of its fair share beside {NUM_BUSY} busy processes keeps {', '.join(kept)}")


def training(name: str, num_images: int, *, learns: bool) -> Work:
    """Return a training step of a network at 224 px, or its forward pass."""
    set_up(CPU)
    module = build_random(ModelConfig(name=name, weights="none"), 10, 0, 224).module
    module = module.to(memory_format=torch.channels_last).train(learns)
    precision = Precision.choose("auto", CPU)
    images = torch.randn(num_images, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(num_images) % 10
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)

    def forward() -> None:
        with torch.inference_mode(), precision.autocast():
            module(images)

    def step() -> None:
        with precision.autocast():
            logits = module(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step if learns else forward


def compare_waiting() -> None:
    """Tell what a training step keeps beside others, by how torch's threads wait for each other."""
    for policy in ("passive", "active"):
        os.environ["OMP_WAIT_POLICY"] = policy  # read when a side imports torch
        with Side(partial(training, learns=True), TRUNKS[0][0], 32) as step:
            step()
            result(f"training step, {policy} waiting: {share_kept(step):.2f} of its fair share")
    os.environ["OMP_WAIT_POLICY"] = "passive"  # as the commands set it


def main() -> None:
    """Run all."""
    result(f"device: {describe_device(CPU)}")
    compare_waiting()
    for name, size_px in TRUNKS:
        compare_backends(name, size_px)
    for name, num_images in GATED:
        step, forward = (training(name, num_images, learns=learns) for learns in (True, False))
        compare(f"training step of {name} against its forward pass by torch", step, forward, ROUNDS)


if __name__ == "__main__":
    main()
