"""Keep the environment from deciding a training: what launchers and schedulers left behind.

accelerate reads variables wherever it is used. A recipe says how to train; of the environment only
the number of processes and ACCELERATE_USE_CPU count.
"""

import os
from typing import Any

from pipeline.console import warn
from pipeline.errors import ConfigError
from pipeline.machine import num_processes

# What would divide gradients or compile unasked, beside what says that it doesn't.
_OVERRULED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1", "train.micro_batch_size"),
    "ACCELERATE_DYNAMO_BACKEND": ("no", "train.compile"),
    "ACCELERATE_MIXED_PRECISION": ("no", "train.precision"),
}
_REFUSED = (
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
    "ACCELERATE_TORCH_DEVICE",
)
_OF_A_LAUNCH = ("RANK", "LOCAL_RANK", "MASTER_ADDR")
# MPI's and Slurm's own, by which accelerate would look for others.
_OF_SCHEDULERS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_OFF = ("", "0", "false", "no")
# What may change numbers by rounding, or where they are computed.
_RECORDED = (
    "ACCELERATE_USE_CPU",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PIPELINE_CPU_BACKEND",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_not_used: dict[str, str] = {}  # by this process, since it began


def launch_record() -> dict[str, Any]:
    """Return what `environment.json` keeps of the environment: what counted, and what didn't."""
    return {
        "processes": num_processes(),
        "variables": {name: os.environ[name] for name in _RECORDED if name in os.environ},
        "variables_not_used": dict(_not_used),
    }


def settle_environment() -> None:
    """Take out of this process's environment what must not decide, and say so; refuse the rest.

    Raises:
        ConfigError: DeepSpeed or its like is asked for; or processes are counted that nobody
            started.
    """
    for name in _REFUSED:
        if os.environ.get(name, "").lower() not in _OFF:
            raise ConfigError(
                f"{name}: must be unset, as recipes don't train that way, is "
                f"'{os.environ[name]}'; unset it, or choose plain processes in 'accelerate config'"
            )
    for name, (neutral, key) in _OVERRULED.items():
        value = os.environ.pop(name, neutral)
        if value.lower() != neutral:
            _not_used[name] = value
            warn(f"{name}={value} of the environment is not used: {key} decides")
    if _count_processes() == 1:
        _forget_launch()


def _count_processes() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(
            f"WORLD_SIZE: must be the number of processes that train together, is '{text}'; "
            "unset it"
        )
    lacking = [name for name in _OF_A_LAUNCH if name not in os.environ]
    if int(text) > 1 and lacking:
        raise ConfigError(
            f"WORLD_SIZE: must be set by a launcher, as {', '.join(lacking)} isn't, is {text}; "
            "unset it, or start the command by 'accelerate launch'"
        )
    return int(text)


def _forget_launch() -> None:
    """Remove the rest of a launch: with it accelerate would wait for processes that are none."""
    names = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", *_OF_A_LAUNCH, *_OF_SCHEDULERS)
    values = {name: os.environ.pop(name) for name in names if name in os.environ}
    found = list(values)
    _not_used.update(values)
    if "RANK" in found or set(found) & set(_OF_SCHEDULERS):
        warn(f"{', '.join(found)} of the environment are not used: one process trains")
