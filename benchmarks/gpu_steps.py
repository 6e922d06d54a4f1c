"""Parts of `benchmarks.gpu` that need no images: the device, the step, its memory, its compiler."""

import io
import os
import platform
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_setting import Row, Setting, on_gpu, wait_for_gpu
from benchmarks.training_step import engine_step, timms_step
from pipeline.config.train_table import TrainConfig
from pipeline.machine import num_cpus
from pipeline.training.device import describe_device, lacking_kernels, pick_device
from pipeline.training.loader import SHARED_MEMORY
from pipeline.training.memory import ChunkedForward
from pipeline.training.readback import NanGuard, Step
from pipeline.training.stepper import Stepper

PACKAGES = ("torch", "torchvision", "timm", "accelerate")
SGD: dict[str, Any] = {"optimizer": {"name": "sgd", "learning_rate": 0.01}}
MIXED: dict[str, Any] = {"mixing": {"mixup_alpha": 0.2, "cutmix_alpha": 1.0}}
# What steps do besides forward and backward, and may wait in.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "AdamW, clipping, average": {"optimizer": {}, "clip_norm": 1.0, "ema_decay": 0.99},
    "mixup and CutMix": MIXED,
    "weighted classes": {"loss": {"class_weights": "balanced"}},
    "float16": {"precision": "fp16"},
}


def preflight(setting: Setting) -> Iterator[Row]:
    """Tell what computes here, and whether it can."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    yield Row("versions", f"Python {platform.python_version()}, {versions}")
    yield Row("device", describe_device(pick_device()), "a GPU", on_gpu() or setting.is_dry)
    if on_gpu():
        lack = lacking_kernels(0)
        yield Row("kernels of this torch", lack or "there", "there", lack is None)
        free, total = (number / 1e9 for number in torch.cuda.mem_get_info())
        told = f"{free:.0f} of {total:.0f} GB"
        yield Row("free memory of the GPU", told, "90 %", free > 0.9 * total)
    where = SHARED_MEMORY if SHARED_MEMORY.exists() else Path(os.sep)
    shared = shutil.disk_usage(where).free / 1e9
    told = f"{num_cpus()} cores, {shared:.1f} GB in {where}"
    yield setting.judge("cores, shared memory", told, "2 GB", is_right=shared > 2)


def waits(setting: Setting) -> Iterator[Row]:
    """Count how often a step has the host wait for the GPU, and what mixing costs."""
    batch = setting.of(64, 8)
    for kind, train in KINDS.items():
        if on_gpu() or kind != "float16":
            yield _waits_of(kind, _step(setting, batch, **train)[0])
    plain, mixed = (_rate(setting, _step(setting, batch, **one)[0]) for one in ({}, MIXED))
    told = f"{mixed / plain:.2f} x a plain step, {1000 * mixed:.1f} ms"
    yield setting.judge("mixup and CutMix", told, "< 1.1 x", is_right=mixed < 1.1 * plain)


def _waits_of(kind: str, step: Callable[[], Tensor], count: int = 3) -> Row:
    for _ in range(count):
        step()
    wait_for_gpu()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _warn_of_waits(is_on=True)
        for _ in range(count):
            step()
        _warn_of_waits(is_on=False)
    found = [one for one in caught if "synchronizing" in str(one.message)]
    places = sorted({f"{Path(one.filename).name}:{one.lineno}" for one in found})
    told = " ".join([f"{len(found) / count:.1f}", *places])
    return Row(f"waits in a step, {kind}", told, "0", not found)


def _warn_of_waits(*, is_on: bool) -> None:
    if on_gpu():
        torch.cuda.set_sync_debug_mode("warn" if is_on else "default")


def steps(setting: Setting) -> Iterator[Row]:
    """Time the engine's step beside that of timm's script, in bfloat16, with Adam."""
    for batch in setting.of((32, 128, 256), (8,)):
        adam = {"optimizer": {"name": "adam", "learning_rate": 0.001}, "precision": "bf16"}
        own = _rate(setting, _step(setting, batch, **adam)[0])
        step = timms_step(setting.network, setting.size_px, batch, is_mixed=True)
        other = _rate(setting, step)
        told = f"{other / own:.2f} x: {batch / own:,.0f} and {batch / other:,.0f} images/s"
        what = f"step of {batch}, against timm's"
        yield setting.judge(what, told, "1 x", is_right=own <= other)
        if on_gpu():
            peak = torch.cuda.max_memory_allocated() / 1e9
            yield Row(f"peak memory of both, {batch}", f"{peak:.1f} GB")
            torch.cuda.empty_cache()


def memory(setting: Setting) -> Iterator[Row]:
    """Give a batch less memory than it needs: it is halved, and teaches the same."""
    if not on_gpu():
        yield Row("halved batches", "only on a GPU is memory capped")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    batch, expected = setting.of(256, 8), _weights(_one_step(setting))
    peak = torch.cuda.max_memory_allocated()
    yield Row(f"a batch of {batch} in float32", f"{peak / 1e9:.1f} GB")
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.4 * peak / total)
    with redirect_stderr(io.StringIO()):
        stepper = _one_step(setting)
    apart = max(
        float((a - b).abs().max()) for a, b in zip(expected, _weights(stepper), strict=True)
    )
    size = stepper.state_dict()["micro_batch_size"]
    told = f"at {size} images, weights differ by {apart:.1e}"
    is_right = size < batch and apart < 1e-3
    yield Row(f"the same within {0.4 * peak / 1e9:.1f} GB", told, "< 1e-3", is_right)
    module, side = stepper.kept_module.eval(), setting.size_px
    with torch.inference_mode():
        forward = ChunkedForward(lambda part: module(part.to(pick_device())))
        outputs = forward(torch.zeros(2048, 3, side, side))
    yield Row("2,048 images predicted at once", f"{len(outputs):,}", "2,048", len(outputs) == 2048)


def _one_step(setting: Setting) -> Stepper:
    """Take a step from the same weights and images whenever it is called."""
    torch.manual_seed(0)
    train = {"freeze_batch_norm": True, "precision": "fp32"}
    step, stepper = _step(setting, setting.of(256, 8), **train)
    step()
    return stepper


def _weights(stepper: Stepper) -> list[Tensor]:
    return [one.detach().float().cpu() for one in stepper.kept_module.parameters()]


def compiled(setting: Setting) -> Iterator[Row]:
    """Time torch.compile's step beside the plain one, and how long translating takes."""
    batch = setting.of(128, 8)
    if setting.is_dry and not shutil.which("g++"):
        yield Row("torch.compile", "needs a compiler")
        return
    plain = _rate(setting, _step(setting, batch)[0])
    begun = time.monotonic()
    step, _ = _step(setting, batch, compile=not setting.is_dry)  # a CPU takes a minute
    step()
    wait_for_gpu()
    yield Row("seconds to the first step", f"{time.monotonic() - begun:.0f}")
    own = _rate(setting, step)
    told = f"{plain / own:.2f} x: {batch / own:,.0f} images/s"
    yield setting.judge("compiled, against plain", told, "> 1 x", is_right=own < plain)


def _step(setting: Setting, batch: int, **train: Any) -> tuple[Callable[[], Tensor], Stepper]:
    config = TrainConfig.model_validate({"batch_size": batch} | SGD | train)
    return engine_step(setting.network, setting.size_px, batch, config)


def _rate(setting: Setting, step: Callable[[], Tensor]) -> float:
    """Return the seconds of a step, its loss read one step later, as the engine does."""
    for _ in range(setting.of(8, 1)):
        step()
    wait_for_gpu()
    guard, count, begun = NanGuard(), 0, time.perf_counter()
    while time.perf_counter() - begun < setting.of(4.0, 0.1):
        guard.add(step(), Step(count, 0.0, []))
        count += 1
    wait_for_gpu()
    return (time.perf_counter() - begun) / count
