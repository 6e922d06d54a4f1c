"""Read numbers back from the device without stopping its queue, as who asks too early does.

Losses are read one step late, and the first one that isn't finite ends the training.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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
