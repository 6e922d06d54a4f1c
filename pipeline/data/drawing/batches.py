"""Pack drawn images as CIFAR-10's pickled batches."""

import io
import pickle

import numpy as np
from PIL import Image

from pipeline.data.drawing.oddities import TEST, TRAIN, Key

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
