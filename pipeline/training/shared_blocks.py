"""Share the blocks of a feature cache: a command computes those that no other one is at."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from pipeline.console import Advance, say
from pipeline.images.views import View
from pipeline.store.locks import POLL_SECONDS
from pipeline.training.feature_cache import FeatureCache
from pipeline.training.loader import Batch


@dataclass(frozen=True)
class Block:
    """Up to BLOCK_SIZE consecutive images of a table and the views that aren't cached yet."""

    first: int
    images: pd.DataFrame
    missing: tuple[View, ...]

    def batches(self, size: int) -> list[Batch]:
        """Cut the images into batches that never cross a block.

        Batches depend on the block alone, so its numbers do too: which blocks were cached before
        can't change a rounding.
        """
        rows = list(range(self.first, self.first + len(self.images)))
        return [Batch(rows[at : at + size], self.missing) for at in range(0, len(rows), size)]


class SharedBlocks:
    """The blocks that are still to be computed, by this command or by another one.

    Args:
        cache: Where they go.
        views: Their views.
        blocks: All of this process's blocks, with the number of each one's first image.

    Attributes:
        views: As given.
        waiting: The incomplete ones that this command hasn't taken, by the number of the first.
    """

    def __init__(
        self, cache: FeatureCache, views: Sequence[View], blocks: list[tuple[int, pd.DataFrame]]
    ) -> None:
        self._cache = cache
        self.views = views
        self.waiting = {first: block for first, block in blocks if cache.missing(block, views)}
        self._taken: dict[int, Callable[[], None]] = {}
        self._is_told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for give_back in self._taken.values():
            give_back()

    def num_images(self) -> int:
        """Count the images of those that wait."""
        return sum(map(len, self.waiting.values()))

    def take(self, advance: Advance) -> Iterator[Block]:
        """Yield those that no other command is at, each when it is asked for; see `give_back`."""
        for first, images in list(self.waiting.items()):
            give_back = self._cache.claim(images, self.views[0])
            if give_back is None:
                continue
            del self.waiting[first]
            if missing := self._cache.missing(images, self.views):
                self._taken[first] = give_back
                yield Block(first, images, missing)
            else:  # another command has done it
                give_back()
                advance(len(images))

    def give_back(self, block: Block) -> None:
        """Let others see that a block is done."""
        self._taken.pop(block.first)()

    def pause(self, what: str) -> None:
        """Wait a little for the others, where all that is left is theirs; say so once."""
        if self.waiting and not self._is_told:
            say(f"{what}: waiting for another command's last {self.num_images():,} images")
            self._is_told = True
        if self.waiting:
            time.sleep(POLL_SECONDS)
