"""What one core of this machine can do at most, and how much of it training reaches.

The rate of a large matrix product bounds convolutions; the rate of a copy bounds what only passes
over its data: batch norm, activations, the optimizer. One thread's CPU time is taken, in which
what runs beside it hardly shows.
"""

import os
import time

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.ratio import Work
from benchmarks.training_step import BATCH_SIZE, NETWORKS, NUM_CLASSES, ours
from pipeline.config.experiment import ModelConfig
from pipeline.console import result
from pipeline.machine import keep_freed_memory
from pipeline.models.network import Network
from pipeline.models.profile import profile
from pipeline.models.registry import build_model

SIDE = 2048
COPY_BYTES = 2**29
# The forward pass, the gradient of its inputs and that of its weights.
PASSES = 3


def fastest(work: Work, rounds: int = 5) -> float:
    """Return the CPU seconds of the fastest round, after one to warm up: what is possible."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def matrix_flops(dtype: torch.dtype, side: int = SIDE) -> float:
    """Measure operations per second, two per multiply-add, of a square matrix product."""
    one, other, product = (torch.ones(side, side, dtype=dtype) for _ in range(3))
    return 2 * side**3 / fastest(lambda: torch.mm(one, other, out=product))


def copy_bandwidth(num_bytes: int = COPY_BYTES) -> float:
    """Measure bytes per second of a copy, read and written."""
    source = torch.ones(num_bytes, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * num_bytes / fastest(lambda: target.copy_(source))


def step_flops(network: Network, size_px: int) -> int:
    """Count the operations of convolutions and matrices in a step of training."""
    return BATCH_SIZE * 2 * PASSES * profile(network, size_px).macs


def step_bytes(network: Network, size_px: int) -> int:
    """Count the bytes that a step must at least pass over: what layers read and write in bfloat16.

    Additions between layers, weights and the optimizer come on top.
    """
    module = network.module.to("meta").train()
    elements = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel() + output.numel()

    for part in module.modules():
        is_layer = isinstance(part, _BatchNorm) or not list(part.children())
        if is_layer and not isinstance(part, nn.Identity | nn.Dropout):
            part.register_forward_hook(count)
    module(torch.empty(BATCH_SIZE, 3, size_px, size_px, device="meta"))
    return PASSES * elements * torch.bfloat16.itemsize


def built(name: str) -> Network:
    """Build a network without weights."""
    return build_model(ModelConfig(name=name, weights="none"), NUM_CLASSES)


def main() -> None:
    """Print the rates."""
    os.environ["ACCELERATE_USE_CPU"] = "true"  # for training, too
    torch.set_num_threads(1)
    keep_freed_memory()
    bf16, float32 = matrix_flops(torch.bfloat16), matrix_flops(torch.float32)
    result(f"matrix product: bfloat16 {bf16 / 1e9:,.0f}, float32 {float32 / 1e9:,.0f} GFLOP/s")
    bandwidth = copy_bandwidth()
    result(f"copy: {bandwidth / 1e9:.1f} GB/s read and written")
    for name, size_px in NETWORKS.items():
        seconds = fastest(ours(name, size_px), rounds=3)
        flops = step_flops(built(name), size_px) / seconds
        passed = step_bytes(built(name), size_px) / seconds
        result(
            f"training, {name}: {flops / 1e9:,.0f} GFLOP/s, {flops / bf16:.0%} of the matrix "
            f"product; at least {passed / 1e9:.1f} GB/s, {passed / bandwidth:.0%} of the copy"
        )


if __name__ == "__main__":
    main()
