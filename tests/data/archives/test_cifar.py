import builtins
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from pipeline.data.archives.cifar import TEST_BATCH, TRAIN_BATCHES, unpack_batches
from pipeline.errors import ArchiveError
from tests.data.archives.test_unpack import files_below

CLASSES = ("cat", "dog")
Order = Literal["C", "F"]
META = {b"label_names": [b"cat", b"dog"]}


def pictures(seed: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def batch(seed: int, **changes: Any) -> dict[bytes, Any]:
    values = {b"data": pictures(seed), b"labels": [seed % 2, 1], b"batch_label": b"x"}
    return values | {key.encode(): value for key, value in changes.items()}


def batches() -> dict[str, Any]:
    """Everything that the archive holds, before it is pickled."""
    names = (*TRAIN_BATCHES, TEST_BATCH)
    return {name: batch(seed) for seed, name in enumerate(names)} | {"batches.meta": META}


def archive_of(path: Path, values: dict[str, Any], protocol: int = 4) -> Path:
    """Pack pickles; bytes are taken for pickles already."""
    with tarfile.open(path / "cifar.tar.gz", "w:gz") as file:
        for name, value in values.items():
            content = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path / "cifar.tar.gz"


def unpacked(archive: Path) -> Path:
    folder = archive.parent / "images"
    count = unpack_batches(archive, folder / "cifar", CLASSES, archive.parent / "truth.csv")
    assert count == len(files_below(folder)) == 12
    return folder / "cifar"


def refused(tmp_path: Path, message: str, values: dict[str, Any]) -> None:
    """Hold one faulty archive to its one line and to leaving nothing but its folder."""
    archive = archive_of(tmp_path, values)
    with pytest.raises(ArchiveError, match=message) as raised:
        unpack_batches(archive, tmp_path / "images/cifar", CLASSES, tmp_path / "truth.csv")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{archive}: ")
    assert files_below(tmp_path) == ["cifar.tar.gz"]
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["cifar"]


def test_rows_become_pictures_numbered_through_all_batches(tmp_path: Path) -> None:
    folder = unpacked(archive_of(tmp_path, batches()))
    targets = [seed % 2 if index == 0 else 1 for seed in range(5) for index in range(2)]
    for number, target in enumerate(targets):
        path = folder / "train" / CLASSES[target] / f"{number}.png"
        row = pictures(number // 2)[number % 2]
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (32, 32, 3)
        for channel in range(3):
            plane = row[1024 * channel : 1024 * (channel + 1)]
            assert pixels[..., channel].ravel().tolist() == plane.tolist()
        assert path.stat().st_mode & 0o777 == 0o444
    assert files_below(folder / "test") == ["0.png", "1.png"]
    truth = (tmp_path / "truth.csv").read_text("utf-8")
    assert truth == "image_id,label\n0.png,dog\n1.png,dog\n"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_gives_the_same_pictures(tmp_path: Path, protocol: int) -> None:
    folder = unpacked(archive_of(tmp_path, batches(), protocol))
    pixels = np.asarray(Image.open(folder / "test/1.png"))
    assert np.array_equal(pixels.transpose(2, 0, 1).ravel(), pictures(5)[1])


def python_2(value: Any, order: Order = "C") -> bytes:
    """Pickle as Python 2 and NumPy 1 did, and as CIFAR-10's own batches are."""
    match value:
        case bytes():
            pickled = b"T" + struct.pack("<i", len(value)) + value
        case int():
            pickled = b"J" + struct.pack("<i", value)
        case list():
            pickled = b"](" + b"".join(map(python_2, value)) + b"e"
        case dict():
            items = [python_2(key) + python_2(item, order) for key, item in value.items()]
            pickled = b"}(" + b"".join(items) + b"u"
        case _:
            pickled = numpy_1(value, order)
    return pickled


def numpy_1(value: np.ndarray, order: Order) -> bytes:
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    shape = python_2(value.shape[0]) + python_2(value.shape[1]) + b"\x86"
    last = python_2(-1)
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNN" + last + last + b"K\x00tb"
    is_fortran = b"\x88" if order == "F" else b"\x89"
    return empty + b"(K\x01" + shape + dtype + is_fortran + python_2(value.tobytes(order)) + b"tb"


@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_python_2_are_read(tmp_path: Path, order: Order) -> None:
    values = {
        name: b"\x80\x02" + python_2(value, order) + b"." for name, value in batches().items()
    }
    assert b"numpy.core.multiarray" in values[TEST_BATCH]
    folder = unpacked(archive_of(tmp_path, values))
    pixels = np.asarray(Image.open(folder / "test/0.png"))
    assert np.array_equal(pixels.transpose(2, 0, 1).ravel(), pictures(5)[0])


class Attack:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("name", ["data_batch_3", TEST_BATCH, "batches.meta"])
@pytest.mark.parametrize("asked_for", [r"(posix|nt)\.system", r"builtins\.exec"])
def test_pickle_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, name: str, asked_for: str
) -> None:
    marker = tmp_path.parent / f"{tmp_path.name}.marker"
    attacks = {
        "system": Attack(os.system, f"echo > {marker}"),
        "exec": Attack(builtins.exec, f"open({str(marker)!r}, 'w').close()"),
    }
    attack = attacks[asked_for.rpartition(".")[2]]
    pickle.loads(pickle.dumps(attack))
    assert marker.exists()  # it does work where nobody is careful
    marker.unlink()
    values = batches()
    values[name] = values[name] | {b"extra": attack}
    refused(tmp_path, f"'{name}' must hold only arrays, .* asks for '{asked_for}'", values)
    assert not marker.exists()


def test_codec_other_than_that_of_bytes_is_not_looked_up(tmp_path: Path) -> None:
    content = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R."
    refused(tmp_path, "bytes must be written in latin1", batches() | {TEST_BATCH: content})


FAULTS = [
    (r"must hold one file 'batches\.meta', holds 0", {"batches.meta": None}),
    (
        r"must hold 'data_batch_5' beside 'batches\.meta', holds batches\.meta, data_batch_1",
        {"data_batch_5": None},
    ),
    (r"must hold 'test_batch' beside", {"test_batch": None}),
    (
        r"'batches\.meta' must name .* classes \['cat', 'dog'\], names \['dog', 'cat'\]",
        {"batches.meta": {b"label_names": [b"dog", b"cat"]}},
    ),
    (r"must name the competition's classes .*, names None", {"batches.meta": {}}),
    ("'test_batch' must hold a dict, holds a list", {"test_batch": [1]}),
    (r"must hold the array b'data' and .*, has b'labels'", {"test_batch": {b"labels": [1]}}),
    ("the list b'labels', has ", {"test_batch": batch(1, labels=(0, 1))}),
    (
        r"of shape \(N, 3072\) uint8, .*\(2, 3071\)",
        {"test_batch": batch(1, data=pictures(0)[:, 1:])},
    ),
    (r"uint8, they are of shape \(3072,\)", {"test_batch": batch(1, data=pictures(0)[0])}),
    ("and type 'f4'", {"test_batch": batch(1, data=pictures(0).astype(np.float32))}),
    ("and type 'O8'", {"test_batch": batch(1, data=pictures(0).astype(object))}),
    ("must hold a label per image, holds 1 for 2", {"test_batch": batch(1, labels=[0])}),
    ("labels from 0 to 1, 1 are others, the first is 2", {"test_batch": batch(1, labels=[0, 2])}),
    ("1 are others, the first is -1", {"test_batch": batch(1, labels=[-1, 0])}),
    ("2 are others, the first is '1'", {"test_batch": batch(1, labels=["1", 0.0])}),
    ("'data_batch_1' must be a whole pickle, is damaged", {"data_batch_1": b"no pickle"}),
    ("must be a whole pickle, .*EOFError", {"data_batch_1": b"\x80\x04"}),
    ("must be a whole pickle, is damaged", {"data_batch_1": pickle.dumps(batch(0))[:-900]}),
]


@pytest.mark.parametrize(("message", "changes"), FAULTS)
def test_batches_that_are_not_what_they_must_be_are_refused(
    tmp_path: Path, message: str, changes: dict[str, Any]
) -> None:
    values = batches() | changes
    refused(tmp_path, message, {name: value for name, value in values.items() if value is not None})


def test_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    whole = python_2(batch(5))
    claimed = whole.replace(python_2(2) + python_2(3072), python_2(2**30) + python_2(3072))
    assert claimed != whole
    values = batches() | {TEST_BATCH: b"\x80\x02" + claimed + b"."}
    refused(tmp_path, r"they are of shape \(1073741824, 3072\) and type 'u1'", values)
