"""A sample submission is read however it was saved, and held to what the competition says."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.competition import Competition
from pipeline.config.strict import parse
from pipeline.data.sample import load_sample
from pipeline.errors import DataError


def a_competition(*, optional: bool = False, **submission: Any) -> Competition:
    values = {
        "name": "pets",
        "title": "Pets",
        "classes": ["cat", "dog"],
        "archives": [{"name": "pets.zip"}, {"name": "sample.csv", "optional": optional}],
        "train": {"folders": ["train"], "labels": {"source": "folder"}},
        "test": {"folders": ["test"]},
        "submission": {"id": "stem", "sample": "sample.csv", "has_header": True} | submission,
        "experiments": {"cpu": ["a"], "cuda": ["a"]},
    }
    return parse(Competition, values, "pets.toml")


def write(folder: Path, content: str | bytes) -> list[Path]:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "sample.csv").write_bytes(data)
    return [folder]


@pytest.mark.parametrize(
    "content",
    [
        "id,label\nb,0\na,0\n",
        "id,label\r\nb,0\r\na,0",
        b"\xef\xbb\xbfid,label\nb,0\na,0\n",
        'id,label\n"b","0"\n\n"a","0"\n',
    ],
    ids=["LF", "CRLF", "BOM", "quotes and blank lines"],
)
def test_header_and_ids_are_read_in_their_order(tmp_path, content):
    sample = load_sample(a_competition(), write(tmp_path, content))
    assert sample is not None
    assert (sample.columns, sample.ids, sample.num_columns) == (("id", "label"), ["b", "a"], 2)


def test_sample_without_a_header_is_all_ids(tmp_path):
    sample = load_sample(a_competition(has_header=False), write(tmp_path, "b,0\na,0\n"))
    assert sample is not None
    assert (sample.columns, sample.ids) == ((), ["b", "a"])


def test_competition_without_a_sample_has_none(tmp_path):
    assert load_sample(a_competition(sample=None), [tmp_path]) is None


def test_only_an_optional_sample_may_be_absent(tmp_path):
    assert load_sample(a_competition(optional=True), [tmp_path]) is None
    with pytest.raises(
        DataError, match=r"pets: the file 'sample\.csv' must be in .*, is missing; run "
    ):
        load_sample(a_competition(), [tmp_path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,label\na,0\na,1\n", r"sample\.csv: line 3 must hold an id of its own, holds 'a'"),
        ("id,label\n,0\n", r"sample\.csv: line 2 must hold an id of its own, holds ''"),
        ("id,label\na\n", r"sample\.csv: line 2 must have 2 columns, has 1"),
        ("id,label\n", r"sample\.csv: must hold a line per test image, holds none"),
        ("", r"sample\.csv: must hold a line per test image, holds none"),
    ],
)
def test_sample_that_names_no_images_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        load_sample(a_competition(), write(tmp_path, content))


def test_header_that_contradicts_the_file_is_refused(tmp_path):
    message = r"sample\.csv: the header must begin with Id,Class, as pets\.toml says, is id,label"
    with pytest.raises(DataError, match=message):
        load_sample(a_competition(columns=["Id", "Class"]), write(tmp_path, "id,label\na,0\n"))
