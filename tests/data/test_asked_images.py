"""The test images are those that a CSV lists or the sample asks for, there or not."""

from typing import Any

import pytest

from pipeline.config.submission_table import SubmissionFormat
from pipeline.data.asked_images import select_by_sample, select_named
from pipeline.data.split_folders import ImageFile
from pipeline.errors import DataError


def images(*names: str) -> list[ImageFile]:
    return [ImageFile(name, f"all/{name}") for name in names]


def by_judge(names: list[str], ids: list[str], **form: Any) -> list[ImageFile]:
    submission = SubmissionFormat.model_validate({"id": "stem"} | form)
    return select_by_sample(images(*names), submission, ids, "sample.csv")


def test_listed_images_are_picked_in_the_order_of_the_list():
    found = select_named(images("a.jpg", "b.jpg", "x/c.jpg"), ["c.jpg", "a.jpg"])
    assert [image.path for image in found] == ["all/x/c.jpg", "all/a.jpg"]


def test_listed_image_that_is_not_there_has_no_path():
    assert select_named(images("a.jpg"), ["b.jpg"]) == [ImageFile("b.jpg", "")]


@pytest.mark.parametrize("names", [["a.jpg", "a.jpg"], ["a.jpg", "test/a.jpg"], ["z", "z"]])
def test_image_that_is_listed_twice_is_refused(names):
    with pytest.raises(DataError, match=r"each must stand once, 1 stand several times"):
        select_named(images("a.jpg"), names)


def test_sample_picks_images_by_the_ids_of_the_judge_in_its_order():
    found = by_judge(["a.jpg", "b.png", "train_1.jpg"], ["b", "a"])
    assert [image.image_id for image in found] == ["b.png", "a.jpg"]
    found = by_judge(["007.jpg", "10.jpg", "cat.jpg"], ["10", "7"], id="integer")
    assert [image.image_id for image in found] == ["10.jpg", "007.jpg"]
    found = by_judge(["x/1.jpg"], ["test/x/1.jpg"], id="path", id_prefix="test/")
    assert [image.image_id for image in found] == ["x/1.jpg"]


@pytest.mark.parametrize(
    ("form", "judge_id", "image_id"),
    [
        ({"id": "stem"}, "v1.5", "v1.5.png"),
        ({"id": "integer"}, "12", "12.png"),
        ({"id": "file_name"}, "b.jpg", "b.jpg"),
        ({"id": "path", "id_prefix": "t/"}, "t/x/b.jpg", "x/b.jpg"),
    ],
)
def test_image_that_is_asked_for_and_not_there_gets_a_name_of_that_id(form, judge_id, image_id):
    assert by_judge(["0.png"], [judge_id], **form) == [ImageFile(image_id, "")]


@pytest.mark.parametrize(
    ("form", "judge_id"),
    [
        ({"id": "integer"}, "007"),
        ({"id": "integer"}, "cat"),
        ({"id": "stem", "id_prefix": "t/"}, "a"),
    ],
)
def test_id_that_no_image_could_have_is_refused(form, judge_id):
    with pytest.raises(
        DataError, match=f"sample.csv: ids must be formed .*, '{judge_id}' can't be"
    ):
        by_judge(["0.jpg"], [judge_id], **form)


def test_id_of_two_images_is_refused():
    with pytest.raises(DataError, match=r"'a' is of 'a\.jpg' and 'x/a\.png'"):
        by_judge(["a.jpg", "x/a.png"], ["a"])
