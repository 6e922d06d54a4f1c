"""Folders are told apart by whole words, the outermost pair first; what is no image stays out."""

import zipfile

import pytest

from tests.user_folder import bring, infer, save_files, save_list, save_pictures


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def of_classes(top, classes, count=4):
    return [f"{top}/{name}/{n}.jpg" for name in classes for n in range(count)]


WORDS = {
    "test within a word": (["train", "test"], ["testudo", "contestant", "attest"]),
    "train within a word": (["Training", "Test"], ["trainer", "valley", "evaluation"]),
    "a class called as a split": (["train", "test"], ["train", "bus", "car"]),
    "two classes so called": (["learn_train", "test"], ["test", "bus", "valid"]),
    "numbers and capitals": (["TrainImages2", "testB"], ["a", "b"]),
    "validation apart": (["train+val", "test"], ["a", "b"]),
    "Chinese": (["训练集", "测试集"], ["验证码", "测试员"]),
}


@pytest.mark.parametrize("form", WORDS)
def test_classes_and_splits_are_told_apart_by_whole_words(folder, form):
    (train, test), classes = WORDS[form]
    for number, top in enumerate(train.split("+")):
        save_files(
            folder, [name.replace("/", f"/{number}/", 0) for name in of_classes(top, classes)]
        )
    save_files(folder, [f"{test}/{n}.jpg" for n in range(3)])
    found = infer(folder).competition
    assert (set(found.classes), found.test.folders) == (set(classes), (test,))
    assert set(found.train.folders) == set(train.split("+"))


def test_class_folders_below_the_test_images_change_nothing(folder):
    save_pictures(folder, of_classes("train", ["bus", "train", "test"]))
    save_pictures(folder, of_classes("test", ["bus", "train", "test"], 1))
    found = infer(folder)
    paths, competition = bring(found, folder)
    assert competition.classes == ("bus", "test", "train")
    assert paths.train_csv.read_text("utf-8").count("\n") == 13
    assert paths.test_csv.read_text("utf-8").count("\n") == 4


@pytest.mark.parametrize("name", ["train-spotting", "my-test", "contest"])
def test_name_of_the_competition_or_its_one_archive_is_none_of_a_split(folder, name):
    images = [f"pics/{n}.jpg" for n in range(8)]
    save_list(folder, "labels.csv", "id,kind", *[f"{n},{'ab'[n % 2]}" for n in range(6)])
    save_list(folder, "sample.csv", "id,kind", "6,a", "7,a")
    save_files(folder, images)
    found = infer(folder, name).competition
    assert found.train.folders == found.test.folders == ("pics",)
    for image in images:
        (folder / image).unlink()
    (folder / "pics").rmdir()
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as packed:
        for image in images:
            packed.writestr(image, b"")
    found = infer(folder, "other").competition
    assert found.train.folders == found.test.folders == ("pics",)


LITTER = [
    "train/.ipynb_checkpoints/a-checkpoint.jpg", "__MACOSX/train/cat/._0.jpg", "train/cat/._1.jpg",
    "train/@eaDir/x.jpg", "test/.thumbs/2.jpg", "test/._0.jpg", "train/dog/.hidden/4.jpg",
]  # fmt: skip


def test_litter_is_neither_class_nor_image_nor_list(folder):
    save_pictures(folder, [*of_classes("train", ["cat", "dog"]), "test/0.jpg", "test/1.jpg"])
    save_files(folder, LITTER, b"\x89PNG")
    save_list(folder, ".ipynb_checkpoints/train.csv", "id,label", "0,x", "1,y", "2,x", "3,y")
    found = infer(folder)
    assert (found.competition.classes, found.competition.train.labels.source) == (
        ("cat", "dog"),
        "folder",
    )
    paths, _ = bring(found, folder)
    assert paths.test_csv.read_text("utf-8").count("\n") == 3
    assert paths.audit_csv.read_text("utf-8").count("litter,") == len(LITTER) + 1


NESTED = {
    "sessions": ("{kind}/day_{n}/{n}.jpg", "elm oak", True),
    "sessions above": ("session{n}/{kind}/0.jpg", "elm oak", True),
    "magnifications": ("{kind}/{n}00X/{n}.jpg", "elm oak", True),
    "one folder between": ("{kind}/pics/{n}.jpg", "elm oak", False),
    "one folder above": ("pics/{kind}/{n}.jpg", "elm oak", False),
}


@pytest.mark.parametrize("form", NESTED)
def test_classes_are_no_sessions_and_a_second_level_is_a_guess(folder, form):
    template, classes, is_guess = NESTED[form]
    names = [template.format(kind=kind, n=n) for kind in ("elm", "oak") for n in (1, 2)]
    save_pictures(folder, [*(f"train/{name}" for name in names), "test/7.jpg"])
    found = infer(folder)
    assert " ".join(found.competition.classes) == classes
    assert found.is_guess("classes") == is_guess
    _, competition = bring(found, folder)
    assert " ".join(competition.classes) == classes


def test_finer_folders_are_classes_unless_the_sample_answers_the_coarser(folder):
    names = ["dog/pug", "dog/collie", "cat/manx", "cat/tabby"]
    save_files(folder, [f"train/{name}/{n}.jpg" for name in names for n in range(2)])
    save_files(folder, ["test/8.jpg", "test/9.jpg"])
    found = infer(folder)
    assert found.competition.classes == ("collie", "manx", "pug", "tabby")
    assert found.is_guess("classes")
    save_list(folder, "sample.csv", "id,kind", "8,dog", "9,cat")
    found = infer(folder)
    assert (found.competition.classes, found.is_guess("classes")) == (("cat", "dog"), False)


DERIVED = {
    "masks": ("train/images", "train/masks", ("images",)),
    "depth": ("train/rgb", "train/depth", ("rgb",)),
    "smaller copies": ("train", "train_small", ("train",)),
}


@pytest.mark.parametrize("form", DERIVED)
def test_what_is_made_of_the_images_is_no_class_and_no_image(folder, form):
    ours, made, _ = DERIVED[form]
    save_pictures(folder, [f"{top}/{n}.png" for top in (ours, made) for n in range(6)])
    save_pictures(folder, [f"test/{n}.png" for n in (7, 8)])
    save_list(folder, "labels.csv", "id,kind", *[f"{n},{'ab'[n % 2]}" for n in range(6)])
    found = infer(folder)
    assert found.competition.train.labels.source == "csv"
    assert found.is_guess("folders")
    paths, _ = bring(found, folder)
    table = paths.train_csv.read_text("utf-8")
    assert table.count("\n") == 7
    assert f"/{made}/" not in table


def test_masks_that_are_called_so_in_a_folder_of_their_own_are_no_images(folder):
    kinds = [f"{('benign', 'malignant')[n % 2]}/{n}" for n in range(6)]
    save_files(folder, [f"train/{one}.png" for one in kinds] + ["test/7.png", "test/8.png"])
    save_files(folder, [f"train_masks/{one}_mask.png" for one in kinds])
    found = infer(folder)
    assert found.competition.train.folders == ("train",)
    assert found.competition.classes == ("benign", "malignant")


def test_classes_of_the_same_file_names_are_no_copies_of_each_other(folder):
    save_files(folder, [*of_classes("train", ["small", "large"]), "test/1.jpg"])
    assert infer(folder).competition.classes == ("large", "small")


def test_folders_are_a_guess_beside_a_list_that_names_other_images(folder):
    save_files(folder, [*of_classes("train", ["s1", "s2"]), "test/1.jpg"])
    save_list(folder, "labels.csv", "id,kind", *[f"x{n},{'ab'[n % 2]}" for n in range(6)])
    found = infer(folder)
    assert found.is_guess("labels")
    assert "labels may also stand in labels.csv, which names other images" in found.text


def test_images_that_are_of_neither_split_are_told(folder):
    save_files(folder, [*of_classes("train", ["a", "b"]), "test/1.jpg", "extra/2.jpg"])
    found = infer(folder)
    assert "1 images in 'mine/extra' are of neither split" in found.text


def test_files_without_a_suffix_are_looked_into(folder):
    save_pictures(folder, [f"train/{kind}/{n}.png" for kind in "ab" for n in range(2)])
    for path in sorted(folder.rglob("*.png")):
        path.rename(path.with_suffix(""))
    save_files(folder, ["test/7.jfif"])
    save_files(folder, ["README", "train/a/LICENSE"], b"BMW is a car, not an image of one")
    found = infer(folder)
    assert found.competition.classes == ("a", "b")
    (folder / "train/a/0").rename(folder / "train/a/0.5")
    save_pictures(folder, ["test/9.png"])
    (folder / "test/9.png").rename(folder / "test/7.jfif")
    paths, _ = bring(found, folder)
    assert paths.train_csv.read_text("utf-8").count("\n") == 5
    assert paths.test_csv.read_text("utf-8").count("\n") == 2


def test_archives_of_parts_hold_both_splits(folder):
    for part in ("first", "second"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as packed:
            for n in range(4):
                packed.writestr(f"{part}{n}.jpg", b"")
    rows = [f"first{n},{'ab'[n % 2]}" for n in range(4)]
    save_list(folder, "train.csv", "id,label", *rows)
    save_list(folder, "sample.csv", "id,label", *[f"second{n},a" for n in range(4)])
    found = infer(folder).competition
    assert {*found.train.folders, *found.test.folders} == {"first", "second"}


def test_folder_of_which_the_sample_asks_for_all_images_is_the_test_images_one(folder):
    save_files(folder, [*of_classes(".", ["ash", "elm"]), "inbox/7.jpg", "inbox/8.jpg"])
    save_list(folder, "sample.csv", "id,kind", "7,elm", "8,elm")
    found = infer(folder).competition
    assert found.test.folders == ("inbox",)
    assert found.train.folders == ("ash", "elm")
    assert found.classes == ("ash", "elm")


def test_images_beside_the_folder_of_those_with_labels_are_the_test_images(folder):
    save_files(folder, [f"mine/known/{n}.jpg" for n in range(4)] + ["mine/7.jpg", "mine/8.jpg"])
    save_files(folder, ["notes/x.txt"])
    save_list(folder, "kinds.csv", "id,kind", *[f"{n},{'ab'[n % 2]}" for n in range(4)])
    found = infer(folder).competition
    assert (found.train.folders, found.test.folders) == (("known",), ("mine",))


def test_hidden_files_are_no_images(folder):
    save_files(folder, [*of_classes("train", ["a", "b"]), "test/1.jpg"])
    save_files(folder, ["train/a/.7.jpg.part.jpg", "test/.cache.png"])
    assert "8 images" in infer(folder).text


STAGES = {
    "other names": (["pre_test", "final_test"], "f{n}", ("final_test",), False),
    "names in both": (["testA", "testB"], "{n}", ("testA",), True),
    "some of each": (["testA", "testB"], "{n}", ("testA", "testB"), False),
}


@pytest.mark.parametrize("form", STAGES)
def test_one_of_several_test_sets_is_taken_if_the_sample_asks_for_all_of_it(folder, form):
    (first, second), name, folders, is_guess = STAGES[form]
    own = 5 if form == "some of each" else 0
    save_files(folder, of_classes("train", ["a", "b"]))
    save_files(folder, [f"{first}/{n}.png" for n in range(4)])
    save_files(folder, [f"{second}/{name.format(n=n + own)}.png" for n in range(4)])
    ids = [name.format(n=n + own) for n in range(4)] + [f"{n}" for n in range(own and 3)]
    save_list(folder, "sample.csv", "id,kind", *(f"{one}.png,a" for one in ids))
    found = infer(folder)
    assert found.competition.test.folders == folders
    assert ("; or 'testB', whose images are called alike" in found.text) == is_guess
