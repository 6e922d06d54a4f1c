"""Keep of very many classes those that are likeliest for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

NUM_LIKELIEST = 32  # classes of an image that are kept where there are very many
ROWS_AT_ONCE = 2**14


@dataclass(frozen=True)
class Likeliest:
    """The likeliest classes of N images of very many: a table of images times classes is too large.

    The classes that aren't kept share evenly what the others leave to 1.

    Attributes:
        classes: Class indices, the likeliest first, `(N, M)` int32; of each row all different.
        probs: Their probabilities, `(N, M)` float32.
        num_classes: K.
    """

    classes: npt.NDArray[np.int32]
    probs: FloatArray
    num_classes: int

    @classmethod
    def of(cls, probs: FloatArray) -> "Likeliest":
        """Keep the likeliest of a few images' probabilities, `(n, K)`; of equals the first ones."""
        num = min(NUM_LIKELIEST, probs.shape[1])
        kept = np.argpartition(-probs, num - 1, axis=1)[:, :num]
        return cls._sorted(kept, np.take_along_axis(probs, kept, axis=1), probs.shape[1])

    @classmethod
    def _sorted(cls, classes: Any, probs: FloatArray, num_classes: int) -> "Likeliest":
        order = np.lexsort((classes, -probs), axis=1)
        classes = np.take_along_axis(classes, order, axis=1).astype(np.int32)
        return cls(classes, np.take_along_axis(probs, order, axis=1), num_classes)

    @classmethod
    def stacked(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        """Put images below each other."""
        classes, probs = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "probs")
        )
        return cls(classes, probs, parts[0].num_classes)

    @classmethod
    def mean(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        """Average several models' probabilities of the same images."""
        rows = range(0, len(parts[0]), ROWS_AT_ONCE)
        blocks = [[part[start : start + ROWS_AT_ONCE] for part in parts] for start in rows]
        return cls.stacked([cls._mean_of_few(block) for block in blocks] or list(parts))

    @classmethod
    def _mean_of_few(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        others = [part.share_of_others[:, None] for part in parts]
        classes = np.concatenate([part.classes for part in parts], axis=1)
        more = np.concatenate(
            [part.probs - other for part, other in zip(parts, others, strict=True)], axis=1
        )
        order = np.argsort(classes, axis=1, kind="stable")
        classes, more = (np.take_along_axis(one, order, axis=1) for one in (classes, more))
        is_first = np.ones(classes.shape, dtype=np.bool_)
        is_first[:, 1:] = classes[:, 1:] != classes[:, :-1]
        sums = np.add.reduceat(more.ravel(), np.flatnonzero(is_first))
        probs = np.full(classes.shape, -np.inf, dtype=np.float32)  # a class's second place: none
        probs[is_first] = sums
        probs = ((probs + sum(others)) / len(parts)).astype(np.float32)
        num = min(NUM_LIKELIEST, int(is_first.sum(axis=1).min()))
        kept = cls._sorted(classes, probs, parts[0].num_classes)
        return cls(kept.classes[:, :num], kept.probs[:, :num], kept.num_classes)

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return len(self.classes), self.num_classes

    @property
    def share_of_others(self) -> FloatArray:
        """The probability of each class that isn't kept, `(N,)`."""
        left = np.maximum(1 - self.probs.sum(axis=1), 0)
        share: FloatArray = left / max(self.num_classes - self.classes.shape[1], 1)
        return share

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: Any) -> "Likeliest":
        return Likeliest(self.classes[rows], self.probs[rows], self.num_classes)

    def argmax(self, axis: int = 1) -> IntArray:
        """Return the likeliest class of each image, `(N,)`."""
        assert axis == 1
        return self.classes[:, 0].astype(np.int64)

    def of_classes(self, targets: IntArray) -> FloatArray:
        """Return each image's probability of one class, `(N,)`."""
        is_it = self.classes == targets[:, None]
        found: FloatArray = np.where(
            is_it.any(axis=1), (self.probs * is_it).sum(axis=1), self.share_of_others
        )
        return found


# A FloatArray `(N, K)`, or Likeliest where classes are very many. As a union, each reader of the
# usual table would have to ask.
AnyProbs = Any


def mean_of(parts: Sequence[AnyProbs]) -> AnyProbs:
    """Average several models' probabilities of the same images, `(N, K)` each."""
    likeliest = [part for part in parts if isinstance(part, Likeliest)]
    if likeliest:
        return Likeliest.mean(likeliest)
    mean: FloatArray = np.mean(list(parts), axis=0, dtype=np.float32)
    return mean
