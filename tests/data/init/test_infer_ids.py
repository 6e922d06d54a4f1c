"""Which column names the images is told by what it is called, and doubted where two may."""

import numpy as np
import pytest

from pipeline.store.tables import load_test, load_train
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, submission_table
from tests.user_folder import bring, infer, save_files, save_list, save_pictures

KINDS = ("fig", "pear", "plum")
NUM = 12


def moved(n):
    """Number the files otherwise than the rows."""
    return (n * 7 + 3) % NUM


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"{split}/{n}.png" for split in ("train", "test") for n in range(NUM)])
    return folder


def save_tables(folder, row, file, asked):
    """Save lists with two columns of numbers that are all names of files."""
    kinds = [KINDS[n % 3] for n in range(NUM)]
    save_list(folder, "train.csv", f"{row},{file},kind", *numbered("{n},{at},{kind}", kinds))
    save_list(folder, "test.csv", f"{row},{file}", *numbered("{n},{at}", kinds))
    save_list(folder, "sample_submission.csv", f"{asked},kind", *numbered("{n},fig", kinds))


def numbered(line, kinds):
    return [line.format(n=n, at=moved(n), kind=kind) for n, kind in enumerate(kinds)]


@pytest.mark.parametrize("file", ["photo", "file_name", "img_id", "图片编号", "imageId"])
@pytest.mark.parametrize("row", ["nr", ""])
def test_column_that_is_called_after_images_names_them(folder, row, file):
    save_tables(folder, row, file, asked=row)
    found = infer(folder)
    assert not found.is_guess("labels")
    assert not found.is_guess("csv")
    assert found.competition.submission.columns == (row, "kind")
    paths, competition = bring(found, folder)
    train = load_train(paths).set_index("image_id")["label"]
    assert all(train[f"{moved(n)}.png"] == KINDS[n % 3] for n in range(NUM))
    test = load_test(paths).set_index("image_id")["path"]
    assert all(test[str(n)].endswith(f"/{moved(n)}.png") for n in range(NUM))
    ids = list(test.index)
    content = encode(competition, submission_table(competition, ids, np.eye(3)[[0] * NUM]))
    assert content.decode().splitlines()[0] == f"{row},kind"
    assert find_faults(competition, content, ids) == []


def test_sample_that_asks_for_the_images_needs_no_list(folder):
    save_tables(folder, "nr", "photo", asked="photo")
    found = infer(folder).competition
    assert (found.test.csv, found.submission.id) == (None, "integer")


def test_ids_that_may_be_rows_or_files_are_doubted(folder):
    save_tables(folder, "nr", "photo", asked="Id")
    found = infer(folder)
    assert found.is_guess("csv")
    assert found.is_guess("id")
    assert "else files are called as the ids" in found.text


def test_two_columns_that_may_name_the_images_are_doubted(folder):
    save_tables(folder, "key", "uid", asked="key")
    found = infer(folder)
    assert found.is_guess("labels")
    assert "by 'uid', if that names the images" in found.text


def test_column_of_measures_that_are_numbers_of_files_is_no_doubt(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(30)] + ["test/1.jpg"])
    rows = [f"{n},{n * n % 17},{KINDS[n % 3]}" for n in range(30)]
    save_list(folder, "train.csv", "uid,age,kind", *rows)
    found = infer(folder)
    assert found.competition.train.labels.model_dump()["id_column"] == "uid"
    assert "if that names the images" not in found.text


@pytest.mark.parametrize(("first", "is_doubted"), [(0, True), (1, False), (2, False)])
def test_list_that_counts_from_another_number_than_the_files_is_doubted(
    tmp_path, first, is_doubted
):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n + 1}.png" for n in range(9)])
    save_files(folder, [f"test/{n + 1}.png" for n in range(6)])
    save_list(folder, "train.csv", "id,kind", *(f"{n + first},{KINDS[n % 3]}" for n in range(9)))
    save_list(folder, "sample.csv", "id,kind", *(f"{n + first},fig" for n in range(6)))
    found = infer(folder)
    assert found.is_guess("labels") == is_doubted
    assert found.is_guess("id") == is_doubted
    assert (f"counts from {first}, the files don't" in found.text) == is_doubted


LISTED = {"{n:03}.png": "file_name", "{n:03}": "stem", "test/{n:03}.png": "file_name"}


@pytest.mark.parametrize("written", LISTED)
@pytest.mark.parametrize("name", ["test.csv", "train.csv"])
def test_ids_are_guessed_as_a_list_writes_them_where_there_is_no_sample(tmp_path, name, written):
    folder = tmp_path / "folder"
    save_files(folder, [f"{split}/{n:03}.png" for split in ("train", "test") for n in range(9)])
    rows = [f"{written.format(n=n)},{KINDS[n % 3]}" for n in range(9)]
    save_list(folder, name, "photo,kind", *(row.replace("test/", name[:-4] + "/") for row in rows))
    found = infer(folder)
    assert found.is_guess("id")
    assert found.competition.submission.id == LISTED[written]


SPLITS = {"is_test": "01", "phase": ("train", "test"), "Is Train": ("True", "False")}


@pytest.mark.parametrize("header", SPLITS)
def test_column_that_says_which_images_are_to_be_predicted_is_no_label(tmp_path, header):
    folder = tmp_path / "folder"
    save_files(folder, [f"pictures/{n}.jpg" for n in range(NUM)])
    rows = [f"{n}.jpg,{KINDS[n % 3]},{SPLITS[header][n > 7]}" for n in range(NUM)]
    save_list(folder, "all.csv", f"picture,fruit,{header}", *rows)
    found = infer(folder)
    assert set(found.competition.classes) == set(KINDS)
    assert f"column '{header}' calls 4 of them test images" in found.text


def test_column_that_tells_training_from_validation_is_no_doubt(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, [f"train/{n}.jpg" for n in range(NUM)] + ["test/1.jpg"])
    rows = [f"{n}.jpg,{KINDS[n % 3]},{n > 7}" for n in range(NUM)]
    save_list(folder, "labels.csv", "fname,label,is_valid", *rows)
    assert not infer(folder).is_guess("labels")
