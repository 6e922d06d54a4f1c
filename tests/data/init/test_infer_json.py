"""What `init` makes of JSON: COCO's lists of labels and of test images, and what is neither."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.init.file_roles import GivenPaths
from pipeline.stages import init

TRAIN = [f"train/{number}.jpg" for number in range(1, 11)]
TEST = [f"test/{number}.jpg" for number in range(1, 6)]
KINDS = {7: "oak", 12: "elm"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    for name in [*TRAIN, *TEST]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def annotated(kinds: Mapping[int, list[int]]) -> dict[str, Any]:
    """Write labels as COCO's, of categories by the number of a training image."""
    return {
        "info": {"year": 2026},
        "images": [
            {"id": f"i{one}", "file_name": f"{one}.jpg", "location": one // 2, "tags": []}
            for one in kinds
        ],
        "annotations": [
            {"id": 10 * one + kind, "image_id": f"i{one}", "category_id": kind, "bbox": [0, 0, 1]}
            for one, own in kinds.items()
            for kind in own
        ],
        "categories": [{"id": one, "name": name} for one, name in KINDS.items()],
    }


LABELS = annotated({one: [(7, 12)[one % 2]] for one in range(1, 11)})


def written(folder: Path, files: Mapping[str, Any], sample: str = "") -> Competition:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, "utf-8")
    if sample:
        (folder / "sample_submission.csv").write_text(sample, "utf-8")
    out = folder.parent / "mine.toml"
    init.run("mine", GivenPaths(), folder, out, force=True)
    return load_competition(str(out))


@pytest.mark.parametrize(
    ("sample", "label", "classes"),
    [
        ("id,label\n1,12\n2,7\n3,7\n4,7\n5,12\n", "id", ("7", "12")),
        ("id,label\n1,oak\n2,oak\n3,oak\n4,oak\n5,oak\n", "name", ("elm", "oak")),
        ("id,oak,elm\n1,.5,.5\n2,.5,.5\n3,.5,.5\n4,.5,.5\n5,.5,.5\n", "name", ("elm", "oak")),
    ],
)
def test_labels_as_cocos_are_ids_or_names_as_the_sample_answers(folder, sample, label, classes):
    found = written(folder, {"a.json": LABELS}, sample)
    labels = found.train.labels.model_dump()
    assert (labels["source"], labels["file"], labels["label"]) == ("coco", "a.json", label)
    assert found.classes == classes


def test_without_a_sample_ids_are_taken_and_names_are_asked_for(folder, capsys):
    assert written(folder, {"a.json": LABELS}).classes == ("7", "12")
    told = capsys.readouterr().err
    assert 'in their names, label = "name": no sample tells' in told
    assert 'column = "category_id"' not in told


def test_images_of_several_categories_are_doubted(folder, capsys):
    content = annotated({one: [7, 12] if one < 4 else [(7, 12)[one % 2]] for one in range(1, 11)})
    assert written(folder, {"a.json": content}).train.labels.source == "coco"
    told = capsys.readouterr().err
    assert "<- guess: a.json names 10 training images" in told
    assert "elsewhere: 3 images have several categories, and so none" in told


LISTED = "id,size\n" + "".join(f"{one},{('big', 'small')[one % 2]}\n" for one in range(1, 11))
SIZES = "id,{}\n1,big\n2,small\n3,big\n4,small\n5,big\n"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (annotated({one: [7, 7] for one in range(1, 11)}), "size"),  # boxes of one category
        (LABELS, "size"),  # a column called as the sample's
        (LABELS, "category_id"),  # names that the sample answers
    ],
)
def test_a_list_of_what_the_sample_answers_is_preferred_to_json_of_boxes(folder, content, answer):
    files = {"train_boxes.json": content, "listed.csv": LISTED}
    assert written(folder, files, SIZES.format(answer)).classes == ("big", "small")


def test_files_that_number_the_categories_otherwise_are_doubted_where_numbers_are_answered(
    folder, capsys
):
    first = annotated({one: [(7, 12)[one % 2]] for one in range(1, 6)})
    second = annotated({one: [(7, 12)[one % 2]] for one in range(6, 11)})
    second["categories"] = [{"id": 7, "name": "elm"}, {"id": 12, "name": "oak"}]
    files = {"train.json": first, "train_more.json": second}
    sample = "id,label\n1,{}\n2,{}\n3,{}\n4,{}\n5,{}\n"
    told = "labels may also stand in their names: '7' is"
    written(folder, files, sample.replace("{}", "7"))
    assert told in capsys.readouterr().err
    written(folder, files, sample.replace("{}", "oak"))
    assert told not in capsys.readouterr().err


def test_json_of_several_categories_an_image_holds_no_classes_and_is_told(folder, capsys):
    content = annotated({one: [7, 12] if one < 9 else [7] for one in range(1, 11)})
    files = {"boxes.json": content, "listed.csv": LISTED}
    assert written(folder, files, SIZES.format("answer")).classes == ("big", "small")
    (folder / "listed.csv").unlink()
    assert written(folder, {}).classes == ()
    told = "labels may also stand in boxes.json, of several categories an image"
    assert capsys.readouterr().err.count(told) == 2


def test_json_of_one_category_says_nothing_against_folders_of_classes(tmp_path, capsys):
    folder = tmp_path / "folder"
    for name in (f"train/{kind}/{kind}{one}.jpg" for kind in KINDS.values() for one in range(5)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    images = [{"id": one, "file_name": f"oak{one}.jpg"} for one in range(5)]
    boxes = [{"id": one, "image_id": one, "category_id": 1} for one in range(5)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "tree"}]}
    found = written(folder, {"instances.json": content})
    assert (found.train.labels.source, found.classes) == ("folder", ("elm", "oak"))
    assert "labels may also stand" not in capsys.readouterr().err


def test_places_beside_the_images_are_groups(folder):
    content = annotated({one: [(7, 12)[one % 2]] for one in range(1, 11)})
    test = {"images": [{"id": one, "file_name": f"{one}.jpg", "location": 90} for one in (1, 2)]}
    found = written(folder, {"train.json": content, "test.json": test})
    assert found.train.groups is not None
    assert (found.train.groups.column, found.train.groups.file) == ("location", None)


@pytest.mark.parametrize("is_bare", [True, False])
def test_ids_in_a_list_of_test_images_are_the_judges(folder, is_bare):
    images = [{"image_id": 900 + one, "file_name": f"{one}.jpg", "license": 1} for one in range(6)]
    sample = "Id,Predicted\n901,7\n902,7\n903,7\n904,7\n905,7\n"
    test = images if is_bare else {"images": images}
    found = written(folder, {"train_labels.json": LABELS, "test_information.json": test}, sample)
    assert found.test.csv is not None
    assert found.test.csv.model_dump(exclude_defaults=True) == {
        "file": "test_information.json",
        "id_column": "image_id",
        "image_column": "file_name",
    }
    assert found.submission.id == "listed"


NO_LABELS: dict[str, Any] = {
    "captions": {
        "images": LABELS["images"],
        "annotations": [{"image_id": f"i{one}", "caption": "a tree"} for one in range(1, 11)],
    },
    "objects of an image each": [
        {"file_name": f"{one}.jpg", "label": KINDS[(7, 12)[one % 2]]} for one in range(1, 11)
    ],
    "settings": {"name": "trees", "version": 3},
    "broken": "{",
    "a number": "7",
    "a list of lists": [[1, 2], [3]],
}


@pytest.mark.parametrize("form", NO_LABELS)
def test_json_of_another_form_tells_no_labels_and_is_told(folder, form, capsys):
    assert written(folder, {"train.json": NO_LABELS[form]}).classes == ()
    told = capsys.readouterr().err
    assert "train.json: lists in another form, not looked into; if they hold labels, write" in told


def test_json_beside_each_image_keeps_no_list_from_being_read(folder):
    shapes = {f"train/{one}.json": {"shapes": [{"label": "elm"}]} for one in range(1, 31)}
    rows = "".join(f"{one}.jpg,{KINDS[(7, 12)[one % 2]]}\n" for one in range(1, 11))
    found = written(folder, {**shapes, "train/labels.csv": f"file,kind\n{rows}"})
    assert (found.train.labels.source, found.classes) == ("csv", ("elm", "oak"))


def test_very_many_classes_are_read_from_the_labels_and_learned_by_discriminants(tmp_path):
    folder = tmp_path / "folder"
    kinds = range(10_001)
    (folder / "train").mkdir(parents=True)
    for one in (1, 2):
        (folder / f"train/{one}.jpg").touch()
    content = {
        "images": [{"id": one, "file_name": f"{one}.jpg"} for one in kinds],
        "annotations": [{"image_id": one, "category_id": one} for one in kinds],
    }
    found = written(folder, {"train.json": content})
    text = (tmp_path / "mine.toml").read_text("utf-8")
    assert '\nclasses = "from_labels"\n' in text
    assert found.experiments.cpu == ("lite0-lda",)


def pack(folder: Path, name: str, content: Any) -> None:
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as packed:
        packed.writestr(f"data/{name}", json.dumps(content))


def pictures(split: str, side: int, **more: Any) -> list[dict[str, Any]]:
    """List images of two channels as numbers, each with what else is said."""
    picture = [0.5] * (side * side)
    return [{"id": f"{split}{one}", "one": picture, "two": picture, **more} for one in range(4)]


def test_images_in_json_are_taken_as_download_will_make_files_of_them(tmp_path):
    train = [{**one, "ship": n % 2} for n, one in enumerate(pictures("a", 9, angle="na"))]
    pack(tmp_path, "train.json", train)
    pack(tmp_path, "test.json", pictures("b", 9, angle=30.5))
    init.run("mine", GivenPaths(), tmp_path, tmp_path / "mine.toml", force=True)
    found = load_competition(str(tmp_path / "mine.toml"))
    assert [one.name for one in found.archives] == ["test.json.zip", "train.json.zip"]
    for archive in found.archives:
        assert archive.records is not None
        assert (archive.records.id, archive.records.arrays) == ("id", ("one", "two"))
    labels = found.train.labels.model_dump()
    assert (labels["file"], labels["id_column"], labels["label_column"]) == (
        "train.csv", "id", "ship",
    )  # fmt: skip
    assert (found.train.folders, found.test.folders) == (("train.json",), ("test.json",))


NO_IMAGES = {
    "boxes": [{"id": one, "box": [0.5] * 4} for one in range(4)],
    "no squares": [{"id": one, "values": [0.5] * 80} for one in range(4)],
    "words": [{"id": one, "tags": ["x"] * 81} for one in range(4)],
    "one name for all": [{"id": 1, "picture": [0.5] * 81} for _ in range(4)],
    "names with folders": [{"id": f"a/{one}", "picture": [0.5] * 81} for one in range(4)],
}


@pytest.mark.parametrize("form", NO_IMAGES)
def test_lists_of_numbers_that_are_no_squares_of_a_named_image_are_no_images(folder, form, capsys):
    pack(folder, "more.json", NO_IMAGES[form])
    assert all(archive.records is None for archive in written(folder, {}).archives)
    assert "lists in another form" in capsys.readouterr().err
