"""One optimizer update: micro-batches, mixed precision, clipping, average."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.train_table import TrainConfig
from pipeline.console import warn
from pipeline.errors import ArtifactError
from pipeline.machine import num_processes, rank
from pipeline.reproducibility import sample_seed
from pipeline.training import processes
from pipeline.training.checkpoint import State
from pipeline.training.depthwise import DepthwiseGradients
from pipeline.training.device import Precision, pick_device, to_device
from pipeline.training.ema import Ema
from pipeline.training.losses import Criterion
from pipeline.training.memory import free_memory, is_out_of_memory
from pipeline.training.mixing import Mixing
from pipeline.training.optim import build_optimizer
from pipeline.training.sampling import part_slices

# How many numbers an optimizer keeps of every weight, where it isn't two, as Adam's kin do.
MOMENTS = {"sgd": 1}


class _Batch(NamedTuple):
    """What an update is made of; see `Stepper.step`."""

    loaded: Tensor
    prepare: Callable[[Tensor], Tensor]
    targets: Tensor
    epoch: int
    first: int


class Stepper:
    """Updates a module from batches, alike in every process of a launch.

    Args:
        config: The training's recipe.
        module: What learns, `(N, ...)` inputs → logits `(N, K)`; changed in place.
        is_head: Tells by a parameter's name whether it is the head's.
        criterion: Logits and soft targets → the loss of every image.
        seed: Seed of mixing and of dropout.
    """

    def __init__(
        self,
        config: TrainConfig,
        module: nn.Module,
        is_head: Callable[[str], bool],
        criterion: Criterion,
        seed: int,
    ) -> None:
        processes.connect()
        precision = Precision.choose(config.precision, pick_device())
        AcceleratorState._reset_state()  # it remembers the last training's precision
        self._accelerator = Accelerator(mixed_precision=precision.accelerate_name)
        self._config = config
        self._criterion = criterion
        self._seed = seed
        self._module = module.to(self._accelerator.device)
        module.to(memory_format=torch.channels_last)
        self.ema = Ema(module, config.ema_decay) if config.ema_decay else None
        self._mixing = Mixing(config.mixing, seed)
        self._micro_batch_size = config.micro_batch_size or config.batch_size
        is_cpu_bf16 = (precision.device_type, precision.dtype) == ("cpu", torch.bfloat16)
        is_served = is_cpu_bf16 and not config.compile  # a compiler chooses for itself
        self._kernels = DepthwiseGradients() if is_served else nullcontext()
        learner: Any = torch.compile(module) if config.compile else module
        optimizer = build_optimizer(config.optimizer, module, is_head)
        self._local_learner: nn.Module = learner  # computes without the other processes
        self._learner, self._optimizer = self._accelerator.prepare(learner, optimizer)
        if isinstance(self._learner, DistributedDataParallel):
            # Else every step begins with the first process's statistics of batch norm, and what
            # the others saw is lost before it can be averaged.
            self._learner.forward_sync_buffers = False
        self._buffers = list(module.buffers())
        self._buffers_before = [buffer.clone() for buffer in self._buffers]
        self._largest_tried = 0

    @property
    def kept_module(self) -> nn.Module:
        """What is predicted with and kept: the average where there is one."""
        return self.ema.module if self.ema else self._module

    def step(
        self,
        loaded: Tensor,
        prepare: Callable[[Tensor], Tensor],
        targets: Tensor,
        rate: float,
        position: tuple[int, int, int],
    ) -> Tensor:
        """Learn from one batch.

        Args:
            loaded: What this process's share of it was loaded as, `(b, ...)`.
            prepare: Makes inputs of that.
            targets: Soft targets of the whole batch, `(B, K)`.
            rate: The learning rate.
            position: Number of the step; epoch; number of the batch's first image in it.

        Returns:
            This process's share of the batch's mean loss, a scalar on the device.

        Raises:
            ArtifactError: One image at a time doesn't fit in memory; of several processes, one has
                no longer room for what all had room for.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        # Dropout depends on the step and the process, not on what was drawn before: a resumed
        # training needs no generator's state.
        seed = sample_seed(self._seed, position[0], rank())
        batch = _Batch(loaded, prepare, targets, *position[1:])
        self._find_micro_batch_size(batch)
        torch.manual_seed(seed)
        while (loss := self._attempt(self._learner, batch)) is None:
            if num_processes() > 1:  # the others wait amidst the step and can't be told
                raise self._too_large(self._size(len(loaded)))
            self._halve(len(loaded))
            torch.manual_seed(seed)
        if self._config.clip_norm:
            self._accelerator.clip_grad_norm_(self._module.parameters(), self._config.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.ema:
            self.ema.update()
        return loss

    def _find_micro_batch_size(self, batch: _Batch) -> None:
        """Agree with the other processes on a micro-batch that fits in every one's memory.

        Gradients are summed while they are computed: a process that gave up amidst would leave the
        others waiting. So the first batch of a size is tried by each process for itself, and
        nothing is learned from it.
        """
        size = len(batch.targets) * batch.loaded[0].numel()
        if num_processes() == 1 or size <= self._largest_tried:
            return
        while True:
            fits = self._attempt(self._local_learner, batch, self._optimizer_memory) is not None
            self._restore_buffers()
            sizes = processes.gather((fits, self._size(len(batch.loaded))))
            if all(one for one, _ in sizes):
                break
            if (False, 1) in sizes:
                raise self._too_large(1)
            if self._size(len(batch.loaded)) > 1:
                self._halve(len(batch.loaded))
        self._optimizer.zero_grad()
        self._largest_tried = size

    @contextmanager
    def _optimizer_memory(self) -> Iterator[None]:
        """Hold the memory that the optimizer takes with its first update, if that is to come."""
        learning = [one for one in self._module.parameters() if one.requires_grad]
        count = 0 if self._optimizer.state else MOMENTS.get(self._config.optimizer.name, 2)
        reserve = [torch.empty_like(one) for one in learning for _ in range(count)]
        yield
        del reserve

    def _attempt(
        self,
        learner: nn.Module,
        batch: _Batch,
        beside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Tensor | None:
        """Accumulate gradients; None, and all as it was, where memory isn't enough."""
        if self._buffers:
            torch._foreach_copy_(self._buffers_before, self._buffers)
        try:
            with beside():
                return self._accumulate(learner, batch)
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

    def _accumulate(self, learner: nn.Module, batch: _Batch) -> Tensor:
        """Add up the gradients of micro-batches; their sum is that of the batch's mean loss."""
        loaded, prepare, targets, epoch, first = batch
        share = processes.share_of(len(targets))
        parts = part_slices(len(loaded), self._micro_batch_size)
        total = torch.zeros((), device=self._accelerator.device)
        for own in parts:
            seen = self._mixing.around(own, len(loaded))
            place = slice(share.rows.start + seen.start, share.rows.start + seen.stop)
            inputs = prepare(loaded[seen])
            soft = to_device(targets[place], inputs.device)
            mixed = self._mixing.apply(inputs, soft, epoch, first + place.start)
            inputs, soft = (one[own.start - seen.start :][: own.stop - own.start] for one in mixed)
            syncing = nullcontext() if own == parts[-1] else self._accelerator.no_sync(learner)
            with syncing, self._kernels:
                with self._accelerator.autocast():
                    logits = learner(inputs)
                loss = self._criterion(logits.float(), soft).sum() * (share.weight / len(targets))
                # Processes average their gradients; what is wanted is the sum.
                self._accelerator.backward(loss * num_processes())
            total += loss.detach()
        return total

    def _size(self, num_loaded: int) -> int:
        """Return the size of the largest micro-batch of so many images."""
        parts = part_slices(num_loaded, self._micro_batch_size)
        return max(len(range(num_loaded)[part]) for part in parts)

    def _halve(self, num_loaded: int) -> None:
        size = self._size(num_loaded)
        if size == 1:
            raise self._too_large(1)
        self._micro_batch_size = size // 2
        warn(
            f"out of memory with {size} images at once: going on with {self._micro_batch_size}, "
            "gradients add up to the same batch"
        )

    def _too_large(self, size: int) -> ArtifactError:
        return ArtifactError(
            f"train.micro_batch_size: must fit in memory, {size} images don't; choose a smaller "
            "one, a smaller images.size_px or train.gradient_checkpointing = true, which begin "
            "this fold anew"
        )

    def average_statistics(self) -> None:
        """Give all processes the same statistics of batch norm, the mean of what each saw."""
        modules = [self._module, *([self.ema.module] if self.ema else [])]
        buffers = [buffer for module in modules for buffer in module.buffers()]
        processes.average([buffer for buffer in buffers if buffer.is_floating_point()])

    def state_dict(self) -> State:
        """Return all that decides the next updates; tensors of `module` included."""
        scaler = self._accelerator.scaler
        return {
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "ema": self.ema.state_dict() if self.ema else None,
            "micro_batch_size": self._micro_batch_size,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what `state_dict` returned."""
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler and state["scaler"]:  # on a device that had none before
            self._accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self._micro_batch_size = state["micro_batch_size"]
