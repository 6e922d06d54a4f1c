"""Choose the device that computes and its precision, and move tensors to it."""

import functools
import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from accelerate.utils import is_bf16_available
from torch import Tensor

from pipeline.config.experiment import ImageConfig
from pipeline.console import warn
from pipeline.errors import ConfigError
from pipeline.machine import is_installed, keep_freed_memory, pip_install

FLOAT16_MAX = float(np.finfo(np.float16).max)


def round_to_float16(features: Tensor) -> Tensor:
    """Round features to float16, as the cache keeps them; what is too large becomes the largest."""
    return features.float().clamp(-FLOAT16_MAX, FLOAT16_MAX).half()


CPU_BACKEND = "PIPELINE_CPU_BACKEND"
Backend = Literal["openvino", "torch"]

# Where NVIDIA's driver lists its GPUs, on Linux.
DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")

# What accelerate's launcher sets.
_USE_CPU = "ACCELERATE_USE_CPU"

# The first capability of CUDA whose tensor cores multiply in float16.
_TENSOR_CORES = (7, 0)


def pick_device() -> torch.device:
    """Choose CUDA, else Apple's MPS, else the CPU, which `accelerate launch --cpu` demands.

    Raises:
        ConfigError: This build of torch has no kernels for the GPU.
    """
    if os.environ.get(_USE_CPU, "").lower() in ("1", "true", "yes", "on"):
        return torch.device("cpu")
    if torch.cuda.is_available():
        if lack := lacking_kernels(0):
            raise ConfigError(f"{lack}; or set {_USE_CPU}=true and train on the CPU")
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    _warn_of_unseen_gpus()
    return torch.device("cpu")


def lacking_kernels(number: int) -> str | None:
    """Say of a GPU that this build of torch can't run on it, and which one can; None if it can.

    Kernels of a major version run on its later minor ones; those that are translated when they are
    loaded (`compute_90`) on all later ones.
    """
    built = torch.cuda.get_arch_list()
    try:
        major, minor = torch.cuda.get_device_capability(number)
    except (RuntimeError, AssertionError):  # it says itself what is wrong, once it is used
        return None
    for name in built:
        kind, _, digits = name.rstrip("af").partition("_")
        own = divmod(int(digits), 10)
        is_same = kind == "sm" and own[0] == major and own[1] <= minor
        if is_same or (kind == "compute" and own <= (major, minor)):
            return None
    if not built:
        return None
    advice = "an older" if (major, minor) < (7, 5) else "a newer"
    return (
        f"{torch.cuda.get_device_name(number)}: must be of a capability that torch "
        f"{torch.__version__} has kernels for ({', '.join(built)}), is of {major}.{minor}; "
        f"install the same torch built for {advice} CUDA than {torch.version.cuda}"
    )


def unseen_gpus() -> int:
    """Count the GPUs that NVIDIA's driver sees though torch doesn't; 0 where they are hidden."""
    if torch.cuda.is_available() or os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return 0
    return len(list(DRIVER_GPUS.glob("*")))


@functools.cache
def _warn_of_unseen_gpus() -> None:
    if count := unseen_gpus():
        built = torch.version.cuda
        reason = f"is built for CUDA {built}, is the driver older?" if built else "is for CPUs"
        warn(
            f"the driver sees {count} GPUs, torch {torch.__version__} none, which {reason} "
            "Training on the CPU; 'pipeline doctor' shows both"
        )


def fast_dtype(device: torch.device) -> torch.dtype:
    """Choose bfloat16 where the device computes in it natively, float32 elsewhere.

    A CPU without the instructions emulates bfloat16, slower than float32. GPUs of NVIDIA that have
    tensor cores but no bfloat16 (V100, T4) get float16.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if not has_bf16 and torch.cuda.get_device_capability(device) >= _TENSOR_CORES:
            return torch.float16
    elif device.type == "cpu":
        able = torch.cpu.get_capabilities()
        has_bf16 = any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    else:
        has_bf16 = False
    return torch.bfloat16 if has_bf16 else torch.float32


def check_compiler(device: torch.device) -> None:
    """Refuse `train.compile` where torch.compile would find nothing to compile with.

    Raises:
        ConfigError: A CPU has no C++ compiler, or a GPU no Triton.
    """
    if device.type == "cuda":
        lacks = "" if is_installed("triton") else "Triton isn't installed"
    else:
        name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(
            sys.platform, "g++"
        )
        lacks = "" if shutil.which(name) else f"'{name}' isn't on the PATH"
    if lacks:
        raise ConfigError(
            f"train.compile: must be false without a compiler, {lacks}; install it, or set "
            "train.compile=false"
        )


def set_up(device: torch.device) -> None:
    """Let a device compute as fast as it can; to call it again changes nothing."""
    keep_freed_memory()
    torch.set_float32_matmul_precision("high")  # TF32, where there is such a thing
    # Images have one size, or a few: the fastest convolution of each is worth looking for.
    torch.backends.cudnn.benchmark = device.type == "cuda"


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device; CUDA's queue goes on meanwhile, which takes pinned memory.

    MPS would go on, too, but read memory that may have been freed.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor.pin_memory() if tensor.is_cpu else tensor).to(device, non_blocking=True)


def to_inputs(pixels: torch.Tensor, config: ImageConfig, device: torch.device) -> torch.Tensor:
    """Move pixels to a device and normalise them there.

    Bytes travel, not floats: a quarter of the traffic.

    Args:
        pixels: `(N, H, W, 3)` uint8 RGB.
        config: Mean and standard deviation per channel, for pixels in [0, 1].
        device: Where to.

    Returns:
        `(N, 3, H, W)` float32, channels last in memory, as the pixels come from the decoder.
    """
    # Row by row of the picture and in place: on a CPU five times as fast as channel by channel.
    num, height, width, channels = pixels.shape
    rows = to_device(pixels, device).reshape(num * height, width * channels).float()
    mean, std = _repeated(tuple(config.mean), tuple(config.std), width, device)
    rows.div_(255).sub_(mean).div_(std)
    return rows.view(num, height, width, channels).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=32)
def _repeated(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Send mean and deviation to the device, repeated for a row of pixels: once, not every step."""
    with torch.inference_mode(mode=False):
        mean_row, std_row = (torch.tensor(values).repeat(width) for values in (mean, std))
        return to_device(mean_row, device), to_device(std_row, device)


def cpu_backend() -> Backend:
    """Choose what runs frozen layers on a CPU: PIPELINE_CPU_BACKEND, else what is installed.

    Raises:
        ConfigError: The variable names something else, or what isn't installed.
    """
    wanted = os.environ.get(CPU_BACKEND, "")
    if wanted not in ("", "openvino", "torch"):
        raise ConfigError(f"{CPU_BACKEND}: must be 'openvino' or 'torch', is '{wanted}'")
    has_openvino = is_installed("openvino")
    if wanted == "openvino" and not has_openvino:
        raise ConfigError(
            f"{CPU_BACKEND}: must be what is installed, is 'openvino'; "
            f"run '{pip_install('openvino')}', or set it to 'torch'"
        )
    return "openvino" if has_openvino and wanted != "torch" else "torch"


def frozen_backend(device: torch.device) -> str | None:
    """Name what runs frozen layers on a device, with its version; None where torch does."""
    if device.type != "cpu" or cpu_backend() == "torch":
        return None
    return f"openvino {metadata.version('openvino')}"


@dataclass(frozen=True)
class Precision:
    """The type that matrices are multiplied in; weights stay float32."""

    device_type: str
    dtype: torch.dtype

    @classmethod
    def choose(cls, name: Literal["auto", "bf16", "fp16", "fp32"], device: torch.device) -> Self:
        """Choose by the name that an experiment gives, "auto" being what is fast here.

        Raises:
            ConfigError: "fp16" elsewhere than on CUDA, where gradients can't be scaled; "bf16" on a
                device without, as MPS before macOS 14.
        """
        if name == "fp16" and device.type != "cuda":
            raise ConfigError(
                f"train.precision: must be auto, bf16 or fp32 on this device ({device.type}), is "
                "fp16; set it to auto"
            )
        if name == "bf16" and device.type != "cpu" and not is_bf16_available(ignore_tpu=True):
            raise ConfigError(
                f"train.precision: must be what this device ({device.type}) can compute in, is "
                "bf16; set it to auto"
            )
        named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
        return cls(device.type, fast_dtype(device) if name == "auto" else named[name])

    @property
    def accelerate_name(self) -> str:
        """Return accelerate's name for it."""
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(self.dtype, "no")

    def autocast(self) -> torch.autocast:
        """Return the context to compute in."""
        is_mixed = self.dtype != torch.float32
        return torch.autocast(self.device_type, self.dtype if is_mixed else None, enabled=is_mixed)


def describe_device(device: torch.device) -> str:
    """Name a device with its precision, as `cpu, 2 threads, bfloat16`."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        name = f"cpu, {torch.get_num_threads()} threads"
    else:
        name = device.type
    backend = frozen_backend(device)
    parts = [name, str(fast_dtype(device)).removeprefix("torch."), *([backend] if backend else [])]
    return ", ".join(parts)
