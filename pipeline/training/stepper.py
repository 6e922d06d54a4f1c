"""Update a network by one batch: micro-batches, mixed precision, clipping, moving average."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.train_table import TrainConfig
from pipeline.machine import num_processes, rank
from pipeline.reproducibility import sample_seed
from pipeline.training import processes
from pipeline.training.checkpoint import State
from pipeline.training.depthwise import DepthwiseGradients
from pipeline.training.device import Precision, pick_device, to_device
from pipeline.training.losses import Criterion
from pipeline.training.memory import MicroBatches, explained_shortage
from pipeline.training.mixing import Mixing
from pipeline.training.optim import build_optimizer

# How many numbers an optimizer keeps of every weight, where it isn't two, as Adam's kin do.
MOMENTS = {"sgd": 1}


class _Batch(NamedTuple):
    """The parts of an update; see `Stepper.step`."""

    loaded: Tensor
    prepare: Callable[[Tensor], Tensor]
    targets: Tensor
    seed: int
    epoch: int
    first: int


class Ema:
    """Keeps the average of a module's parameters and floating-point buffers.

    The first update takes the values as they are; after n updates, the next one keeps
    `min(decay, (1 + n) / (10 + n))` of the average: short trainings don't drag their start along.
    Whole numbers, batch norm's counters, are copied.

    torch's AveragedModel does the same, but moves its count to the device in every step, which
    stops a GPU's queue.

    Args:
        module: What is averaged, read at every update.
        decay: The share of the average that an update keeps.

    Attributes:
        module: The averaged copy, in evaluation mode and without gradients.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._num_updates = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
        self._source = module

    @cached_property
    def _pairs(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """List the tensors of both, once: the walk takes longer than the launch of the kernels.

        Not before the first update: whoever prepares the module for several processes may put
        other buffers in their places.
        """
        return [_by_kind(self.module), _by_kind(self._source)]

    @torch.no_grad()
    def update(self) -> None:
        """Take the module's present values in; called after every step."""
        count = self._num_updates
        kept = min(self._decay, (1 + count) / (10 + count)) if count else 0.0
        # One kernel for many tensors, not one for each.
        (floats, others), (new_floats, new_others) = self._pairs
        torch._foreach_lerp_(floats, new_floats, 1 - kept)
        if others:
            torch._foreach_copy_(others, new_others)
        self._num_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and the number of updates."""
        return {"num_updates": self._num_updates, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._num_updates = state["num_updates"]
        self.module.load_state_dict(state["module"])


def _by_kind(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """List parameters and buffers, those that are averaged and those that are copied."""
    tensors = [*module.parameters(), *module.buffers()]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    return floats, [tensor for tensor in tensors if not tensor.is_floating_point()]


class Stepper:
    """Updates a module from batches, alike in every process of a launch.

    Args:
        config: The table [train].
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
        self._accelerator = Accelerator(
            mixed_precision=precision.accelerate_name,
            # Whatever the environment says: gradients are summed here, not divided there.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
        self._config = config
        self._criterion = criterion
        self._seed = seed
        with explained_shortage("model.name: the network must fit in memory"):
            self._module = module.to(self._accelerator.device)
        module.to(memory_format=torch.channels_last)
        self.ema = Ema(module, config.ema_decay) if config.ema_decay else None
        self._mixing = Mixing(config.mixing, seed)
        is_cpu_bf16 = (precision.device_type, precision.dtype) == ("cpu", torch.bfloat16)
        is_served = is_cpu_bf16 and not config.compile  # a compiler chooses for itself
        self._kernels = DepthwiseGradients() if is_served else nullcontext()
        learner: Any = module
        if config.compile:
            learner = torch.compile(module, dynamic=False, mode=config.compile_mode)
        optimizer = build_optimizer(config.optimizer, module, is_head)
        self._local_learner: nn.Module = learner  # computes without the other processes
        self._learner, self._optimizer = self._accelerator.prepare(learner, optimizer)
        if isinstance(self._learner, DistributedDataParallel):
            # Else every step begins with the first process's statistics of batch norm, and what
            # the others saw is lost before it can be averaged.
            self._learner.forward_sync_buffers = False
        size = config.micro_batch_size or config.batch_size
        num_moments = MOMENTS.get(config.optimizer.name, 2)
        self._micro_batches = MicroBatches(module, self._optimizer, num_moments, size)

    @property
    def kept_module(self) -> nn.Module:
        """Return what is predicted with and kept: the average where there is one."""
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
        batch = _Batch(loaded, prepare, targets, seed, *position[1:])
        # A short batch would have the network translated anew, for one step an epoch.
        is_short = len(targets) < self._config.batch_size and num_processes() == 1
        learners = (self._module,) * 2 if is_short else (self._local_learner, self._learner)
        alone, together = (partial(self._accumulate, learner, batch) for learner in learners)
        batch_numel = len(targets) * loaded[0].numel()
        self._micro_batches.agree(len(loaded), batch_numel, alone)
        loss = self._micro_batches.run(len(loaded), together)
        if self._config.clip_norm:
            self._accelerator.clip_grad_norm_(self._module.parameters(), self._config.clip_norm)
        with explained_shortage(
            "train.optimizer.name: what it keeps of every weight must fit in memory"
        ):
            self._optimizer.step()
        self._optimizer.zero_grad()
        if self.ema:
            self.ema.update()
        return loss

    def _accumulate(self, learner: nn.Module, batch: _Batch, parts: list[slice]) -> Tensor:
        """Add up the gradients of micro-batches; their sum is that of the batch's mean loss."""
        loaded, prepare, targets, seed, epoch, first = batch
        torch.manual_seed(seed)
        share = processes.share_of(len(targets))
        device = self._accelerator.device
        total = torch.zeros((), device=device)
        # Sent once, not with every micro-batch.
        targets_there = to_device(targets[share.rows], device)
        drawn = to_device(self._mixing.draw(len(loaded), epoch, first + share.rows.start), device)
        for own in parts:
            seen = self._mixing.with_partners(own, len(loaded))
            inputs = prepare(loaded[seen])
            mixed = self._mixing.apply(inputs, targets_there[seen], drawn[seen])
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
            "micro_batch_size": self._micro_batches.size,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what `state_dict` returned."""
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler and state["scaler"]:  # on a device that had none before
            self._accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self._micro_batches.size = state["micro_batch_size"]
