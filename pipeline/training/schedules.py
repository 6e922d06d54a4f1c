"""Schedule the learning rate: the factor on its peak, step by step."""

import math

from pipeline.config.train_table import ScheduleConfig

# Where one-cycle starts and ends, as in fastai and torch: 1/25 of the peak, and 1/10000 of that.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


class Schedule:
    """The factor on the learning rate of every step of one training.

    With w warm-up steps, all but one-cycle rise as `(t + 1) / w` until step w; on that comes the
    schedule's own factor. The cosine starts at the warm-up's end; steps count from the training's
    start.

    Args:
        config: Which schedule.
        num_steps: Optimizer updates of the whole training.
        steps_per_epoch: Of an epoch.
    """

    def __init__(self, config: ScheduleConfig, num_steps: int, steps_per_epoch: int) -> None:
        self._config = config
        self._num_steps = num_steps
        self._steps_per_epoch = steps_per_epoch
        self._num_warmup = round(config.warmup_epochs * steps_per_epoch)

    def factor(self, step: int) -> float:
        """Return the factor at a step, counted from 0; in (0, 1]."""
        if self._config.name == "one_cycle":
            return self._one_cycle(step)
        warmup = (step + 1) / self._num_warmup if step < self._num_warmup else 1.0
        return warmup * self._decay(step)

    def _decay(self, step: int) -> float:
        config = self._config
        if config.name == "cosine":
            progress = max(step - self._num_warmup, 0) / max(self._num_steps - self._num_warmup, 1)
            return _cosine(1, config.final_factor, progress)
        if config.name == "step":
            return float(config.gamma ** int(step / (config.step_epochs * self._steps_per_epoch)))
        return 1.0

    def _one_cycle(self, step: int) -> float:
        """Smith and Topin 2018, "Super-Convergence", with fastai's cosines for straight lines."""
        last = self._num_steps - 1
        peak = self._config.peak_at * self._num_steps - 1
        if step < peak:
            return _cosine(ONE_CYCLE_START, 1, step / peak)
        return _cosine(1, ONE_CYCLE_END, (step - peak) / (last - peak))


def _cosine(start: float, end: float, progress: float) -> float:
    """Go from start to end along half a cosine (Loshchilov and Hutter 2017, SGDR, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
