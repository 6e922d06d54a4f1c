"""Let several processes train one network together, as `accelerate launch` starts them.

Every process runs the same command. The first, the main one, decides and writes; what it decides
reaches the others by `broadcast`. With one process, nothing here does anything.
"""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pipeline.errors import ConfigError
from pipeline.machine import num_processes, rank
from pipeline.store.locks import held

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def held_by_main(path: "Path", what: str) -> AbstractContextManager[None]:
    """Hold a lock in the main process for all of them; see `locks.held`."""
    return held(path, what) if is_main() else nullcontext()
