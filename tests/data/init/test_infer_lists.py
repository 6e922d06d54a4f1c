"""Which list is what, which file an id is of, and what a sample says."""

import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from pipeline.data.init.file_roles import GivenPaths
from pipeline.errors import DataError
from pipeline.stages import init
from pipeline.store.tables import load_test, load_train
from pipeline.submission.validation import find_faults
from pipeline.submission.writer import encode, ordered_ids, submission_table
from tests.user_folder import Inferred, bring, infer, save_files, save_list, save_pictures


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{n}.png" for n in range(8)])
    save_pictures(folder, [f"test/{n}.png" for n in range(20, 24)])
    return folder


def save_labels(folder, name="train.csv", template="{n}"):
    rows = [f"{template.format(n=n)},{['elm', 'oak'][n % 2]}" for n in range(8)]
    save_list(folder, name, "id,kind", *rows)


def answered(paths, competition):
    """Answer each test image by its row in `test.csv`; return the file's lines."""
    ids = load_test(paths)["image_id"].tolist()
    probs = [[row % 2, 1 - row % 2] for row in range(len(ids))]
    content = encode(competition, submission_table(competition, ids, np.array(probs, float)))
    assert find_faults(competition, content, ordered_ids(competition.submission, ids)) == []
    return content.decode().splitlines()


@pytest.mark.parametrize("archived", [False, True])
def test_lists_of_one_name_are_told_apart_by_where_they_lie(tmp_path, archived):
    folder = tmp_path / "folder"
    for split, count, kinds in (("train", 8, ("elm", "oak")), ("test", 4, ("?", "?"))):
        names = [f"{n}.png" for n in range(count)]
        save_pictures(folder / split, names)
        rows = [f"{name},{kinds[n % 2]}" for n, name in enumerate(names)]
        save_list(folder, f"{split}/labels.csv", "id,kind", *rows)
        if archived:
            with zipfile.ZipFile(folder / f"{split}.zip", "w") as file:
                for path in sorted((folder / split).iterdir()):
                    file.write(path, path.name)
            shutil.rmtree(folder / split)
    paths, _ = bring(infer(folder), folder)
    labels = load_train(paths)["label"]
    assert len(labels) == 8
    assert {*labels} == {"elm", "oak"}


def test_the_list_that_was_named_is_taken_though_another_one_has_its_name(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train/{n}.png" for n in range(8)])
    save_pictures(folder, [f"test/{n}.png" for n in range(20, 24)])
    for place, kinds in (("labels.csv", ("wrong", "also")), ("train/labels.csv", ("elm", "oak"))):
        save_list(folder, place, "id,kind", *(f"{n}.png,{kinds[n % 2]}" for n in range(8)))
    out = tmp_path / "mine.toml"
    init.run("mine", GivenPaths(labels=folder / "train/labels.csv"), folder, out, force=True)
    paths, _ = bring(Inferred(out), folder)
    assert {*load_train(paths)["label"]} == {"elm", "oak"}


def test_a_list_with_quotes_and_without_a_header_is_read_as_it_was_understood(folder):
    rows = [f'"{n}.png","{("elm", "oak, red")[n % 2]}"' for n in range(8)]
    save_list(folder, "train.csv", *rows)
    paths, _ = bring(infer(folder), folder)
    assert {*load_train(paths)["label"]} == {"elm", "oak, red"}


MAPPINGS = {
    "numbers": ("id,file", "{row},test/{n}.png"),
    "paths of another machine": ("key,path,size", "k{row},C:\\data\\test\\{n}.PNG,16"),
    "files first": ("img,uid", "{n}.png,u{row}"),
    "without a header": ("", "{row};{n}.png"),
}


@pytest.mark.parametrize("form", MAPPINGS)
def test_list_that_says_which_file_an_id_is_of_is_used(folder, form):
    header, line = MAPPINGS[form]
    order = [22, 20, 23, 21]
    rows = [line.format(row=row, n=n) for row, n in enumerate(order)]
    save_list(folder, "test.csv", *([header] if header else []), *rows)
    save_labels(folder)
    prefix = {"numbers": "", "without a header": "", "files first": "u"}.get(form, "k")
    save_list(
        folder, "sample_submission.csv", "id,kind", *[f"{prefix}{n},elm" for n in (2, 0, 3, 1)]
    )
    found = infer(folder)
    assert found.competition.submission.id == "listed"
    paths, competition = bring(found, folder)
    table = load_test(paths)
    assert table["image_id"].tolist() == [f"{prefix}{n}" for n in (2, 0, 3, 1)]
    assert [path.rpartition("/")[2] for path in table["path"]] == [
        "23.png", "22.png", "21.png", "20.png",
    ]  # fmt: skip
    assert answered(paths, competition)[1] == f"{prefix}2,oak"


def test_list_of_ids_that_the_files_are_called_after_is_not_needed(folder):
    save_list(folder, "test.csv", "id,file", *[f"{n},{n}.png" for n in range(20, 24)])
    save_labels(folder)
    save_list(folder, "sample.csv", "id,kind", *[f"{n},elm" for n in range(20, 24)])
    found = infer(folder).competition
    assert (found.test.csv, found.submission.id) == (None, "integer")


def test_column_of_files_is_believed_before_one_of_numbers(folder):
    rows = [f"{n},train/{7 - n}.png,{['elm', 'oak'][n % 2]}" for n in range(8)]
    save_list(folder, "train.csv", "id,file,kind", *rows)
    (folder / "train/7.png").unlink()  # so that the numbers join one more
    found = infer(folder)
    assert found.competition.train.labels.model_dump()["id_column"] == "file"


SPELLINGS = {
    "other suffixes": ("{n}.jpg", "file_name"),
    "zeros": ("000{n}", "stem"),
    "capitals and another suffix": ("{n}.JPEG", "file_name"),
    "a folder": ("data/test/{n}.png", "file_name"),
    "a table's floats": ("{n}.0", "stem"),
}


@pytest.mark.parametrize("form", SPELLINGS)
def test_ids_written_otherwise_than_the_files_are_answered_as_the_sample_writes_them(folder, form):
    template, id_form = SPELLINGS[form]
    save_labels(folder, template=template.replace("test", "train"))
    ids = [template.format(n=n) for n in range(20, 24)]
    save_list(folder, "sample.csv", "id,kind", *[f"{one},elm" for one in ids])
    found = infer(folder)
    assert found.competition.submission.id == id_form
    paths, competition = bring(found, folder)
    assert len(load_train(paths)) == 8
    assert (load_test(paths)["width"] == 16).all()
    assert [line.partition(",")[0] for line in answered(paths, competition)[1:]] == ids
    assert ("listed-otherwise" in paths.audit_csv.read_text("utf-8")) == (form != "a folder")


def test_suffixes_may_be_mixed_and_lacking_in_the_list(folder):
    (folder / "train/3.png").rename(folder / "train/3.jpeg")
    (folder / "test/21.png").rename(folder / "test/21.bmp")
    save_labels(folder)
    save_list(folder, "sample.csv", "id,kind", *[f"{n},elm" for n in range(20, 24)])
    paths, _ = bring(infer(folder), folder)
    assert (len(load_train(paths)), len(load_test(paths))) == (8, 4)
    assert (load_test(paths)["width"] > 0).all()


def test_example_of_a_few_rows_is_no_list_of_all(folder, capsys):
    save_labels(folder)
    save_list(folder, "example.csv", "id,kind", "21,elm", "20,oak")
    found = infer(folder)
    assert found.is_guess("sample_rows")
    paths, competition = bring(found, folder)
    assert len(load_test(paths)) == 4
    assert answered(paths, competition) == ["id,kind", "20,oak", "21,elm", "22,oak", "23,elm"]
    assert "warning" not in capsys.readouterr().err
    text = found.text.replace('sample_rows = "some"', 'sample_rows = "all"')
    found.path.write_text(text, "utf-8")
    found = type(found)(found.path)
    paths, _ = bring(found, folder)
    assert len(load_test(paths)) == 2
    told = capsys.readouterr().err
    assert "asks for 2 images, not for 2 more in the test folders, as '22.png'; if it is an" in told
    bring(found, folder)  # up to date, and told again
    assert "up to date" in capsys.readouterr().err.replace("\n", " ")


def test_example_beside_images_of_both_splits_leaves_those_without_a_label(folder):
    for path in folder.glob("test/*"):
        path.rename(folder / "train" / path.name)
    (folder / "test").rmdir()
    save_labels(folder)
    save_list(folder, "example.csv", "id,kind", "21,elm")
    paths, _ = bring(infer(folder), folder)
    assert load_test(paths)["image_id"].tolist() == [f"{n}.png" for n in range(20, 24)]
    assert len(load_train(paths)) == 8


LAYOUTS = {
    "label first": ("kind,id", "elm,{n}", ("label", "id")),
    "row numbers": (",id,kind", "{row},{n},elm", ("row_from_0", "id", "label")),
    "row numbers from 1": ("row,id,kind", "{next},{n},elm", ("row_from_1", "id", "label")),
    "columns first": ("elm,oak,id", "0.5,0.5,{n}", ("label", "id")),
}


@pytest.mark.parametrize("form", LAYOUTS)
def test_sample_may_have_its_id_in_another_column(folder, form):
    header, line, layout = LAYOUTS[form]
    save_labels(folder)
    rows = [line.format(n=20 + row, row=row, next=row + 1) for row in range(4)]
    save_list(folder, "sample.csv", header, *rows)
    found = infer(folder)
    assert found.competition.submission.layout == layout
    paths, competition = bring(found, folder)
    written = answered(paths, competition)
    assert written[0] == header
    at = header.split(",").index("id")
    assert [line.split(",")[at] for line in written[1:]] == ["20", "21", "22", "23"]
    ids = ordered_ids(competition.submission, load_test(paths)["image_id"].tolist())
    faulty = "\n".join([written[0], *written[2:], "x"]) + "\n"
    kinds = {fault.kind.value for fault in find_faults(competition, faulty.encode(), ids)}
    assert kinds == {"columns", "missing ids"}


def test_id_between_other_columns_is_refused(folder):
    save_labels(folder)
    save_list(folder, "sample.csv", "elm,id,oak", *[f"0.5,{n},0.5" for n in range(20, 24)])
    with pytest.raises(DataError, match=r"sample\.csv: the id must be in the first or the last"):
        infer(folder)


def test_answers_may_be_parted_by_a_space(folder):
    save_labels(folder)
    save_list(folder, "result_sample.txt", *[f"{n}.png  elm" for n in range(20, 24)])
    paths, competition = bring(infer(folder), folder)
    assert answered(paths, competition)[0] == "20.png oak"


def test_several_lists_of_one_form_hold_the_labels_together(folder, capsys):
    for split, numbers in (("train", range(5)), ("val", range(5, 8))):
        save_list(folder, f"{split}_list.txt", *[f"train/{n}.png {n % 2}" for n in numbers])
    save_list(folder, "test_list.txt", *[f"test/{n}.png" for n in range(20, 24)])
    save_list(folder, "labels.txt", "0 elm", "1 oak")
    found = infer(folder)
    assert found.competition.classes == ("elm", "oak")
    assert found.competition.listings[:2] == ("train_list.txt", "val_list.txt")
    paths, _ = bring(found, folder)
    assert (len(load_train(paths)), len(load_test(paths))) == (8, 4)
    assert "warning" not in capsys.readouterr().err


def test_names_in_lists_among_the_images_are_relative_to_them(tmp_path):
    folder = tmp_path / "folder"
    for split, num in (("train", 4), ("valid", 2), ("test", 2)):
        save_pictures(folder, [f"{split}/{n}.png" for n in range(num)])
        first = ["0, 1", "1, 0"] if split == "valid" else ["1, 0", "0, 1"]
        rows = [f"{n}.png, {first[n % 2]}" for n in range(num)]
        save_list(folder, f"{split}/_classes.csv", "filename, elm, oak", *rows)
    found = infer(folder)
    paths, _ = bring(found, folder)
    train = load_train(paths)
    labels = dict(zip(train["image_id"], train["label"], strict=True))
    assert labels == {
        "train/0.png": "elm", "train/1.png": "oak", "train/2.png": "elm", "train/3.png": "oak",
        "valid/0.png": "oak", "valid/1.png": "elm",
    }  # fmt: skip
    assert len(load_test(paths)) == 2


def test_list_called_a_sample_that_names_training_images_holds_labels(folder):
    save_labels(folder, "samples.csv")
    found = infer(folder).competition
    assert found.submission.sample is None
    assert found.train.labels.model_dump()["file"] == "samples.csv"


def test_second_sample_is_told(folder, capsys):
    save_labels(folder)
    for name in ("a_submission.csv", "b_submission.csv"):
        save_list(folder, name, "id,kind", *[f"{n},elm" for n in range(20, 24)])
    infer(folder)
    assert "b_submission.csv: may be the sample submission, too; a_sub" in capsys.readouterr().err


UNREAD = {
    "train.rar": "archives of a kind that isn't read",
    "train.7z.002": "volumes of a split archive",
    "train.tar.zst": "archives of a kind that isn't read",
    "labels.csv.gz": "archives of a kind that isn't read",
    "labels.xlsx": "spreadsheets",
    "train.npz": "arrays and records",
    "annotations.json": "lists in another form",
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_read_is_named_with_the_way_out(tmp_path, name, capsys):
    folder = tmp_path / "folder"
    save_files(folder, [name])
    told = rf"found 1 files, none of them one; {name}: {UNREAD[name]}"
    with pytest.raises(DataError, match=told):
        infer(folder)
    save_files(folder, [f"test/{n}.png" for n in range(3)])
    found = infer(folder)
    assert f"warning: {name}: {UNREAD[name]}, not looked into; " in capsys.readouterr().err
    assert f"\n# {name}: {UNREAD[name]}" in found.text


def test_images_in_an_unread_archive_are_not_looked_for_among_the_others(tmp_path):
    folder = tmp_path / "folder"
    save_files(folder, ["Training_set.part1.rar", *(f"testset/{n}.png" for n in range(3))])
    found = infer(folder)
    assert (found.competition.train.folders, found.competition.test.folders) == (
        ("Training_set",),
        ("testset",),
    )
    assert found.is_guess("folders")


def test_images_by_address_are_no_images(tmp_path):
    folder = tmp_path / "folder"
    save_list(folder, "train.csv", "url,label", *[f"https://a.example/{n}.jpg,b" for n in range(3)])
    with pytest.raises(DataError, match=r"train\.csv: must name images that are there, names them"):
        infer(folder)


def test_archives_below_folders_are_found_and_a_list_beside_itself_packed_is_brought_once(folder):
    save_labels(folder)
    content = (folder / "train.csv").read_bytes()
    for split in ("train", "test"):
        (folder / "data").mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / f"data/{split}.zip", "w") as packed:
            for path in sorted((folder / split).iterdir()):
                packed.write(path, path.name)
                path.unlink()
        (folder / split).rmdir()
    with zipfile.ZipFile(folder / "train.csv.zip", "w") as packed:
        packed.writestr("train.csv", content)
    found = infer(folder)
    names = [archive.name for archive in found.competition.archives]
    assert sorted(names) == ["test.zip", "train.csv", "train.zip"]
    paths, _ = bring(found, folder)
    assert (len(load_train(paths)), len(load_test(paths))) == (8, 4)


def test_archives_of_one_name_are_refused(tmp_path):
    for part in "ab":
        (tmp_path / f"folder/{part}").mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / f"folder/{part}/images.zip", "w") as packed:
            packed.writestr("x.jpg", b"")
    with pytest.raises(DataError, match=r"archives must differ in name, .* first is 'images\.zip'"):
        infer(tmp_path / "folder")


def test_archives_and_lists_may_be_called_as_people_call_files(tmp_path):
    folder = tmp_path / "folder"
    save_pictures(folder / "in", [f"训练集/{n}.png" for n in range(8)])
    save_pictures(folder / "in", [f"测试集/{n}.png" for n in range(20, 24)])
    with zipfile.ZipFile(folder / "图片 (1).zip", "w") as archive:
        for file in sorted((folder / "in").rglob("*.png")):
            archive.write(file, file.relative_to(folder / "in"))
    shutil.rmtree(folder / "in")
    save_labels(folder, "训练 标签.csv")
    paths, competition = bring(infer(folder), folder)
    assert (len(load_train(paths)), len(load_test(paths))) == (8, 4)
    assert {archive.name for archive in competition.archives} == {"图片 (1).zip", "训练 标签.csv"}


def test_archive_that_is_read_is_not_called_unread(folder, capsys):
    save_labels(folder)
    with tarfile.open(folder / "test.tar.gz", "w:gz") as archive:
        archive.add(folder / "test", "test")
    shutil.rmtree(folder / "test")
    infer(folder)
    assert "not looked into" not in capsys.readouterr().err


def test_classes_are_in_the_order_of_a_list_of_them(tmp_path):
    folder, kinds = tmp_path / "folder", ["yew", "ash", "oak"]
    save_pictures(folder, [f"train/{kind}/{n}.png" for kind in kinds for n in range(2)])
    save_pictures(folder, ["test/20.png", "test/21.png"])
    save_list(folder, "classes.txt", *kinds)
    save_list(folder, "sample_submission.csv", "id,kind", "20,0", "21,2")
    found = infer(folder)
    assert found.competition.classes == ("yew", "ash", "oak")
    assert (found.competition.submission.label, found.is_guess("label")) == ("index", True)


def test_labels_beside_each_image_are_told_and_folders_of_parts_are_no_classes(tmp_path, capsys):
    folder = tmp_path / "folder"
    save_pictures(folder, [f"train-{n // 3}/{n}.png" for n in range(6)] + ["test/20.png"])
    for n in range(6):
        save_list(folder, f"train-{n // 3}/{n}.cls", str(n % 2))
    found = infer(folder)
    assert "6 files called as the images, as " in capsys.readouterr().err
    with pytest.raises(DataError, match=r"the file 'labels\.csv' must be in"):
        bring(found, folder)


def test_list_of_few_images_beside_folders_of_classes_is_doubted(folder):
    save_pictures(folder, [f"train/{('elm', 'oak')[n % 2]}/{n}.png" for n in range(30, 60)])
    save_labels(folder)
    found = infer(folder)
    assert found.is_guess("labels")
    assert "labels may also stand in the folders of the 30 others" in found.text


def test_shares_of_classes_are_no_labels(folder):
    rows = [f"{n},0.{n}5,0.{9 - n}5" for n in range(8)]
    save_list(folder, "train.csv", "id,elm,oak", *rows)
    save_list(folder, "sample_submission.csv", "id,elm,oak", "20,0.5,0.5", "21,0.5,0.5")
    with pytest.raises(DataError, match=r"must mark them by 1 and 0, hold numbers as 0\.05"):
        infer(folder)
