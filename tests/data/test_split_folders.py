"""Images are found by the names of their folders, at whatever depth an archive put them."""

from pathlib import PurePosixPath

import pytest

from pipeline.config.images_table import ImageFolders
from pipeline.data.split_folders import find_images


def found(paths: list[str], *folders: str) -> dict[str, str]:
    other = ImageFolders(folders=("other",))
    images = find_images(
        [PurePosixPath(path) for path in paths], ImageFolders(folders=folders), other
    )
    assert [image.image_id for image in images] == sorted(image.image_id for image in images)
    return {image.image_id: image.path for image in images}


def test_nested_folders_leave_the_id_short():
    path = "train/train/train/cat_0.jpg"
    assert found([path, "test/test/0.jpg"], "train") == {"cat_0.jpg": path}


def test_folders_that_name_classes_stay_in_the_id():
    paths = ["train/train/cats/0.jpg", "train/train/dogs/0.jpg"]
    assert list(found(paths, "train")) == ["cats/0.jpg", "dogs/0.jpg"]


def test_ids_stay_unique_when_a_split_has_two_folders():
    paths = ["all/cat_dog/train/cat_0.jpg", "all/cat_dog/val/cat_0.jpg", "all/cat_dog/test/0.jpg"]
    expected = {"train/cat_0.jpg": paths[0], "val/cat_0.jpg": paths[1]}
    assert found(paths, "train", "val") == expected


def test_missing_second_folder_changes_nothing():
    assert list(found(["train/cat_0.jpg", "train/dog_0.jpg"], "train", "val")) == [
        "cat_0.jpg",
        "dog_0.jpg",
    ]


def test_stem_of_the_archive_counts_as_a_folder():
    assert list(found(["dogs_cats_test/0.jpg"], "test", "dogs_cats_test")) == ["0.jpg"]


def test_one_image_is_known_by_its_name():
    assert list(found(["train/train/cat_0.jpg"], "train")) == ["cat_0.jpg"]


@pytest.mark.parametrize(
    "suffix", ["JPG", "jpeg", "Jpg", "PNG", "gif", "BMP", "webp", "TIF", "tiff"]
)
def test_suffix_counts_in_any_case(suffix):
    assert list(found([f"train/a.{suffix}"], "train")) == [f"a.{suffix}"]


@pytest.mark.parametrize("name", ["Thumbs.db", "list.txt", "jpg", "a.jpg.txt", ".DS_Store", "a.py"])
def test_what_is_not_named_as_an_image_is_not_listed(name):
    assert list(found([f"train/{name}", "train/b.jpg"], "train")) == ["b.jpg"]


def test_folder_name_counts_whole_and_as_written():
    assert found(["trainer/a.jpg", "my-train/b.jpg", "train.jpg", "Train/c.jpg"], "train") == {}


def test_file_that_is_named_as_a_folder_is_not_below_it():
    assert found(["other/train.jpg"], "train.jpg") == {}


def test_no_files_give_no_images():
    assert found([], "train") == {}


def test_names_with_spaces_and_chinese_stay_as_they_are():
    assert list(found(["train/猫 1.jpg", "train/b.jpg"], "train")) == ["b.jpg", "猫 1.jpg"]


def test_innermost_folder_decides_where_splits_are_nested():
    paths = [PurePosixPath("train/train/cat_0.jpg"), PurePosixPath("train/test/0.jpg")]
    train, test = ImageFolders(folders=("train",)), ImageFolders(folders=("test",))
    assert [image.path for image in find_images(paths, train, test)] == ["train/train/cat_0.jpg"]
    assert [image.path for image in find_images(paths, test, train)] == ["train/test/0.jpg"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*_mask.png", ["a/1.png", "b/2.png"]),
        ("b", ["1.png", "1_mask.png"]),
        ("a/1*", ["b/2.png"]),
        ("train", []),
    ],
)
def test_files_and_folders_that_a_pattern_names_are_left_out(pattern, left):
    files = [PurePosixPath(f"train/{one}") for one in ("a/1.png", "a/1_mask.png", "b/2.png")]
    ours = ImageFolders(folders=("train",), leave_out=(pattern,))
    images = find_images(files, ours, ImageFolders(folders=("other",)))
    assert [image.path.removeprefix("train/") for image in images] == [
        one if "/" in one else f"a/{one}" for one in left
    ]
