"""Subjects, the organiser's folds and mirrors are asked about; taken only if they are so called."""

import pytest

from pipeline.config.competition import load_competition
from pipeline.config.images_table import Groups, KeyColumn
from tests.user_folder import infer, save_files, save_list

NUM = 48


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(NUM)])
    save_files(folder, [f"test/{n + 100}.jpg" for n in range(6)])
    return folder


def save_labels(folder, header, value_of, name="train.csv"):
    rows = [f"{n}.jpg,{('benign', 'malign')[n % 2]},{value_of(n)}" for n in range(NUM)]
    save_list(folder, name, f"image,diagnosis,{header}", *rows)


@pytest.mark.parametrize("header", ["patient_id", "Subject", "DriverID", "camera", "site_no"])
def test_column_that_is_called_after_a_subject_is_taken_as_a_guess(folder, header):
    save_labels(folder, header, lambda n: f"P{n // 6}")
    found = infer(folder)
    assert found.competition.train.groups == Groups(column=header)
    assert found.is_guess("groups")
    assert 'label_column = "diagnosis"' in found.text


@pytest.mark.parametrize(
    ("header", "value_of"),
    [
        ("lesion_part", lambda n: n % 7),  # may be of anything
        ("patient", lambda n: n % 3),  # fewer than folds
    ],
)
def test_column_that_may_tell_subjects_is_asked_about(folder, header, value_of):
    save_labels(folder, header, value_of)
    found = infer(folder)
    assert found.competition.train.groups is None
    assert f'# groups = {{column = "{header}"}}' in found.text.replace("{ ", "{").replace(" }", "}")
    assert "are those of one value of one subject" in found.text


@pytest.mark.parametrize(
    ("header", "value_of"),
    [
        ("patient", lambda n: n),  # each its own
        ("code", lambda n: n % 2),  # says what the label says
        ("width", lambda n: 100 + n % 6),
        ("contrast", lambda n: f"0.{n % 6}5"),
        ("subject in focus", lambda n: n // 2 % 2),  # a mark
    ],
)
def test_column_that_tells_no_subjects_is_passed_over(folder, header, value_of):
    save_labels(folder, header, value_of)
    assert "groups" not in infer(folder).text


def test_subjects_are_asked_about_before_places(folder):
    save_labels(folder, "site,patient", lambda n: f"s{n % 3},P{n % 4}")
    found = infer(folder)
    assert '# groups = { column = "patient" }' in found.text


def test_subjects_of_which_test_images_are_too_are_asked_about(folder):
    save_labels(folder, "patient", lambda n: f"P{n // 6}")
    save_list(folder, "test.csv", "image,patient", *(f"{n + 100}.jpg,P{n}" for n in range(6)))
    found = infer(folder)
    assert found.competition.train.groups is None
    assert "but test images are of 6 of them, too" in found.text


def test_subjects_may_stand_in_a_list_beside_folders_of_classes(tmp_path):
    folder = tmp_path / "drivers"
    names = [f"c{n % 3}/img_{n}.jpg" for n in range(NUM)]
    save_files(folder, [f"train/{name}" for name in names] + ["test/img_900.jpg"])
    rows = [f"p{n // 8:03};c{n % 3};img_{n}.jpg" for n in range(NUM)]
    save_list(folder, "driver_imgs_list.csv", "driver;classname;img", *rows)
    keys = infer(folder).competition.train.groups
    assert keys is not None
    assert keys.column == "driver"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("{label}/patient{subject}_{n}.png", "patient3"),
        ("{label}/Subject-{subject}/{n}.png", "subject-3"),
        ("{label}_{n}_cam{subject}_x.png", "cam3"),
    ],
)
def test_subjects_in_paths_are_taken_as_a_guess(tmp_path, name, group):
    folder = tmp_path / "paths"
    files = [name.format(label=("cat", "dog")[n % 2], subject=n // 8, n=n) for n in range(NUM)]
    save_files(folder, [f"train/{file}" for file in files] + ["test/900.png"])
    rows = [f"{file},{('cat', 'dog')[n % 2]}" for n, file in enumerate(files)]
    save_list(folder, "train.csv", "file,pet", *rows)
    found = infer(folder)
    keys = found.competition.train.groups
    assert keys is not None
    assert keys.pattern is not None
    assert found.is_guess("groups")
    assert group in found.text.lower() or group.replace("3", "0") in found.text.lower()


def test_numbers_behind_a_class_name_are_no_subjects(tmp_path):
    folder = tmp_path / "names"
    save_files(folder, [f"train/{('cat', 'dog')[n % 2]}.{n}.jpg" for n in range(NUM)])
    save_files(folder, ["test/1.jpg", "test/2.jpg"])
    assert "groups" not in infer(folder).text


def test_folds_of_the_organiser_are_asked_about(folder):
    save_labels(folder, "fold", lambda n: n % 5)
    found = infer(folder)
    assert found.competition.train.folds is None
    assert "# folds = " in found.text
    text = found.text.replace("# folds = ", "folds = ")
    found.path.write_text(text, "utf-8")
    assert load_competition(str(found.path)).train.folds == KeyColumn(column="fold")


# Mirrors.

SIDED = {
    "sides": ["turn_left", "turn_right", "straight"],
    "letters": ["b", "d", "p", "q"],
    "Chinese sides": ["左", "右"],
    "Chinese numerals": ["一", "二", "三"],
    "eyes": ["OD", "OS"],
    "clockwise": ["clockwise", "counterclockwise"],
}


@pytest.mark.parametrize("form", SIDED)
def test_classes_that_a_mirror_exchanges_are_not_mirrored(tmp_path, form):
    folder = tmp_path / "sides"
    save_files(folder, [f"train/{name}/{n}.jpg" for name in SIDED[form] for n in range(4)])
    save_files(folder, [f"test/{n}.jpg" for n in range(3)])
    found = infer(folder)
    assert found.competition.horizontal_flip is False
    assert found.is_guess("horizontal_flip")


def test_competition_that_is_called_after_writing_is_not_mirrored(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{k}/{n}.jpg" for k in range(10) for n in range(4)])
    save_files(folder, [f"test/{n}.jpg" for n in range(3)])
    assert infer(folder, "digit-recognizer").competition.horizontal_flip is False
    asked = infer(folder, "objects")
    assert asked.competition.horizontal_flip is None
    assert "# does a mirrored image still show its class?" in asked.text


@pytest.mark.parametrize(
    "classes", [["left", "leftover"], ["cat", "dog"], ["design", "signal"], ["猫", "狗"]]
)
def test_other_classes_are_asked_about(tmp_path, classes):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{name}/{n}.jpg" for name in classes for n in range(4)])
    save_files(folder, [f"test/{n}.jpg" for n in range(3)])
    assert infer(folder).competition.horizontal_flip is None


@pytest.mark.parametrize("name", ["train.txt", "drivers.txt"])
def test_columns_of_lists_without_a_header_can_be_referred_to(folder, name):
    label = (lambda n: f" {('benign', 'malign')[n % 2]}") if name == "train.txt" else lambda _: ""
    if name != "train.txt":
        save_labels(folder, "width", lambda n: 100 + n)
    save_list(folder, name, *(f"{n}.jpg{label(n)} driver_{n // 6}" for n in range(NUM)))
    found = infer(folder)
    assert found.is_guess("groups")
    groups = found.competition.train.groups
    assert groups is not None
    if name == "train.txt":
        assert groups == Groups(column="column_3")
        named = found.competition.train.labels.model_dump()["columns"]
        assert named == ("image", "label", "column_3")
    else:
        columns = ("image", "column_2")
        assert groups == Groups(column="column_2", file=name, columns=columns, separator=" ")


def test_numbers_in_a_list_without_a_header_are_asked_about(folder):
    rows = [f"{n}.jpg,{('benign', 'malign')[n % 2]},{n // 6}" for n in range(NUM)]
    save_list(folder, "train.txt", *rows)
    found = infer(folder)
    assert found.competition.train.groups is None
    assert '# groups = {column = "column_3"}' in found.text.replace("{ ", "{").replace(" }", "}")
