"""Prediction with the mirrored view, from cached images to probabilities, against the bare network.

    python -m benchmarks.prediction

The bare network sees as many views, normalised beforehand, in the same precision, memory format and
batches, by torch on the same device. On a CPU, a fold's finished model, which OpenVINO runs where
it is installed, against the same by torch: a thousand images, the conversion included. Then, with a
network that takes next to nothing, the peak memory at ten times the images, where there is Linux to
tell it.
"""

import functools
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.input_pipeline import draw, tabulate
from benchmarks.ratio import Work, compare
from benchmarks.sides import Side
from pipeline.config.experiment import Experiment
from pipeline.console import result
from pipeline.images.cache import CachedCopies
from pipeline.images.working_copy import working_side_px
from pipeline.models.profile import wait_for
from pipeline.models.registry import build_model
from pipeline.store.paths import Paths
from pipeline.training.device import (
    CPU_BACKEND,
    Precision,
    describe_device,
    frozen_backend,
    pick_device,
    set_up,
)
from pipeline.training.inputs import PixelInputs
from pipeline.training.predictor import predict

NETWORK, SIZE_PX = "timm/tf_efficientnet_lite0", 224
TINY_NETWORK, TINY_PX = "timm/test_resnet", 32
NUM_CLASSES = 12
NUM_VIEWS = 2
NUM_IMAGES, NUM_MANY = 128, 1024
ROUNDS = 3
COUNTS = (200, 2000)

# Not `ru_maxrss`, in which a process starts with the peak of the one that started it.
STATUS = Path("/proc/self/status")


def fine_tuned(name: str, size_px: int) -> tuple[Experiment, nn.Module]:
    """Build a network as fine-tuning leaves it."""
    model = {"name": name, "weights": "none"}
    values = {"name": "prediction", "model": model, "images": {"size_px": size_px}}
    experiment = Experiment.model_validate(values)
    module = build_model(experiment.model, NUM_CLASSES).module
    return experiment, module.eval().to(pick_device()).to(memory_format=torch.channels_last)


def prediction(
    images: pd.DataFrame, root: Path, experiment: Experiment, module: nn.Module
) -> Callable[..., object]:
    """Return the prediction of images, which are decoded into the cache now."""
    side_px = working_side_px(experiment.images)
    copies = CachedCopies(Paths(root, "benchmark"), side_px, images)
    copies.build()
    inputs = PixelInputs(copies, experiment, images, None, pick_device())
    return functools.partial(predict, experiment, module, inputs, np.arange(len(images)))


def finished(images: pd.DataFrame, root: Path, backend: str) -> Work:
    """Return the prediction by a model that learns no more, run by a backend of the CPU."""
    os.environ[CPU_BACKEND] = backend
    set_up(pick_device())
    work = prediction(images, root, *fine_tuned(NETWORK, SIZE_PX))
    return functools.partial(work, is_final=True)


def bare(num_images: int, experiment: Experiment, module: nn.Module) -> Work:
    """Return the forward passes alone, for the views of so many images, a multiple of the batch."""
    device = pick_device()
    precision = Precision.choose(experiment.train.precision, device)
    size_px, batch_size = experiment.images.size_px, experiment.train.batch_size
    batch = torch.randn(NUM_VIEWS * batch_size, 3, size_px, size_px, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        with torch.inference_mode(), precision.autocast():
            for _ in range(num_images // batch_size):
                module(batch)
        wait_for(device)

    return forward


def compare_rates(images: pd.DataFrame, root: Path, name: str, size_px: int) -> None:
    """Compare prediction with the bare network."""
    set_up(pick_device())
    experiment, module = fine_tuned(name, size_px)
    compare(
        f"prediction with the mirrored view, {name}, against the network alone",
        prediction(images, root, experiment, module),
        bare(len(images), experiment, module),
        ROUNDS,
    )


def compare_backends(images: pd.DataFrame, root: Path) -> None:
    """Compare prediction by OpenVINO with prediction by torch, each in a process of its own."""
    os.environ["OMP_WAIT_POLICY"] = "passive"  # as the commands set it; read when torch is imported
    with (
        Side(finished, images, root, "openvino") as ours,
        Side(finished, images, root, "torch") as other,
    ):
        title = f"prediction with the mirrored view, {NETWORK}, openvino against torch"
        compare(title, ours, other, ROUNDS)


def peak_mb(images: pd.DataFrame, root: Path) -> Work:
    """Return what predicts and then tells the peak memory of this process."""
    work = prediction(images, root, *fine_tuned(TINY_NETWORK, TINY_PX))

    def measure() -> float:
        work()
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", STATUS.read_text("ascii"))
        return int(kilobytes) / 1000

    return measure


def compare_memory(folder: Path, root: Path, counts: tuple[int, int] = COUNTS) -> None:
    """Compare the peak memory of predicting few and many small images."""
    draw(folder, counts[1], [(48, 40)])
    images = tabulate(folder, counts[1])
    peaks = []
    for count in counts:
        with Side(peak_mb, images.head(count), root) as side:
            peaks.append(side())
    few, many = (
        f"{count:,} images {peak:,.0f} MB" for count, peak in zip(counts, peaks, strict=True)
    )
    result(f"prediction, peak memory: {few}, {many}, {peaks[1] / peaks[0]:.2f} x")


def main() -> None:
    """Run both."""
    result(f"device: {describe_device(pick_device())}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photos, small = root / "photos", root / "small"
        for folder in (photos, small):
            folder.mkdir()
        draw(photos, NUM_IMAGES)
        compare_rates(tabulate(photos), root, NETWORK, SIZE_PX)
        if frozen_backend(pick_device()):
            many = root / "many"
            many.mkdir()
            draw(many, NUM_MANY)
            compare_backends(tabulate(many, NUM_MANY), root)
        if STATUS.exists():
            compare_memory(small, root)


if __name__ == "__main__":
    main()
