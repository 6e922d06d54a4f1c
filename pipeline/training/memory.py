"""Memory that isn't enough: told from other errors, and answered by smaller parts."""

from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from pipeline.errors import ArtifactError

# What CUDA's libraries, MPS and the CPU's allocator say, where they don't raise torch's own error.
_MARKS = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell by an error whether smaller parts may help."""
    is_torchs = isinstance(error, torch.OutOfMemoryError)
    return is_torchs or any(mark in str(error) for mark in _MARKS)


def free_memory() -> None:
    """Give back what nobody uses any more.

    Prepared modules refer to themselves, so they must be collected. Called while an error is
    handled, this frees nothing: the error's traceback holds on to the tensors.
    """
    clear_device_cache(garbage_collection=True)


def in_parts(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a forward pass on all images at once, or on as many as fit in memory.

    Args:
        forward: `(n, ...)` → `(n, ...)`, image by image.
        images: `(N, ...)`, N > 0.

    Returns:
        `(N, ...)`.

    Raises:
        ArtifactError: One image doesn't fit.
    """
    try:
        return forward(images)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(images) == 1:
            raise ArtifactError(
                "images.size_px: one image must fit in memory, doesn't; choose a smaller size or "
                "network, or free memory that other programs hold"
            ) from error
    free_memory()
    return torch.cat([in_parts(forward, half) for half in images.tensor_split(2)])
