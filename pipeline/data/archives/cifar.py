"""Unpack the pickled batches of CIFAR-10 to PNG files, without running what a pickle may hold.

A pickle is a program: it may ask for any function of any module and call it. Here it gets nothing
but stand-ins for the four things of which NumPy's arrays are pickled, whatever it asks for.
"""

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline.console import progress
from pipeline.data.archives.unpack import Limits, unpack
from pipeline.errors import ArchiveError
from pipeline.store.disk_errors import explained_os_errors
from pipeline.store.tables import TRUTH_COLUMNS, write_table

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
META = "batches.meta"
SHAPE = (3, 32, 32)  # channels first, then rows from the top
NUM_VALUES = 3 * 32 * 32
# The batches are read into memory; CIFAR-10's take 0.2 GB together.
LIMITS = Limits(num_entries=1000, total_bytes=5 * 10**8)


def unpack_batches(archive: Path, folder: Path, classes: Sequence[str], truth_csv: Path) -> int:
    """Make `train/<class>/<number>.png` and `test/<number>.png` of CIFAR's batches.

    Training images are numbered from 0 through all five batches, test images in the order of the
    test batch. On failure the folder holds whatever came before: build it aside and drop it.

    Args:
        archive: The tar of the batches.
        folder: Where the images go; made where missing, and must be empty.
        classes: The class names, which must be those of the archive, in its order.
        truth_csv: Gets `image_id` and `label` (the class's name) of each test image.

    Returns:
        The number of images written.

    Raises:
        ArchiveError: The archive is damaged, a batch is missing, isn't what it must be or asks
            for code, or the classes are others.
        DataError: The disk is full or not writable.
    """
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".batches-", dir=folder.parent) as unpacked_dir:
            unpack(archive, Path(unpacked_dir), LIMITS)
            batches_dir = _find_batches(archive, Path(unpacked_dir))
            _check_names(archive, _load(archive, batches_dir / META), classes)
            *train, test = (
                _read_batch(archive, batches_dir / name, len(classes))
                for name in (*TRAIN_BATCHES, TEST_BATCH)
            )
        return _write(archive, folder, classes, (train, test), truth_csv)


def read_class_names(archive: Path, meta: Path) -> tuple[str, ...]:
    """Read the class names from `batches.meta`, unpacked from `archive`.

    Raises:
        ArchiveError: It is damaged, asks for code, or names no classes.
    """
    names = _load(archive, meta).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise ArchiveError(f"{archive}: '{META}' must name the classes, names {names!r}")
    return tuple(name.decode("utf-8", "replace") for name in names)


@dataclass(frozen=True)
class _Batch:
    data: npt.NDArray[np.uint8]  # (N, 3072)
    targets: list[int]  # N


def _find_batches(archive: Path, folder: Path) -> Path:
    found = sorted(folder.rglob(META))
    if len(found) != 1:
        raise ArchiveError(f"{archive}: must hold one file '{META}', holds {len(found)}")
    for name in (*TRAIN_BATCHES, TEST_BATCH):
        if not (found[0].parent / name).is_file():
            names = ", ".join(sorted(file.name for file in found[0].parent.iterdir()))
            raise ArchiveError(f"{archive}: must hold '{name}' beside '{META}', holds {names}")
    return found[0].parent


def _check_names(archive: Path, meta: dict[Any, Any], classes: Sequence[str]) -> None:
    wanted, found = [name.encode() for name in classes], meta.get(b"label_names")
    if found != wanted:
        names = [_shown(name) for name in found] if isinstance(found, list) else found
        raise ArchiveError(
            f"{archive}: '{META}' must name the competition's classes {list(classes)}, "
            f"names {names}"
        )


def _shown(name: object) -> object:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def _read_batch(archive: Path, path: Path, num_classes: int) -> _Batch:
    where = f"{archive}: '{path.name}'"
    batch = _load(archive, path)
    data, targets = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, _Array) or not isinstance(targets, list):
        keys = ", ".join(map(repr, batch)) or "nothing"
        raise ArchiveError(
            f"{where} must hold the array b'data' and the list b'labels', has {keys}"
        )
    pixels = data.pixels(where)
    if len(targets) != len(pixels):
        raise ArchiveError(
            f"{where} must hold a label per image, holds {len(targets):,} for {len(pixels):,}"
        )
    odd = [target for target in targets if type(target) is not int or not 0 <= target < num_classes]
    if odd:
        raise ArchiveError(
            f"{where} must hold labels from 0 to {num_classes - 1}, {len(odd):,} are others, "
            f"the first is {odd[0]!r}"
        )
    return _Batch(pixels, targets)


def _write(
    archive: Path,
    folder: Path,
    classes: Sequence[str],
    splits: tuple[list[_Batch], _Batch],
    truth_csv: Path,
) -> int:
    train, test = splits
    rows = (row for batch in train for row in zip(batch.targets, batch.data, strict=True))
    jobs = itertools.chain(  # no list: 60,000 paths would take tens of megabytes
        (
            (folder / "train" / classes[target] / f"{number}.png", row)
            for number, (target, row) in enumerate(rows)
        ),
        ((folder / "test" / f"{number}.png", row) for number, row in enumerate(test.data)),
    )
    (folder / "test").mkdir()
    for target in sorted({target for batch in train for target in batch.targets}):
        (folder / "train" / classes[target]).mkdir(parents=True)
    total = sum(len(batch.data) for batch in (*train, test))
    with progress(f"pictures of {archive.name}", total) as advance:
        for path, row in jobs:
            Image.fromarray(row.reshape(SHAPE).transpose(1, 2, 0)).save(path)  # (H, W, C)
            path.chmod(0o444)
            advance(1)
    labels = [(f"{number}.png", classes[target]) for number, target in enumerate(test.targets)]
    write_table(pd.DataFrame(labels, columns=TRUTH_COLUMNS), truth_csv)
    return total


class _Array:
    """Stands in for numpy.ndarray: keeps what it would be made of, for `pixels` to check.

    NumPy's own trusts the pickle with strides, field offsets and object pointers.
    """

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def pixels(self, where: str) -> npt.NDArray[np.uint8]:
        """Make the array, `(N, 3072)`, if it is one of bytes in that shape."""
        match self.state:
            case (1, (int(count), int(width)), _Dtype(code="u1" | b"u1"), order, bytes(raw)) if (
                width == NUM_VALUES and len(raw) == count * width
            ):
                array = np.frombuffer(raw, np.uint8)
                return array.reshape((count, width), order="F" if order else "C")
            case (_, shape, _Dtype(code=code), *_):
                found = f"are of shape {shape!r} and type {_shown(code)!r}"
            case _:
                found = "are no array"
        raise ArchiveError(
            f"{where} must hold images of shape (N, {NUM_VALUES}) uint8, they {found}"
        )


class _Dtype:
    """Stands in for numpy.dtype: keeps its code; bytes have no order to remember."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for _codecs.encode, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"bytes must be written in latin1, are in {encoding!r}")
    return text.encode("latin-1")


STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _ForbiddenGlobalError(Exception):
    """A pickle asked for something that no batch needs."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for a global; nothing is ever imported."""
        if (module, name) not in STAND_INS:
            raise _ForbiddenGlobalError(f"{module}.{name}")
        return STAND_INS[module, name]


def _load(archive: Path, path: Path) -> dict[Any, Any]:
    where = f"{archive}: '{path.name}'"
    try:
        with path.open("rb") as file:
            batch = _Unpickler(file, encoding="bytes").load()
    except _ForbiddenGlobalError as error:
        raise ArchiveError(
            f"{where} must hold only arrays, lists and names, asks for {str(error)!r}, "
            "which could run code"
        ) from error
    except Exception as error:  # damaged pickles raise whatever the bytes happen to lead to
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ArchiveError(f"{where} must be a whole pickle, is damaged ({reason})") from error
    if not isinstance(batch, dict):
        raise ArchiveError(f"{where} must hold a dict, holds a {type(batch).__name__}")
    return batch
