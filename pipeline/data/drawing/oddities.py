"""Choose the odd images of a drawn competition: formats, duplicates, wrong labels, damage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.drawing.image_files import ODD_ENCODINGS, near_duplicate, truncated

# Split and index of an image.
TRAIN, TEST = 0, 1
Key = tuple[int, int]
Change = Callable[[bytes], bytes]


@dataclass
class Oddities:
    """The odd images and their oddities, in the order of the rewrites."""

    encodings: dict[Key, str] = field(default_factory=dict)
    rewrites: list[tuple[Key, Key, Change]] = field(default_factory=list)  # (file, made from, how)
    unlisted: int | None = None  # a training image that the label list leaves out
    has_ghost: bool = False  # the label list names an image that isn't there
    has_junk: bool = False  # the archive holds what macOS puts into archives


def same(content: bytes) -> bytes:
    """Return the file as it is: an exact duplicate."""
    return content


class _Free:
    """Training images that nothing has happened to; taken from the fullest class."""

    def __init__(self, targets: Sequence[int], rng: np.random.Generator) -> None:
        self._by_class: dict[int, list[int]] = {}
        for index in rng.permutation(len(targets)).tolist():
            self._by_class.setdefault(targets[index], []).append(index)

    def take(self, count: int) -> list[int]:
        """Take images of one class, or none if no class has as many left."""
        fullest = max(self._by_class.values(), key=len)
        return [fullest.pop() for _ in range(count)] if len(fullest) >= count else []


def plan_oddities(
    train_targets: Sequence[int],
    test_targets: Sequence[int],
    rng: np.random.Generator,
    *,
    has_list: bool,
) -> Oddities:
    """Choose the odd images; none is odd in two ways, and few images give few oddities.

    Args:
        train_targets: Class index of each training image.
        test_targets: Class index of each test image.
        rng: Chooses.
        has_list: Whether labels stand in a list, which can then disagree with the folder. Such
            layouts also get a broken test image.
    """
    odd = Oddities(has_ghost=has_list, has_junk=True)
    free = _Free(train_targets, rng)
    for change in (same, same, near_duplicate, near_duplicate):
        if pair := free.take(2):
            odd.rewrites.append(((TRAIN, pair[1]), (TRAIN, pair[0]), change))
    # The fullest class changes from take to take, so these two are of different classes.
    first, second = free.take(1), free.take(1)
    if first and second and train_targets[first[0]] != train_targets[second[0]]:
        odd.rewrites.append(((TRAIN, second[0]), (TRAIN, first[0]), same))
    for encoding in ODD_ENCODINGS:
        for index in free.take(1):
            odd.encodings[TRAIN, index] = encoding
    for index in free.take(1):
        odd.rewrites.append(((TRAIN, index), (TRAIN, index), truncated))
    if has_list:
        odd.unlisted = next(iter(free.take(1)), None)
    _plan_test(odd, free.take(1), train_targets, test_targets, has_list=has_list)
    return odd


def _plan_test(
    odd: Oddities,
    leaked: list[int],
    train_targets: Sequence[int],
    test_targets: Sequence[int],
    *,
    has_list: bool,
) -> None:
    twin = None
    for index in leaked:
        # A twin takes the place of an image of its own class, so the truth stays true.
        twins = [at for at, target in enumerate(test_targets) if target == train_targets[index]]
        twin = next(iter(twins), None)
        if twin is not None:
            odd.rewrites.append(((TEST, twin), (TRAIN, index), same))
    others = [at for at in range(len(test_targets)) if at != twin]
    if has_list and others:
        broken = (TEST, others[len(others) // 2])
        odd.rewrites.append((broken, broken, truncated))
