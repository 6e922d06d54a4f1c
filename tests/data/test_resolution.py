"""What a competition's file leaves to the data is read once and the same for all stages."""

import json
from pathlib import Path

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.resolution import resolve, resolved, write_resolution
from pipeline.data.sample import Sample
from pipeline.errors import ConfigError, DataError
from pipeline.store.paths import Paths

HEADER = ("id", "pug", "ant", "cat")
CLASSES = ("ant", "cat", "pug")


@pytest.fixture
def dogs() -> Competition:
    return load_competition("dog-breed-identification")


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path / "sample_submission.csv", HEADER, len(HEADER), ["b", "a"])


def test_what_was_written_down_is_filled_in_again(dogs, sample, tmp_path):
    paths = Paths(tmp_path, dogs.name)
    found = resolved(dogs, CLASSES, sample)
    write_resolution(found, paths.resolution_json)
    assert resolve(dogs, paths) == found
    assert (found.classes, found.columns) == (CLASSES, HEADER)
    assert found.column_classes == (2, 0, 1)
    assert found.submission.sample is not None


def test_before_prepare_a_competition_stays_as_declared(dogs, tmp_path):
    assert resolve(dogs, Paths(tmp_path, dogs.name)) == dogs


def test_competition_that_leaves_nothing_open_needs_no_record(tmp_path):
    demo = load_competition("demo")
    paths = Paths(tmp_path, "demo")
    paths.resolution_json.parent.mkdir(parents=True)
    paths.resolution_json.write_text("damaged", encoding="utf-8")
    assert resolve(demo, paths) is demo


def test_optional_sample_that_is_absent_leaves_the_ids_to_the_images():
    redux = load_competition("dogs-vs-cats-redux")
    assert resolved(redux, (), None).submission.sample is None


@pytest.mark.parametrize("content", [None, "{", '{"classes": []}'])
def test_record_that_is_lost_or_damaged_leads_to_prepare(dogs, tmp_path, content):
    paths = Paths(tmp_path, dogs.name)
    paths.train_csv.parent.mkdir(parents=True)
    paths.train_csv.write_text("", encoding="utf-8")
    if content is not None:
        paths.resolution_json.write_text(content, encoding="utf-8")
    with pytest.raises(
        DataError, match=r"resolved\.json: .*; run 'pipeline prepare dog-breed-iden"
    ):
        resolve(dogs, paths)


def test_sample_with_another_class_than_the_labels_is_refused(dogs, sample):
    message = r"dog-breed-identification\.toml: submission\.columns must be one column per class"
    with pytest.raises(ConfigError, match=message):
        resolved(dogs, ("ant", "cat", "owl"), sample)


@pytest.mark.parametrize(("classes", "found"), [((), "none"), (("ant",), "only 'ant'")])
def test_labels_that_name_no_two_classes_are_refused(dogs, sample, classes, found):
    message = f"dog-breed-identification: the training labels must name 2 .* or more, name {found};"
    with pytest.raises(DataError, match=message):
        resolved(dogs, classes, sample)


def test_sample_of_another_width_than_the_file_says_is_refused(tmp_path):
    cactus = load_competition("aerial-cactus-identification")
    wide = Sample(tmp_path / "sample_submission.csv", ("id", "has_cactus", "x"), 3, ["a"])
    with pytest.raises(ConfigError, match=r"columns must be 2, an id's and a label's, are 3"):
        resolved(cactus, (), wide)
    headless = load_competition("demo")
    with pytest.raises(DataError, match=r"must have 2 columns, as demo\.toml says, has 3"):
        resolved(headless, (), Sample(wide.path, (), 3, ["1"]))


def test_record_is_plain_json(dogs, sample, tmp_path):
    write_resolution(resolved(dogs, CLASSES, sample), tmp_path / "resolved.json")
    record = json.loads((tmp_path / "resolved.json").read_text(encoding="utf-8"))
    assert record == {"classes": list(CLASSES), "columns": list(HEADER), "has_sample": True}
