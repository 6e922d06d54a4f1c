"""What the checks of `benchmarks.gpu` have in common: their lines, and the sizes they work at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from benchmarks.input_pipeline import SIZES, draw, tabulate
from pipeline.config.experiment import Experiment
from pipeline.training.device import pick_device

Size = TypeVar("Size")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: What was looked at.
        found: What it was.
        goal: What it should be; empty where it is told, not judged.
        is_right: Whether it is; None where it isn't judged.
    """

    what: str
    found: str
    goal: str = ""
    is_right: bool | None = None

    @property
    def verdict(self) -> str:
        """Return "ok", "NO" or nothing."""
        return {None: "", True: "ok", False: "NO"}[self.is_right]


@dataclass(frozen=True)
class Setting:
    """Where a part works and how large.

    Attributes:
        folder: Its own, empty.
        is_dry: Whether sizes tell nothing, and no rate is judged.
    """

    folder: Path
    is_dry: bool

    def of(self, usual: Size, dry: Size) -> Size:
        """Return the one of two values that belongs to this run."""
        return dry if self.is_dry else usual

    @property
    def network(self) -> str:
        """Name the network that is timed."""
        return self.of("resnet50", "timm/test_resnet")

    @property
    def size_px(self) -> int:
        """Return the side of its images."""
        return self.of(224, 32)

    def judge(self, what: str, found: str, goal: str, *, is_right: bool) -> Row:
        """Judge a rate; a dry run tells it only."""
        return Row(what, found, goal, None if self.is_dry else is_right)

    def experiment(self, **tables: Any) -> Experiment:
        """Return an experiment of that network."""
        values = {
            "name": "check",
            "method": "finetune",
            "model": {"name": self.network, "weights": "none"},
            "images": {"size_px": self.size_px},
        }
        return Experiment.model_validate(values | tables)

    def images(self, count: int, dry: int) -> pd.DataFrame:
        """Draw images of the size of photos, and list them."""
        folder, number = self.folder / "drawn", self.of(count, dry)
        if not folder.exists():
            folder.mkdir()
            draw(folder, number, self.of(SIZES, [(64, 48)]))
        return tabulate(folder, number)


Part = Callable[[Setting], Iterator[Row]]


def on_gpu() -> bool:
    """Tell whether a GPU computes."""
    return pick_device().type == "cuda"


def wait_for_gpu() -> None:
    """Wait until it has done all that it was told."""
    if on_gpu():
        torch.cuda.synchronize()
