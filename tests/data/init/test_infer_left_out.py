"""Masks beside images and folders without labels are left out, and told."""

import pytest

from pipeline.store.tables import load_train
from tests.user_folder import bring, infer, save_files, save_list, save_pictures

CLASSES = ("ash", "elm")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{one}/{one}{n}.png" for one in CLASSES for n in range(6)])
    save_pictures(folder, [f"test/{n}.png" for n in range(3)])
    return folder


def save_beside(folder, template):
    """Draw something for each image, called after it."""
    names = {one: [template.format(name=f"{one}{n}") for n in range(6)] for one in CLASSES}
    save_pictures(folder, [f"train/{one}/{name}" for one in CLASSES for name in names[one]])


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{name}_seg.png", "*_seg.*"),
        ("{name} Mask 2.png", "* Mask*[0-9].*"),
        ("{name}.thumb.jpg", "*.thumb.*"),
        ("depth-{name}.png", "depth-*"),
    ],
)
def test_what_is_made_of_images_and_lies_beside_them_is_left_out(folder, template, pattern):
    save_beside(folder, template)
    found = infer(folder)
    assert found.is_guess("leave_out")
    assert found.competition.train.leave_out == (pattern,)
    paths, _ = bring(found, folder)
    train = load_train(paths)
    assert sorted(train["image_id"]) == [f"{one}/{one}{n}.png" for one in CLASSES for n in range(6)]
    assert paths.audit_csv.read_text("utf-8").count("left-out") == 12


def test_images_that_are_called_so_without_others_beside_them_stay(folder):
    save_pictures(folder, [f"train/elm/elm_mask_of_{n}.png" for n in range(9)])
    assert infer(folder).competition.train.leave_out == ()


def test_few_that_may_be_made_of_images_are_asked_about(folder, capsys):
    save_pictures(folder, ["train/ash/ash1_crop.png"])
    found = infer(folder)
    assert found.competition.train.leave_out == ()
    assert "1 files are called as images beside them, as 'ash1_crop.png'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["unlabelled", "no_label", "未标注"])
def test_folder_without_labels_is_no_class(folder, name):
    save_pictures(folder, [f"train/{name}/{n}.png" for n in range(4)])
    found = infer(folder)
    assert found.competition.classes == CLASSES
    assert found.is_guess("leave_out")
    paths, _ = bring(found, folder)
    assert set(load_train(paths)["label"]) == set(CLASSES)


def test_folder_without_labels_beside_the_test_images_is_of_neither_split(folder):
    save_files(folder, [f"unlabeled/{n}.png" for n in range(7)])
    found = infer(folder)
    assert found.competition.test.folders == ("test",)
    assert "7 images in 'mine/unlabeled' are of neither split" in found.text


@pytest.mark.parametrize("name", ["train.csv", "sample_submission.csv"])
def test_files_that_a_list_names_are_images_whatever_they_are_called(folder, name, capsys):
    pairs = [f"{n}{made}.png" for n in range(3) for made in ("", "_mask")]
    save_files(folder, [f"test/{one}" for one in pairs])
    save_list(folder, name, "id,kind", *(f"{one},ash" for one in pairs))
    assert infer(folder).competition.test.leave_out == ()
    assert "called as images beside them" not in capsys.readouterr().err


def test_folder_without_labels_that_the_sample_answers_is_a_class(folder):
    save_files(folder, [f"train/unlabeled/{n}.png" for n in range(4)])
    save_list(folder, "sample.csv", "id,kind", "0.png,elm", "1.png,unlabeled", "2.png,ash")
    found = infer(folder).competition
    assert found.classes == (*CLASSES, "unlabeled")
    assert found.train.leave_out == ()


@pytest.mark.parametrize(("name", "is_told"), [(".net", True), (".ipynb_checkpoints", False)])
def test_images_in_hidden_folders_are_told(folder, name, is_told, capsys):
    save_files(folder, [f"train/{name}/{n}.png" for n in range(4)])
    assert infer(folder).competition.classes == CLASSES
    told = f"4 images lie in hidden folders, as train/{name}/0.png"
    assert (told in capsys.readouterr().err) == is_told
