"""Read numbers back from the device without stopping its queue, as who asks too early does.

Losses are read one step late, and the first one that isn't finite ends the training. States are
copied in the queue and written by a thread.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import ArtifactError


class Readback:
    """A tensor on its way to the CPU.

    `tensor.cpu()` waits until a GPU has done all that it was told, what comes after the tensor
    included. This waits for the tensor alone, so the GPU always has the next step to work on.

    Args:
        tensor: On any device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()
        self._event: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._tensor = self._tensor.to("cpu", non_blocking=True)  # into pinned memory
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def get(self) -> Tensor:
        """Return it, on the CPU."""
        if self._event:
            self._event.synchronize()
        return self._tensor.cpu()


def delayed_by_one(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield tensors on the CPU, each once the work on the next one was begun."""
    before: Readback | None = None
    for tensor in tensors:
        reading = Readback(tensor)
        if before:
            yield before.get()
        before = reading
    if before:
        yield before.get()


class StateWriter:
    """Writes states of a training, on a GPU while it goes on; leaving the context waits for it.

    The copies are made in the device's queue, before whatever changes the tensors next; the thread
    waits until they are there. One state is written at a time.

    Args:
        in_background: Whether a thread writes.
    """

    def __init__(self, *, in_background: bool) -> None:
        self._thread = ThreadPoolExecutor(1, "writes states") if in_background else None
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait for the last state; raise what writing it raised, unless there is an error."""
        if error is None:
            self._wait()
        elif self._writing:
            self._writing.exception()

    def write(self, save: Callable[[Any], None], state: Any) -> None:
        """Write a state as it is now.

        Args:
            save: Writes it.
            state: Tensors and plain values in dictionaries and lists.

        Raises:
            Exception: What writing this one raised, or in the background the one before.
        """
        self._wait()
        if self._thread is None:
            save(state)
            return
        copied = _mapped(_copy, state)
        self._writing = self._thread.submit(lambda: save(_mapped(_fetched, copied)))

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing:
            writing.result()


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Return what is nested in dictionaries and lists, each leaf changed."""
    if isinstance(value, dict):
        return {key: _mapped(change, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(change, one) for one in value)
    return change(value)


def _copy(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().clone() if leaf.is_cpu else Readback(leaf)


def _fetched(leaf: Any) -> Any:
    return leaf.get() if isinstance(leaf, Readback) else leaf


@dataclass(frozen=True)
class Step:
    """One optimizer update: its number counted from 0, its learning rate, its images' ids."""

    number: int
    learning_rate: float
    image_ids: list[str]


@dataclass
class NanGuard:
    """Takes losses as they come and looks at each one step later, when it is there anyway.

    Attributes:
        losses: Those looked at.
    """

    losses: list[float] = field(default_factory=list)
    _pending: tuple[Readback, Step] | None = None

    def add(self, loss: Tensor, step: Step) -> None:
        """Take the loss of a step, and look at the one before; see `flush`."""
        self.flush()
        self._pending = (Readback(loss), step)

    def describe(self, learning_rate: float) -> str:
        """Format the last known loss and the learning rate, for a progress bar."""
        loss = f"loss {self.losses[-1]:.3f}, " if self.losses else ""
        return f"{loss}lr {learning_rate:.1e}"

    def flush(self) -> list[float]:
        """Wait for the last loss and check it.

        Returns:
            All losses so far.

        Raises:
            ArtifactError: It isn't finite.
        """
        if self._pending is not None:
            reading, step = self._pending
            value = float(reading.get())
            if not np.isfinite(value):
                raise ArtifactError(
                    f"step {step.number}: the loss must be finite, is {value} at learning rate "
                    f"{step.learning_rate:.3g} on the {len(step.image_ids)} images "
                    f"{', '.join(step.image_ids)}; lower train.optimizer.learning_rate or set "
                    "train.clip_norm"
                )
            self.losses.append(value)
            self._pending = None
        return self.losses
