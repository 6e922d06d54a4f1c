"""Lists, tables, records and settings of unknown make: read, or refused in one line of ours."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.config.competition import Competition, load_competition
from pipeline.config.experiment_files import load_search
from pipeline.config.labels_table import CsvLabels, ListFileLabels, OneHotLabels
from pipeline.config.strict import parse
from pipeline.data.corrections import load_corrections, recorded_corrections
from pipeline.data.init.user_files import UserList
from pipeline.data.init.user_lists import find_ids, read_list
from pipeline.data.joining import NameJoin
from pipeline.data.label_lists import listed_labels
from pipeline.data.labels import read_labels
from pipeline.data.resolution import resolve
from pipeline.data.sample import load_sample
from pipeline.images.arrays import find_json_images
from pipeline.store.freshness import Stamp
from pipeline.store.paths import Paths
from pipeline.store.results import all_members, list_results
from pipeline.store.tables import load_folds, load_train
from pipeline.submission.submission_log import load_log
from pipeline.submission.truth import load_truth
from pipeline.submission.validation import find_faults
from tests.faults.mutants import READ, REFUSED, attempt

PER_READER = 150
MOST_WORDS = 10
IMAGES = ["a.jpg", "b.jpg", "c.jpg"]
SHA256 = "0" * 64


def competition(labels: dict[str, str], **submission: Any) -> Competition:
    values: dict[str, Any] = {
        "name": "pets",
        "title": "Pets",
        "url": "https://pets.example",
        "classes": ["cat", "dog"],
        "archives": [{"name": "all.zip"}],
        "train": {"folders": ["train"], "labels": labels},
        "test": {"folders": ["test"]},
        "submission": {"id": "file_name", **submission},
        "experiments": {"cpu": ["a"], "cuda": ["a"]},
    }
    return parse(Competition, values, "pets.toml")


BY_FOLDER = competition({"source": "folder"})
BY_LIST = competition({"source": "list_file", "file": "list.txt"})
OPEN = BY_FOLDER.model_copy(update={"classes": ()})
WITH_SAMPLE = competition({"source": "folder"}, sample="sample.csv", has_header=True)


def read_any_list(path: Path) -> None:
    table = read_list(path.name, UserList(path, None, PurePosixPath(path.name)))
    if table is not None:
        find_ids(table, NameJoin(IMAGES))


def read_corrections(path: Path) -> None:
    columns = {"image_id": IMAGES, "label": ["cat", "dog", "cat"]}
    load_corrections(path, BY_FOLDER, pd.DataFrame(columns))


def judge(path: Path) -> None:
    for fault in find_faults(BY_FOLDER, path.read_bytes(), IMAGES):
        assert str(fault).isprintable()


def placed(place: str, read: Callable[[Paths], object], path: Path) -> None:
    """Put the file where a competition has it, and read that."""
    paths = Paths(path.parent / "root", "pets")
    target = paths.root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    read(paths)


def read_stamp_of(paths: Paths) -> None:
    for stamp in (Stamp(paths.folds_stamp, {}), Stamp(paths.experiment("e").stamp, {})):
        stamp.is_fresh()
        stamp.damaged()
    recorded_corrections(paths)
    all_members(paths, "e")


def read_results(paths: Paths) -> None:
    for file in ("stamp.json", "metrics.json"):
        target = paths.artifacts_dir / "e" / file
        target.write_text("{}", encoding="utf-8")
    for result in list_results(paths):
        assert isinstance(result.is_ensemble, bool)


CORRECTIONS = b"""image_id,label,suggested,prob_label,prob_suggested,action
a.jpg,cat,dog,0.1,0.9,relabel
b.jpg,dog,cat,0.1,0.9,drop
"""
TRAIN = f"""image_id,path,label,group,width,height,format,sha256
a.jpg,train/a.jpg,cat,train/a.jpg,4,5,JPEG,{SHA256}
""".encode()
LOG = f"""time,experiment,metric,oof_score,sha256,commit,file,sent,public_score,private_score
2026-01-01T00:00:00Z,e,accuracy,0.9,{SHA256},abc+,e.csv,,,0.5
""".encode()
STAMP = f"""{{"inputs": {{"corrections": {{"file": "a.csv", "sha256": "{SHA256}", "drop": ["a.jpg"],
"relabel": {{"b.jpg": "cat"}}}}, "members": {{"m": ["{SHA256}", "{SHA256}"]}}}},
"outputs": {{"train.csv": "{SHA256}"}}}}
""".encode()
COCO = b"""{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
"annotations": [{"image_id": 1, "category_id": 3}, {"image_id": 2, "category_id": 4}],
"categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]}"""
PICTURES = b'[{"id": "a", "band": [%s], "cat": 1}]' % b",".join([b"0.5"] * 64)
RESOLVED = b'{"classes": ["cat", "dog"], "columns": ["id", "label"], "has_sample": false}'
EXPERIMENT = b"""method = "finetune"
[model]
name = "timm/test_resnet"
weights = "none"
[views]
recipe = "custom"
transforms = [{ name = "Resize", height = 224, width = 224 }]
[train]
epochs = 3
batch_size = 8
[tune]
"head.l2" = { low = 1e-4, high = 1.0, log = true }
[variants.a.head]
l2 = 0.1
"""

READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "list.txt": (
        b"train/a.jpg\t0\ntrain/b.jpg\t1\n",
        lambda path: read_labels(BY_LIST, IMAGES, [path.parent]),
    ),
    "labels.csv": (
        b"id,breed\na,cat\nb,dog\n",
        lambda path: listed_labels(
            path,
            CsvLabels(source="csv", file="x", id_column="id", label_column="breed"),
            ("cat", "dog"),
        ),
    ),
    "spaced.txt": (
        b"1 a.jpg cat\n2 b.jpg dog\n",
        lambda path: listed_labels(
            path,
            ListFileLabels(
                source="list_file",
                file="x",
                separator=" ",
                columns=("other", "image", "label"),
                values="name",
            ),
            (),
        ),
    ),
    "one_hot.csv": (
        b"id,cat,dog\na,1,0\nb,0,1.0\n",
        lambda path: listed_labels(
            path, OneHotLabels(source="one_hot", file="x", id_column="id"), ()
        ),
    ),
    "any.csv": (b"id;label\na.jpg;cat\nb.jpg;dog\nc.jpg;dog\n", read_any_list),
    "coco.json": (COCO, read_any_list),
    "pictures.json": (PICTURES, find_json_images),
    "sample.csv": (
        b"id,label\na.jpg,0\nb.jpg,0\n",
        lambda path: load_sample(WITH_SAMPLE, [path.parent]),
    ),
    "submission.csv": (b"a.jpg,0\nb.jpg,1\nc.jpg,1\n", judge),
    "truth.csv": (
        b"image_id,label\na.jpg,cat\nb.jpg,dog\n",
        lambda path: load_truth(path, BY_FOLDER, IMAGES),
    ),
    "corrections.csv": (CORRECTIONS, read_corrections),
    "train.csv": (TRAIN, partial(placed, "data/pets/train.csv", load_train)),
    "folds.csv": (
        b"image_id,label,group,fold\na.jpg,cat,a,0\n",
        partial(placed, "folds/pets.csv", load_folds),
    ),
    "log.csv": (LOG, load_log),
    "folds.json": (STAMP, partial(placed, "folds/.pets.json", read_stamp_of)),
    "stamp.json": (STAMP, partial(placed, "artifacts/pets/e/stamp.json", read_stamp_of)),
    "config.json": (
        b'{"name": "e", "members": {"m": 0.5}}',
        partial(placed, "artifacts/pets/e/config.json", read_results),
    ),
    "resolved.json": (
        RESOLVED,
        partial(placed, "data/pets/resolved.json", lambda paths: resolve(OPEN, paths)),
    ),
    "competition.toml": (
        Path(pipeline.__file__)
        .with_name("competitions")
        .joinpath("plant-pathology-2020.toml")
        .read_bytes(),
        lambda path: load_competition(str(path)),
    ),
    "experiment.toml": (EXPERIMENT, lambda path: load_search(str(path), [])),
}

# What parsers stumble over: marks, ends, encodings, numbers beyond numbers, nests, names.
ODD = [
    *(mark.encode() for mark in ('"', "'", "\\", ",", ";", "\t", "\n", "\r", "\0", "=", "#", "[")),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", "猫".encode(), "猫".encode("gbk"), b"\xed\xa0\x80"),
    *(b"9" * 5000, b"-1", b"nan", b"inf", b"1e999", b"NaN", b"true", b"null", b"NA", b"007"),
    *(b"[" * 3000, b"{" * 3000, b"(" * 3000, b"a." * 1500, b"../../x", b"/etc/passwd"),
    *(b"\x1a", "\u2028".encode(), "\u0661".encode(), "²".encode(), b"__import__('os')"),
    *(b"{}", b"[]", b'""', b"0", b"\n\n", b"__class__", b"x" * 200_000),
]


@st.composite
def spoiled(draw: st.DrawFn, valid: bytes) -> bytes:
    """Draw arbitrary bytes, or the valid ones with up to four places replaced."""
    if draw(st.integers(0, 7)) == 0:
        return draw(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 0, 1, 2, 8, 40]))
        new = draw(st.sampled_from(ODD) | st.binary(max_size=3))
        content = content[:start] + new + content[start + length :]
    return content


def read(name: str, content: bytes) -> bool:
    """Read bytes as what their name says, in the limits; whether they were read."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        result = attempt(partial(READERS[name][1], path))
    assert result in (READ, REFUSED), content[:300]
    return result == READ


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(name: str) -> None:
    assert read(name, READERS[name][0])


@pytest.mark.parametrize("name", READERS)
def test_odd_words_are_read_or_refused_in_one_line(name: str) -> None:
    valid = READERS[name][0]
    words = [match.span() for match in re.finditer(rb"[\w./:+-]+", valid)]
    words = words[:: -(-len(words) // MOST_WORDS)]
    for start, end in words:
        for odd in ODD:
            read(name, valid[:start] + odd + valid[end:])


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=PER_READER)
@given(data=st.data())
def test_spoiled_files_are_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    read(name, data.draw(spoiled(READERS[name][0])))
