"""The truth of several labels an image, in the forms that people have it in."""

import pytest

from pipeline.config.competition import Competition
from pipeline.config.labels_table import LabelRowLabels
from pipeline.errors import DataError
from pipeline.submission.truth import load_truth
from tests.editions import shipped

IDS = ["a.jpg", "b.jpg", "c.jpg"]
CLASSES = ("oak", "brown spot", "rust")
# The labels of the images above: two, none, one.
TARGETS = {"a.jpg": (1, 1, 0), "b.jpg": (0, 0, 0), "c.jpg": (0, 0, 1)}


def leaves(**labels: object) -> Competition:
    """Leaves whose training list writes several labels in a way of its own."""
    base = shipped("plant-pathology-2021-fgvc8").model_copy(update={"classes": CLASSES})
    source = base.train.labels.model_copy(update=labels)
    return base.model_copy(update={"train": base.train.model_copy(update={"labels": source})})


def read(tmp_path, competition, text, ids=IDS):
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return dict(load_truth(path, competition, ids).targets)


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        (",", 'image,labels\na.jpg,"oak, brown spot"\nb.jpg,|\nc.jpg,rust\n'),
        (";", "a.jpg,oak;brown spot\nb.jpg,|\nc.jpg,rust\n"),
        (" ", "image;labels\na.jpg;oak,brown spot\nb.jpg;|\nc.jpg;rust\n"),
        (" ", "image,labels\na.jpg,oak brown_spot\nb.jpg,|\nc.jpg,rust\n"),
        (",", "image_id,label\na.jpg,|oak|brown spot|\nb.jpg,|\nc.jpg,|rust|\n"),
    ],
)
def test_labels_are_cut_as_in_training_or_as_people_do(tmp_path, separator, text):
    assert read(tmp_path, leaves(label_separator=separator), text) == TARGETS


def test_names_of_the_training_list_mean_the_same_classes(tmp_path):
    named = leaves(names={"17": "oak", "23": "brown spot"})
    lines = "image,labels\na.jpg,17 23\nb.jpg,|\nc.jpg,rust\n"
    marks = "image,17,23,rust\na.jpg,1,1,0\nb.jpg,0,0,0\nc.jpg,0,0,1\n"
    assert read(tmp_path, named, lines) == read(tmp_path, named, marks) == TARGETS


def test_labels_in_lines_of_their_own_add_up(tmp_path):
    text = "image,labels\na.jpg,brown spot\nc.jpg,rust\na.jpg,oak\nb.jpg,|\n"
    assert read(tmp_path, leaves(label_separator=","), text) == TARGETS
    with pytest.raises(DataError, match="every image must stand once"):
        read(tmp_path, leaves(), "image,oak,brown spot,rust\na.jpg,1,0,0\na.jpg,0,1,0\n")


def test_a_label_that_is_no_class_is_named_with_the_forms(tmp_path):
    with pytest.raises(DataError, match=r"as in training, found 1 otherwise, .*'oak,elm'"):
        read(tmp_path, leaves(label_separator=","), 'image,labels\na.jpg,"oak,elm"\nc.jpg,rust\n')


def test_labels_with_this_and_that_between_them_are_refused(tmp_path):
    with pytest.raises(DataError, match="the same between them in all lines"):
        read(tmp_path, leaves(), 'image,labels\na.jpg,"oak,rust"\nc.jpg,oak;rust\n')


def test_the_training_lists_names_are_known_where_images_have_one_class(tmp_path):
    cats = shipped("cat-dog")
    labels = cats.train.labels.model_copy(update={"names": {"feline": "cat"}})
    cats = cats.model_copy(update={"train": cats.train.model_copy(update={"labels": labels})})
    text = "image,label\n1.jpg,feline\n2.jpg,dog\n3.jpg,cat\n"
    found = read(tmp_path, cats, text, ["1.jpg", "2.jpg", "3.jpg"])
    assert found == {"1": 0, "2": 1, "3": 0}


def test_lines_of_an_image_and_a_class_are_read_as_the_training_list_has_them(tmp_path):
    base = leaves()
    source = LabelRowLabels(
        source="label_rows", file="train.csv", id_column="id", label_column="y",
        row_id="{label}@{id}",
    )  # fmt: skip
    trained = base.model_copy(update={"train": base.train.model_copy(update={"labels": source})})
    lines = [
        f"{name}@{image},{mark}"
        for image, marks in TARGETS.items()
        for name, mark in zip(CLASSES, marks, strict=True)
    ]
    assert read(tmp_path, trained, "\n".join(["id,y", *lines])) == TARGETS
