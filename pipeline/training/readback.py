"""Numbers on their way from the device: who asks for them too early stops its queue."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


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


def one_behind(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield tensors on the CPU, each once the work on the next one was begun."""
    before: Readback | None = None
    for tensor in tensors:
        reading = Readback(tensor)
        if before:
            yield before.get()
        before = reading
    if before:
        yield before.get()
