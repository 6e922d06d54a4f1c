"""Recognise exhausted memory among errors, and answer it with smaller parts."""

from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from pipeline.errors import ArtifactError

# What CUDA's libraries, MPS and the CPU's allocator say, where they don't raise torch's own error.
_MARKS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


def is_out_of_memory(error: Exception) -> bool:
    """Tell by an error whether smaller parts may help."""
    is_torchs = isinstance(error, torch.OutOfMemoryError)
    return is_torchs or any(mark in str(error) for mark in _MARKS)


def free_memory() -> None:
    """Give back what nobody uses any more.

    Prepared modules refer to themselves, so they must be collected. Called while an error is
    handled, this frees nothing: the error's traceback holds on to the tensors.
    """
    clear_device_cache(garbage_collection=True)


class ChunkedForward:
    """Runs a forward pass on as many images at once as fit in memory, which it finds out once.

    Args:
        forward: `(n, ...)` → `(n, ...)`, image by image.
        most: So many at once to begin with; None for all that are given.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], most: int | None = None) -> None:
        self._forward = forward
        self._most = most

    def __call__(self, images: Tensor) -> Tensor:
        """Run it on `(N, ...)`, N > 0.

        Raises:
            ArtifactError: One image doesn't fit.
        """
        while (outputs := self._attempt(images)) is None:
            free_memory()
        return outputs

    def _attempt(self, images: Tensor) -> Tensor | None:
        size = min(self._most or len(images), len(images))
        try:
            parts = [self._forward(part) for part in torch.split(images, size)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise ArtifactError(
                    "images.size_px: one image must fit in memory, doesn't; choose a smaller size "
                    "or network, or free memory that other programs hold"
                ) from error
        self._most = (size + 1) // 2
        return None
