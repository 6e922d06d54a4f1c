"""Choose what becomes of drawn images: odd formats, copies, wrong labels, damage; batches."""

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

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


# CIFAR-10's pickled batches.

SIDE_PX = 32
NUM_VALUES = 3 * SIDE_PX**2
NUM_TRAIN_BATCHES = 5
FOLDER = "cifar-10-batches-py"
# Bytes are pickled as such from protocol 3 on; CIFAR's own are strings of Python 2.
PROTOCOL = 4


def batch_members(
    classes: tuple[str, ...],
    files: dict[Key, bytes],
    train_targets: list[int],
    test_targets: list[int],
) -> dict[str, bytes]:
    """Return the archive's files by name.

    Args:
        classes: The class names.
        files: Pictures of 32 x 32 px by split and index, in a lossless format.
        train_targets: Class index of each training image.
        test_targets: Class index of each test image.
    """
    meta = {
        b"num_cases_per_batch": -(-len(train_targets) // NUM_TRAIN_BATCHES),
        b"label_names": [name.encode() for name in classes],
        b"num_vis": NUM_VALUES,
    }
    contents: dict[str, dict[bytes, object]] = {"batches.meta": meta}
    parts = np.array_split(np.arange(len(train_targets)), NUM_TRAIN_BATCHES)
    for number, part in enumerate(parts, start=1):
        keys = {(TRAIN, index): train_targets[index] for index in part.tolist()}
        title = f"training batch {number} of {NUM_TRAIN_BATCHES}"
        contents[f"data_batch_{number}"] = _batch(title, classes, files, keys)
    keys = {(TEST, index): target for index, target in enumerate(test_targets)}
    contents["test_batch"] = _batch("testing batch 1 of 1", classes, files, keys)
    return {f"{FOLDER}/{name}": pickle.dumps(value, PROTOCOL) for name, value in contents.items()}


def _batch(
    title: str, classes: tuple[str, ...], files: dict[Key, bytes], targets: dict[Key, int]
) -> dict[bytes, object]:
    data = [_row(files[key]) for key in targets]
    names = [f"{classes[target]}_s_{index:06}.png" for (_, index), target in targets.items()]
    return {
        b"batch_label": title.encode(),
        b"labels": list(targets.values()),
        b"data": np.array(data, np.uint8).reshape(len(data), NUM_VALUES),
        b"filenames": [name.encode() for name in names],
    }


def _row(content: bytes) -> np.ndarray:
    """Lay a picture out as CIFAR does: all reds, all greens, all blues, `(3072,)`."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return pixels.transpose(2, 0, 1).ravel()
