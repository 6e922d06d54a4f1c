"""Labels and lists of test images in JSON, as COCO writes them and others write them alike."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from pipeline.config.images_table import ImageList
from pipeline.config.labels_table import CocoLabels
from pipeline.data.asked_images import select_listed
from pipeline.data.label_lists import listed_labels, read_listing
from pipeline.data.split_folders import ImageFile
from pipeline.errors import DataError

IMAGES = [{"id": 1, "file_name": "a/1.jpg"}, {"id": "x", "file_name": "2.jpg", "license": 3}]
NOTES = [{"id": 0, "image_id": "x", "category_id": 7}, {"image_id": 1, "category_id": 12}]
KINDS = [{"id": 7, "name": "oak"}, {"id": 12, "name": "elm"}]
WHOLE = {"images": IMAGES, "annotations": NOTES, "categories": KINDS}
# As herbarium-2022 calls the same.
CALLED = {
    "images": [{"image_id": "a", "file_name": "a.jpg"}],
    "annotations": [{"image_id": "a", "category_id": 5, "genus_id": 1}],
    "categories": [{"category_id": 5, "scientificName": "Abies alba"}],
}


def saved(folder: Path, content: Any) -> Path:
    path = folder / "list.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def labels(path: Path, **keys: Any) -> dict[str, str]:
    source = CocoLabels(source="coco", file="list.json", **keys)
    return {line.image: line.label for line in listed_labels(path, source, ())}


def test_annotations_join_files_and_categories(tmp_path):
    path = saved(tmp_path, WHOLE)
    assert labels(path) == {"2.jpg": "7", "a/1.jpg": "12"}
    assert labels(path, label="name") == {"2.jpg": "oak", "a/1.jpg": "elm"}


def test_ids_that_are_called_as_others_refer_to_them_are_understood(tmp_path):
    path = saved(tmp_path, CALLED)
    assert labels(path) == {"a.jpg": "5"}
    assert labels(path, label="name") == {"a.jpg": "Abies alba"}


WRONG: dict[str, Any] = {
    "must be a JSON file": "{",
    "must be a JSON file, ": "[" * 100_000,
    "must hold 'images'": [],
    "must hold 'annotations', a list of objects": {"images": IMAGES, "annotations": [1]},
    r"annotations\[0\] must name an image": {"images": [], "annotations": NOTES},
    r"annotations\[1\] must name an image and a category": {
        "images": IMAGES,
        "annotations": [NOTES[0], {"image_id": 1}],
    },
    "images must have ids of their own, '1' is 'a/1.jpg' and 'b.jpg'": WHOLE
    | {"images": [*IMAGES, {"id": "1", "file_name": "b.jpg"}]},
    "must have an id": {"images": [{"file_name": "a.jpg"}], "annotations": []},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_place(message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        labels(saved(tmp_path, WRONG[message]))
    assert "\n" not in str(caught.value)


def test_a_category_of_two_names_is_refused_and_an_image_that_stands_twice_is_one(tmp_path):
    again = WHOLE | {"images": [*IMAGES, {"id": "1", "file_name": "a/1.jpg"}]}
    assert labels(saved(tmp_path, again)) == {"2.jpg": "7", "a/1.jpg": "12"}
    two = WHOLE | {"categories": [*KINDS, {"id": "7", "name": "ash"}]}
    assert labels(saved(tmp_path, two)) == {"2.jpg": "7", "a/1.jpg": "12"}
    with pytest.raises(DataError, match="categories must have ids of their own, '7' is 'oak' and"):
        labels(saved(tmp_path, two), label="name")


@pytest.mark.parametrize("content", [{"images": IMAGES}, IMAGES])
def test_images_of_a_json_file_are_rows(content, tmp_path):
    table = read_listing(saved(tmp_path, content), ",")
    assert table.columns(["file_name", "id"]) == [(1, ["a/1.jpg", "1"]), (2, ["2.jpg", "x"])]
    with pytest.raises(DataError, match="must have the columns"):
        table.columns(["name"])


def test_test_images_are_known_by_the_ids_of_a_json_list(tmp_path):
    listing = ImageList(file="list.json", id_column="id", image_column="file_name")
    candidates = [ImageFile("1.jpg", "test/1.jpg"), ImageFile("2.jpg", "test/2.jpg")]
    path = saved(tmp_path, {"images": IMAGES})
    found = select_listed(candidates, path, PurePosixPath(), listing)
    assert [(one.image_id, one.path) for one in found] == [
        ("1", "test/1.jpg"),
        ("x", "test/2.jpg"),
    ]
