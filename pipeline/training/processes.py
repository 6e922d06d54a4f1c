"""Let several processes train one network together, as `accelerate launch` starts them.

Every process runs the same command. The first, the main one, decides and writes; what it decides
reaches the others by `broadcast`. With one process, most of this does nothing.

accelerate reads the environment wherever it is used. A recipe says how to train: of what launchers
and schedulers left behind only the number of processes and ACCELERATE_USE_CPU count, the rest
`settle_environment` takes out.
"""

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pipeline.console import warn
from pipeline.errors import ConfigError
from pipeline.machine import num_processes, rank
from pipeline.store.locks import first_held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from accelerate import PartialState
    from torch import Tensor

T = TypeVar("T")

# The others wait while the slowest computes features, or the main one decodes: it may take hours.
_PATIENCE = timedelta(days=7)


def is_main() -> bool:
    """Tell whether this process decides and writes."""
    return rank() == 0


def connect() -> "PartialState":
    """Join the other processes; every later call gives the same state."""
    from accelerate import PartialState

    from pipeline.training.device import pick_device

    options: dict[str, Any] = {"timeout": _PATIENCE} if num_processes() > 1 else {}
    state = PartialState(cpu=pick_device().type == "cpu", **options)
    if state.num_processes != num_processes():
        raise ConfigError(
            f"WORLD_SIZE: must be the number of processes that train together, is "
            f"{num_processes()}, accelerate counts {state.num_processes}; start them by "
            "'accelerate launch', or unset WORLD_SIZE and RANK"
        )
    return state


def disconnect() -> None:
    """Leave the others in order, once all is done.

    Not after an error: a group that isn't whole any more may wait for those that are gone.
    """
    if num_processes() > 1:
        connect().destroy_process_group()


def wait_for_all() -> None:
    """Return once every process has come here."""
    if num_processes() > 1:
        connect().wait_for_everyone()


def broadcast(value: T) -> T:
    """Return the main process's value in every process."""
    if num_processes() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    connect()
    values = [value]
    broadcast_object_list(values)
    return values[0]


def gather(value: T) -> list[T]:
    """Return every process's value, in the order of their ranks."""
    if num_processes() == 1:
        return [value]
    from accelerate.utils import gather_object

    connect()
    values: list[Any] = gather_object([value])
    return values


def average(tensors: "Sequence[Tensor]") -> None:
    """Replace tensors of one type and device by their mean over the processes, in place."""
    if num_processes() == 1 or not tensors:
        return
    import torch
    from accelerate.utils import reduce

    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    means = reduce(flat, "mean").split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.detach().copy_(mean.view_as(tensor))


def any_of(flag: bool) -> bool:  # noqa: FBT001
    """Tell whether the flag is set in any process."""
    return any(gather(flag))


class Share(NamedTuple):
    """The neighbours of a batch that are this process's, and what they count."""

    rows: slice
    weight: float


def share_of(count: int) -> Share:
    """Deal `count` items to the processes, as many to each as to the others.

    Even boundaries keep pairs of neighbours together, which mixing needs; the last of an odd number
    stays with the pair before it. A process that would get nothing gets the first item, which
    counts nothing: it must compute to take part in the sum.
    """
    first, last = (2 * (count // 2 * end // num_processes()) for end in (rank(), rank() + 1))
    last = count if rank() + 1 == num_processes() else last
    return Share(slice(first, last), 1.0) if first < last else Share(slice(0, 1), 0.0)


@contextmanager
def first_held_by_main(wanted: "Mapping[Path, str]") -> "Iterator[Path]":
    """Hold one of some locks in the main process for all of them; see `locks.first_held`."""
    if not is_main():
        yield broadcast(next(iter(wanted)))
        return
    with first_held(wanted) as path:
        yield broadcast(path)


# What would divide gradients or compile unasked, beside what says that it doesn't.
_OVERRULED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1", "train.micro_batch_size"),
    "ACCELERATE_DYNAMO_BACKEND": ("no", "train.compile"),
    "ACCELERATE_MIXED_PRECISION": ("no", "train.precision"),
    "TORCHDYNAMO_DISABLE": ("0", "train.compile"),
    "TORCH_COMPILE_DISABLE": ("0", "train.compile"),
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
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PIPELINE_CPU_BACKEND",
    "TIMM_FUSED_ATTN",
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
