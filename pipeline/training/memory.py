"""Recognise exhausted memory among errors, and answer it with smaller parts of batches.

Predictions go through in chunks, gradients add up over micro-batches, halved until they fit.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn

from pipeline.console import warn
from pipeline.errors import ArtifactError
from pipeline.machine import num_processes
from pipeline.training import processes
from pipeline.training.mixing import part_slices

# Views that a GPU computes at once, where nothing is learned: fewer leave it idle.
GPU_VIEWS = 256

# What CUDA's libraries, MPS and the CPU's allocator say, where they don't raise torch's own error.
# Libraries that find no room for their workspace say that they can't begin, or know no algorithm.
_MARKS = (
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "can't allocate memory",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "unable to find an engine to execute this computation",
    "Unable to find a valid cuDNN algorithm",
)


def is_out_of_memory(error: Exception) -> bool:
    """Tell by an error whether smaller parts may help."""
    is_torchs = isinstance(error, torch.OutOfMemoryError)
    return is_torchs or any(mark in str(error) for mark in _MARKS)


@contextmanager
def explained_shortage(what: str) -> Iterator[None]:
    """Turn exhausted memory into one line, where smaller parts can't help.

    Args:
        what: What needs memory, begins the line and says what must hold.

    Raises:
        ArtifactError: Instead of an error of that kind.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ArtifactError(
            f"{what}, doesn't; choose a smaller network, or free memory that other programs hold"
        ) from error


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


# Adds up the gradients of a batch, micro-batch by micro-batch, as the slices say → its loss.
Accumulate = Callable[[list[slice]], Tensor]


class MicroBatches:
    """Accumulates gradients over as many images at once as fit in memory.

    Args:
        module: What learns. When memory wasn't enough, its buffers (batch norm's) become again what
            they were, and its gradients are dropped.
        optimizer: Its optimizer.
        num_moments: How many numbers that will keep of every weight, after its first update.
        size: Images at once, to begin with.

    Attributes:
        size: Images at once; halved whenever they are too many.
    """

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, num_moments: int, size: int
    ) -> None:
        self.size = size
        self._module = module
        self._optimizer = optimizer
        self._num_moments = num_moments
        self._buffers = list(module.buffers())
        self._buffers_before = [buffer.clone() for buffer in self._buffers]
        self._largest_tried = 0

    def run(self, num_images: int, accumulate: Accumulate) -> Tensor:
        """Accumulate the gradients of a batch, in smaller parts whenever they don't fit.

        Args:
            num_images: This process's share of the batch.
            accumulate: See `Accumulate`.

        Raises:
            ArtifactError: One image at a time doesn't fit; of several processes, one has no longer
                room for what all had room for.
        """
        while (loss := self._attempt(num_images, accumulate)) is None:
            if num_processes() > 1:  # the others wait amidst the step and can't be told
                raise _too_large(self._largest_part(num_images))
            self._halve(num_images)
        return loss

    def agree(self, num_images: int, batch_numel: int, accumulate: Accumulate) -> None:
        """Agree with the other processes on a size that fits in every one's memory.

        Gradients are summed while they are computed: a process that gave up amidst would leave the
        others waiting. So the first batch of a size is tried by each process for itself, and
        nothing is learned from it.

        Args:
            num_images: This process's share of the batch.
            batch_numel: How many numbers the whole batch has.
            accumulate: As for `run`, but without the other processes.
        """
        if num_processes() == 1 or batch_numel <= self._largest_tried:
            return
        while True:
            fits = self._attempt(num_images, accumulate, self._optimizer_memory) is not None
            self._restore_buffers()
            sizes = processes.gather((fits, self._largest_part(num_images)))
            if all(one for one, _ in sizes):
                break
            if (False, 1) in sizes:
                raise _too_large(1)
            if self._largest_part(num_images) > 1:
                self._halve(num_images)
        self._optimizer.zero_grad()
        self._largest_tried = batch_numel

    def _attempt(
        self,
        num_images: int,
        accumulate: Accumulate,
        beside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Tensor | None:
        """Accumulate gradients; None, and all as it was, where memory isn't enough."""
        if self._buffers:
            torch._foreach_copy_(self._buffers_before, self._buffers)
        try:
            with beside():
                return accumulate(part_slices(num_images, self.size))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        self._optimizer.zero_grad()
        self._restore_buffers()
        free_memory()
        return None

    @torch.no_grad()
    def _restore_buffers(self) -> None:
        """Forget what batch norm saw in an attempt that doesn't count."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._buffers_before)

    @contextmanager
    def _optimizer_memory(self) -> Iterator[None]:
        """Hold the memory that the optimizer takes with its first update, if that is to come."""
        learning = [one for one in self._module.parameters() if one.requires_grad]
        count = 0 if self._optimizer.state else self._num_moments
        reserve = [torch.empty_like(one) for one in learning for _ in range(count)]
        yield
        del reserve

    def _largest_part(self, num_images: int) -> int:
        parts = part_slices(num_images, self.size)
        return max(len(range(num_images)[part]) for part in parts)

    def _halve(self, num_images: int) -> None:
        size = self._largest_part(num_images)
        if size == 1:
            raise _too_large(1)
        self.size = size // 2
        warn(
            f"out of memory with {size} images at once: going on with {self.size}, gradients add "
            "up to the same batch"
        )


def _too_large(size: int) -> ArtifactError:
    found = "1 image doesn't" if size == 1 else f"{size} images don't"
    return ArtifactError(
        f"train.micro_batch_size: must fit in memory, {found}; choose a smaller one, a smaller "
        "images.size_px or train.gradient_checkpointing = true, which begin this fold anew"
    )
