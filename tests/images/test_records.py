"""Images that stand as lists of numbers in JSON become files, whatever the file looks like."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.images import arrays
from pipeline.images.arrays import unpack_records

FLAT = [[float(one) for one in range(4)], [0.5, -1.5, 2.5, 40.25]]
TWO = [
    {"id": "a", "band_1": FLAT[0], "band_2": FLAT[1], "angle": "na", "is_it": 1},
    {"id": "b", "band_1": FLAT[1], "band_2": FLAT[0], "angle": 41.5, "is_it": 0},
]


def unpacked(tmp_path: Path, content: str) -> int:
    (tmp_path / "train.json").write_text(content, encoding="utf-8")
    return unpack_records(tmp_path / "train.json", "id", ["band_1", "band_2"])


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_objects_become_arrays_and_a_table(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(arrays, "CHUNK", chunk)
    assert unpacked(tmp_path, " " + json.dumps(TWO, indent=indent) + "\n") == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a.npy",
        "b.npy",
        "train",
        "train.csv",
    ]
    image = np.load(tmp_path / "train" / "a.npy")
    np.testing.assert_array_equal(image, np.array(FLAT, np.float32).reshape(2, 2, 2))
    lines = (tmp_path / "train.csv").read_text("utf-8").splitlines()
    assert lines == ["id,angle,is_it", "a,na,1", "b,41.5,0"]


BROKEN = {
    "no list": '{"a": 1}',
    "no object": "[1]",
    "cut off": json.dumps(TWO)[:-9],
    "nothing": "",
    "no square": json.dumps([TWO[0] | {"band_2": [1, 2, 3]}]),
    "words": json.dumps([TWO[0] | {"band_2": ["a", "b", "c", "d"]}]),
    "a channel is missing": json.dumps([{"id": "a", "band_1": FLAT[0]}]),
    "a name twice": json.dumps([TWO[0], TWO[0]]),
    "a folder for a name": json.dumps([TWO[0] | {"id": "../a"}]),
    "no name": json.dumps([TWO[0] | {"id": ""}]),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_list_of_images_is_refused(tmp_path, kind):
    with pytest.raises(DataError, match=r"train\.json: (must|image \d must)"):
        unpacked(tmp_path, BROKEN[kind])
