"""A list may say of which class a folder is, or what the folders' classes are called."""

import pytest

from pipeline.store.tables import load_train
from tests.user_folder import bring, infer, save_files, save_list, save_pictures

TREES = ["oak", "elm", "oak", "fir"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{tree:03}/{n}.png" for tree in range(4) for n in range(3)])
    save_pictures(folder, ["test/20.png", "test/21.png"])
    return folder


@pytest.mark.parametrize("form", ["with a header", "without one", "as paths"])
def test_folders_of_one_class_each_are_called_by_the_list(folder, form):
    template = "train/{:03},{}" if form == "as paths" else "{:03},{}"
    rows = [template.format(*one) for one in enumerate(TREES)]
    save_list(folder, "trees.csv", *(["folder,species"] * (form != "without one")), *rows)
    found = infer(folder)
    assert found.competition.classes == ("elm", "fir", "oak")
    paths, _ = bring(found, folder)
    labels = load_train(paths).set_index("image_id")["label"]
    assert [labels[f"{tree:03}/0.png"] for tree in range(4)] == TREES


def test_names_of_folders_are_taken_where_the_sample_answers_them(folder):
    names = ["ash", "elm", "fir", "oak"]
    save_list(folder, "names.txt", *(f"{n:03} {name}" for n, name in enumerate(names)))
    save_list(folder, "sample_submission.csv", "id,tree", "20,oak", "21,oak")
    found = infer(folder)
    assert found.competition.classes == ("ash", "elm", "fir", "oak")
    assert not found.is_guess("classes")
    paths, _ = bring(found, folder)
    assert load_train(paths)["label"].tolist() == [name for name in names for _ in range(3)]


def test_other_names_of_the_folders_are_doubted_where_nothing_asks_for_them(folder):
    save_list(folder, "names.csv", *(f"{n:03},{name}" for n, name in enumerate("abcd")))
    found = infer(folder)
    assert found.competition.classes == ("000", "001", "002", "003")
    assert found.is_guess("classes")
    assert "names.csv calls them otherwise: a, b, c" in found.text


def test_families_of_folders_that_have_names_are_doubted(tmp_path):
    breeds = {"siam": "cat", "manx": "cat", "pug": "dog", "husky": "dog"}
    save_files(tmp_path / "folder", [f"train/{one}/{n}.png" for one in breeds for n in range(3)])
    rows = [f"{breed},{animal}" for breed, animal in breeds.items()]
    save_list(tmp_path / "folder", "breeds.csv", "breed_name,animal", *rows)
    found = infer(tmp_path / "folder")
    assert found.competition.classes == ("husky", "manx", "pug", "siam")
    assert found.is_guess("classes")


def test_list_that_lacks_a_folder_says_nothing_of_them(folder):
    save_list(folder, "trees.csv", "folder,species", *(f"00{n},{TREES[n]}" for n in range(3)))
    found = infer(folder)
    assert found.competition.classes == ("000", "001", "002", "003")
    assert found.is_guess("labels")
