"""Spoiled files of arrays, tensors and pickles: what they hold, or one line of ours."""

import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import save

from pipeline.data.archives.cifar import read_class_names, unpack_batches
from pipeline.data.drawing.layout import bson_of
from pipeline.errors import ArtifactError
from pipeline.images.cache import _opened, write_block
from pipeline.images.documents import unpack_documents
from pipeline.models.tensors import read_tensors
from pipeline.store.predictions import Predictions, load_predictions
from pipeline.training.checkpoint import load_checkpoint, load_state, save_state
from pipeline.training.feature_cache import read_block
from tests.data.archives.test_cifar import CLASSES, archive_of, batches, python_2
from tests.faults.mutants import Outcome, assert_held, hold, in_own_process, mutants

PER_KIND = 250
NUM_IMAGES = 3
Read = Callable[[Path], object]


def valid_files(folder: Path) -> dict[str, tuple[list[bytes], Read]]:
    """Write a valid file of every kind; by its name, its bytes and what reads it."""
    probs = np.full((NUM_IMAGES, 2), 0.5, np.float32)
    names = [f"{number}.jpg" for number in range(NUM_IMAGES)]
    Predictions(names, probs, ["cat", "dog"], "0" * 64).save(folder / "oof.npz")
    np.save(folder / "features.npy", np.ones((NUM_IMAGES, 5), np.float16))
    write_block(folder / "a.copies", [np.ones((4, 5, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)])
    tensors: dict[str, npt.NDArray[Any]] = {
        "weight": np.ones((3, 2), np.float32),
        "bias": np.zeros(3, np.float16),
    }
    (folder / "a.safetensors").write_bytes(save(tensors))
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(state, folder / "a.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_state(folder / "training.pt", "key", {"epoch": 1, "model": state})
    batch = batches()["test_batch"]
    pickles = [pickle.dumps(batch), b"\x80\x02" + python_2(batch) + b"."]
    meta = [pickle.dumps(batches()["batches.meta"])]

    shop = [{"_id": number, "imgs": [{"picture": b"a photo"}] * 2} for number in range(NUM_IMAGES)]
    documents = [b"".join(map(bson_of, shop))]

    def of(*files: str) -> list[bytes]:
        return [(folder / name).read_bytes() for name in files]

    return {
        "oof.npz": (of("oof.npz"), partial(load_predictions, next_command="train")),
        "features.npy": (of("features.npy"), partial(read_block, num_images=NUM_IMAGES)),
        "a.copies": (of("a.copies"), read_copies_block),
        "a.safetensors": (of("a.safetensors"), load_checkpoint),
        "weights.safetensors": (of("a.safetensors"), partial(read_tensors, remedy="")),
        "a.pth": (of("a.pth", "old.pth"), partial(read_tensors, remedy="")),
        "training.pt": (of("training.pt"), read_training_state),
        "test_batch": (pickles, read_batch),
        "batches.meta": (meta, partial(read_class_names, Path("a.tar"))),
        "train.bson": (documents, read_pictures),
    }


def read_pictures(path: Path) -> None:
    unpack_documents(path, path.parent / "images", "_id", "imgs")


def read_copies_block(path: Path) -> None:
    block = _opened(path)  # None: it is made again
    if block is None:
        raise ArtifactError("no whole block")
    for row in range(2):
        assert block[row].shape[2] == 3


def read_training_state(path: Path) -> None:
    if load_state(path, "key") is None:  # told and made again
        raise ArtifactError("no state")


def read_batch(path: Path) -> None:
    archive = archive_of(path.parent, batches() | {"test_batch": path.read_bytes()})
    unpack_batches(archive, path.parent / "images", CLASSES, path.parent / "truth.csv")


def read(name: str, reader: Read, content: bytes) -> None:
    with TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        reader(path)


def fuzz() -> dict[str, Outcome]:
    with TemporaryDirectory(prefix="fuzz-") as folder:
        kinds = valid_files(Path(folder))
    return {
        name: hold(partial(read, name, reader), mutants(seeds, PER_KIND, seed=number))
        for number, (name, (seeds, reader)) in enumerate(kinds.items())
    }


def test_spoiled_arrays_and_tensors_are_read_or_refused_in_bounded_memory_and_time() -> None:
    assert_held(in_own_process(fuzz), least=2_500)


def test_the_seeds_are_whole(tmp_path: Path) -> None:
    for name, (seeds, reader) in valid_files(tmp_path).items():
        for content in seeds:
            read(name, reader, content)


def npy(header: str, data: bytes = b"") -> bytes:
    """Write an array's file whose header says what it likes."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def npz(path: Path, arrays: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)
    return path


def header(kind: str, shape: str) -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


CLAIMS = {
    "numbers beyond memory": npy(header("<f4", "(4000000000000000, 2)"), b"\0" * 8),
    "numbers beyond numbers": npy(header("<f4", "(9" + "0" * 40 + ",)")),
    "texts without bytes": npy(header("<U0", "(1000000000000,)")),
    "brackets without end": npy("(" * 100),
    "no syntax": npy("{'descr': '<f4', 'shape': "),
    "code": npy(header("<f4", "__import__('os').mkdir('canary')")),
    "objects": npy(header("|O", "(1,)"), pickle.dumps([1])),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_arrays_that_claim_the_impossible_are_refused(
    tmp_path: Path, claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = CLAIMS[claim]
    path = npz(tmp_path / "oof.npz", dict.fromkeys(ARRAYS, content))
    with pytest.raises(ArtifactError, match=r"oof\.npz: damaged \(.+\); run 'train'$"):
        load_predictions(path, "train")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.npy: damaged \(.+\); delete it"):
        read_block(tmp_path / "a.npy", NUM_IMAGES)
    assert _opened(tmp_path / "a.npy") is None
    assert not (tmp_path / "canary").exists()


ARRAYS = ("image_id", "probs", "class_names", "folds_sha256")


def test_packed_arrays_larger_than_their_file_are_not_unpacked(tmp_path: Path) -> None:
    zeros = npy(header("<f4", "(2500000, 4)"), bytes(40_000_000))
    path = npz(tmp_path / "oof.npz", dict.fromkeys(ARRAYS, zeros), zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match=r"damaged \(160,000,\d+ bytes in a file of \d+,\d+\)"):
        load_predictions(path, "train")
