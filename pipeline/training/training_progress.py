"""Keep account of a training: how far it is, which epoch was best, what is kept of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.config.train_table import TrainConfig

Row = dict[str, float]
StateDict = dict[str, Tensor]


@dataclass
class TrainingProgress:
    """How far a training is; with the stepper's state, all it needs to go on.

    Attributes:
        epoch: The current epoch, counted from 0.
        batch: Batches of it that are done.
        step: Optimizer updates so far.
        losses: The losses of the epoch's batches.
        history: A row per finished epoch.
        best_epoch: The epoch with the best validation score; -1 before the first.
        best: The state dict of that epoch, where it is kept.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    best_epoch: int = -1
    best: StateDict | None = None

    def finish_epoch(
        self,
        row: Row,
        config: TrainConfig,
        copy: Callable[[], StateDict],
        *,
        greater_is_better: bool,
    ) -> None:
        """Move on to the next epoch, noting the best so far.

        Args:
            row: The epoch's row of the history, with its `val_score`.
            config: Says whether the best epoch is kept.
            copy: Copies the network as it would be kept now.
            greater_is_better: What the score's metric says.
        """
        if self._is_best(row["val_score"], greater_is_better=greater_is_better):
            self.best_epoch = self.epoch
            self.best = copy() if config.keep == "best" else None
        self.history.append(row)
        self.losses = []
        self.batch = 0
        self.epoch += 1

    def has_stalled(self, patience: int | None) -> bool:
        """Tell whether so many epochs have passed since the best; never for None."""
        return patience is not None and self.epoch - 1 - self.best_epoch >= patience

    def _is_best(self, score: float, *, greater_is_better: bool) -> bool:
        if self.best_epoch < 0:
            return True
        best = self.history[self.best_epoch]["val_score"]
        return score > best if greater_is_better else score < best
