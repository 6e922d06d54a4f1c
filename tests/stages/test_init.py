"""The stage `init`: what it infers from what a user has, and that the result serves."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.drawing.draw_competition import draw_competition
from pipeline.data.init.file_roles import GivenPaths
from pipeline.data.labels import read_labels
from pipeline.data.resolution import resolve
from pipeline.errors import ConfigError, DataError
from pipeline.stages import download, init, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import load_test, load_train
from pipeline.submission.writer import encode, ordered_ids, submission_table
from tests.editions import ALL_SHIPPED, edition, shipped


def bring(competition: Competition, folder: Path, root: Path) -> tuple[Paths, Competition]:
    """Download and prepare what lies in a folder."""
    paths = Paths(root, competition.name)
    download.run(paths, competition, str(folder))
    prepare.run(paths, competition, workers=1)
    return paths, resolve(competition, paths)


def written(folder: Path, **named: Path) -> Competition:
    """Run `init` on a folder, or on what is named in it, and load the file that it wrote."""
    out = folder.parent / "mine.toml"
    init.run("mine", GivenPaths(**named), None if named else folder, out, force=False)
    return load_competition(str(out))


def told(competition: Competition, labels: list[str]) -> list[Any]:
    """List what labels tell of each training image: its number, or places of its classes."""
    if competition.is_number:
        return labels
    return [[*map(competition.classes.index, competition.labels_in(one))] for one in labels]


def answers(paths: Paths, competition: Competition) -> bytes:
    """Submit the same two-digit probabilities, whatever the competition's file looks like."""
    test = load_test(paths)
    ids, count = test["image_id"].tolist(), competition.num_classes
    probs = np.zeros((len(ids), count), dtype=np.float64)
    for row, path in enumerate(test["path"]):
        likeliest = sum(map(ord, path)) % count
        probs[row, likeliest] = 0.75
        probs[row, (likeliest + 1) % count] += 0.25
    return encode(competition, submission_table(competition, ids, probs))


def add_sample(paths: Paths, competition: Competition, folder: Path) -> None:
    """Write a sample as the judge wants submissions, of all classes in turn."""
    ids = ordered_ids(competition.submission, load_test(paths)["image_id"].tolist())
    labels = [index % competition.num_classes for index in range(len(ids))]
    is_name = competition.submission.label == "name"
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if competition.submission.has_header:
        writer.writerow(competition.columns)
    for judge_id, label in zip(ids, labels, strict=True):
        writer.writerow([judge_id, competition.classes[label] if is_name else label])
    (folder / "sample_submission.csv").write_text(text.getvalue(), "utf-8")


# What no file tells, and is asked: docs/competitions.md says so.
NOT_INFERRED = {"alaska2-image-steganalysis": "three of four folders are one class"}
IN_BSON = "cdiscount-image-classification-challenge"
INFERRED = [one for one in ALL_SHIPPED if one.values[0] not in (*NOT_INFERRED, IN_BSON)]


@pytest.mark.parametrize("name", INFERRED)
def test_drawn_edition_of_a_shipped_competition_is_read_and_answered_alike(name, tmp_path):
    folder = tmp_path / "folder"
    draw_competition(edition(name), folder, tmp_path / "truth.csv")
    declared = shipped(name).model_copy(update={"synthetic": None})
    paths, declared = bring(declared, folder, tmp_path / "declared")
    if declared.submission.sample is None:
        add_sample(paths, declared, folder)
    inferred = written(folder)
    our_paths, inferred = bring(inferred, folder, tmp_path / "inferred")
    ours, theirs = load_train(our_paths), load_train(paths)
    assert ours["sha256"].tolist() == theirs["sha256"].tolist()
    assert told(inferred, ours["label"].tolist()) == told(declared, theirs["label"].tolist())
    # The metric, by which log loss alone keeps answers off 0 and 1, is what no data tell.
    judged_alike = inferred.model_copy(update={"metric": declared.metric})
    assert answers(our_paths, judged_alike) == answers(paths, declared)
    assert inferred.submission.label == declared.submission.label
    # Whether the order of classes means something no data tell either; it is asked.
    assert inferred.target in (declared.target, "one_class")


def test_images_in_bson_are_not_found_which_is_said(tmp_path):
    draw_competition(edition(IN_BSON), tmp_path / "folder", tmp_path / "truth.csv")
    told = "found 3 files, none of them one; .* documents that may hold images, not looked into"
    with pytest.raises(DataError, match=told):
        written(tmp_path / "folder")


@pytest.mark.parametrize("name", NOT_INFERRED)
def test_folders_that_may_be_one_class_are_asked_about_where_one_probability_is_wanted(
    name, tmp_path, capsys
):
    draw_competition(edition(name), tmp_path / "folder", tmp_path / "truth.csv")
    assert written(tmp_path / "folder").num_classes == 4
    told = capsys.readouterr().err
    assert 'classes = ["Cover", "JMiPOD", "JUNIWARD", "UERD"]  <- guess: the folders' in told
    assert "if several of these are one class, call them alike by labels.names" in told
    assert 'submission.label = "name"  <- guess: sample_submission.csv answers' in told


def save_images(folder: Path, names: list[str]) -> None:
    """Leave files that are called like images; `init` never opens one."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


TRAIN = [f"train/{number}.jpg" for number in range(10, 16)]
TEST = [f"test/{number}.jpg" for number in range(20, 23)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_folders_that_name_classes(folder):
    save_images(folder, ["train/oak/0.jpg", "train/oak/1.jpg", "train/elm/0.jpg", *TEST])
    found = written(folder)
    assert found.archives == ()
    assert (found.train.labels.source, found.classes) == ("folder", ("elm", "oak"))
    assert (found.train.folders, found.test.folders) == (("train",), ("test",))
    assert (found.submission.id, found.submission.sample) == ("integer", None)


NAMES = {
    "label, number": ["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"],
    "label_number": ["Cat_10.png", "cat_11.png", "dog_10.png", "dog_12.png"],
    "number-label": ["0-cat.jpg", "1-dog.jpg", "2-cat.jpg", "3-dog.jpg"],
}


@pytest.mark.parametrize("form", NAMES)
def test_labels_in_file_names(folder, form):
    save_images(folder, [f"train/{name}" for name in NAMES[form]] + TEST)
    found = written(folder)
    assert found.train.labels.source == "file_name"
    assert [name.lower() for name in found.classes] == ["cat", "dog"]


@pytest.mark.parametrize("stems", [["IMG_1", "IMG_2", "IMG_3"], ["a1", "b1", "c1", "d1"]])
def test_names_of_one_kind_or_all_different_are_no_labels(folder, stems):
    save_images(folder, [f"train/{stem}.jpg" for stem in stems] + TEST)
    assert written(folder).classes == ()


def test_numbered_files_tell_no_labels_and_the_file_loads_all_the_same(folder, capsys):
    save_images(folder, TRAIN)
    found = written(folder)
    assert (found.classes, found.train.folders) == ((), ("train",))
    told = capsys.readouterr().err
    assert 'classes = "from_labels"  <- guess: no labels were found' in told
    assert 'test.folders = ["test"]  <- guess: no images or lists of such names were found' in told
    text = (folder.parent / "mine.toml").read_text("utf-8")
    assert '# its page\n# url = "https://"\n' in text
    assert '# columns = ["id", "label"]\n' in text


LISTS = {
    "a CSV": ("id,species\n", ",oak\n", "csv"),
    "a CSV with more columns": ("id,size,class\n", ",{number}00,oak\n", "csv"),
    "a one-hot CSV": ("id,elm,oak\n", ",0,1\n", "one_hot"),
    "a list": ("", "\toak\n", "list_file"),
    "a list with spaces": ("", " oak\n", "list_file"),
}


@pytest.mark.parametrize("form", LISTS)
def test_labels_in_lists(folder, form):
    header, line, source = LISTS[form]
    save_images(folder, [*TRAIN, *TEST])
    end = ".jpg" if source == "list_file" else ""
    lines = [f"{n}{end}{line}".format(number=n) for n in range(10, 16)]
    elm = {"csv": ("oak", "elm"), "one_hot": ("0,1", "1,0"), "list_file": ("oak", "elm")}[source]
    lines[0] = lines[0].replace(*elm)
    (folder / "known.txt").write_text(header + "".join(lines), "utf-8")
    found = written(folder)
    assert (found.train.labels.source, found.classes) == (source, ("elm", "oak"))
    read = read_labels(found, [f"{number}.jpg" for number in range(10, 16)], [folder])
    assert read.labels == {"10.jpg": "elm"} | {f"{number}.jpg": "oak" for number in range(11, 16)}


FORMS: dict[str, tuple[str, str, dict[str, object]]] = {
    "semicolons and a mark": ("\ufeffid;kind\r\n{n};{kind}\r\n", "csv", {"separator": ";"}),
    "tabs": ("id\tkind\n{n}\t{kind}\n", "csv", {"separator": "\t"}),
    "label first": ("{kind} {n}.jpg\n", "list_file", {"columns": ("label", "image")}),
    "a column more": ("{n}.jpg|{kind}|7\n", "list_file", {"columns": ("image", "label", "other")}),
    "paths of Windows": ("C:\\train\\{n}.JPG,{kind}\n", "list_file", {"separator": ","}),
    "pandas' row numbers": (",file,kind\n{n},train/{n}.jpg,{kind}\n", "csv", {"id_column": "file"}),
    "pandas' index": (",kind\n{n},{kind}\n", "csv", {"id_column": ""}),
    "one-hot with semicolons": ("id;elm;oak\n{n};{0};{1}\n", "one_hot", {"separator": ";"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_of_any_form_are_read_as_they_are(folder, form):
    save_images(folder, [*TRAIN, *TEST])
    content, source, keys = FORMS[form]
    header, line = content.splitlines(keepends=True) if content.count("\n") > 1 else ("", content)
    lines = [
        line.format(number % 2, 1 - number % 2, n=number, kind=["oak", "elm"][number % 2])
        for number in range(10, 16)
    ]
    (folder / "known.txt").write_bytes((header + "".join(lines)).encode())
    found = written(folder)
    labels = found.train.labels.model_dump()
    assert (labels["source"], found.classes) == (source, ("elm", "oak"))
    assert {key: labels[key] for key in keys} == keys
    read = read_labels(found, [f"{number}.jpg" for number in range(10, 16)], [folder])
    assert (read.missing, read.unlabelled) == ([], [])
    assert read.labels["10.jpg"] == "oak"


def test_of_several_lists_the_one_of_labels_is_taken_and_the_others_are_told(folder, capsys):
    save_images(folder, [*TRAIN, *TEST])
    for name, column in (("a.csv", "camera"), ("z.csv", "Species"), ("b_train.csv", "site")):
        rows = "".join(f"{n},{'xy'[n % 2]}\n" for n in range(10, 16))
        (folder / name).write_text(f"id,{column}\n{rows}", "utf-8")
    assert written(folder).train.labels.model_dump()["file"] == "z.csv"
    assert "labels may also stand in b_train.csv, in a.csv" in capsys.readouterr().err


def test_column_called_as_the_sample_calls_its_answers_holds_the_labels(folder, capsys):
    save_images(folder, [*TRAIN, *TEST])
    rows = "".join(f"{n},{n % 2},{n % 3}\n" for n in range(10, 16))
    (folder / "train.csv").write_text(f"id,sex,grade\n{rows}", "utf-8")
    out = {"force": True, "root": folder, "out": folder.parent / "mine.toml"}
    init.run("mine", GivenPaths(), **out)
    assert load_competition(str(out["out"])).train.labels.model_dump()["label_column"] == "sex"
    assert "<- guess: train.csv names 6 training images, by their column id; labels may also stand"
    assert "in 'grade'" in capsys.readouterr().err
    (folder / "sample.csv").write_text("id,Grade\n20,0\n21,0\n22,0\n", "utf-8")
    init.run("mine", GivenPaths(), **out)
    assert load_competition(str(out["out"])).train.labels.model_dump()["label_column"] == "grade"
    assert "may also" not in capsys.readouterr().err


@pytest.mark.parametrize("content", ["cat\ndog\n", "1,dog\n0,cat\n", "id;name\n0;cat\n1;dog\n"])
def test_numbered_classes_are_called_as_a_list_of_them_says(folder, content):
    save_images(folder, [*TRAIN, *TEST])
    rows = "".join(f"{number},{number % 2}\n" for number in range(10, 16))
    (folder / "labels.csv").write_text("id,label\n" + rows, "utf-8")
    (folder / "classes.txt").write_text(content, "utf-8")
    found = written(folder)
    assert found.classes == ("cat", "dog")
    assert getattr(found.train.labels, "values", None) == "index"


def test_list_of_a_whole_data_set_serves_a_cut_of_it(folder):
    save_images(folder, [*TRAIN, *TEST])
    rows = "".join(f"{number},{'xy'[number % 2]}\n" for number in range(1000))
    (folder / "labels.csv").write_text("id,label\n" + rows + "  \n", "utf-8")
    assert written(folder).train.labels.source == "csv"


def test_folders_with_chinese_names_are_told_apart(folder):
    save_images(folder, ["训练集/猫/0.jpg", "训练集/狗/0.jpg", "测试集/0.jpg"])
    found = written(folder)
    assert (found.train.folders, found.test.folders) == (("训练集",), ("测试集",))
    assert set(found.classes) == {"猫", "狗"}


@pytest.mark.parametrize("top", ["", "train/", "photos/"])
def test_images_without_test_images_get_a_test_folder_to_be_made(folder, capsys, top):
    save_images(folder, [f"{top}{kind}/{n}.jpg" for kind in ("elm", "oak") for n in range(3)])
    found = written(folder)
    assert (found.train.labels.source, found.classes) == ("folder", ("elm", "oak"))
    assert found.test.folders == ("test",)
    assert 'test.folders = ["test"]  <- guess: no' in capsys.readouterr().err


def test_numbered_classes_get_names_to_be_replaced(folder, capsys):
    save_images(folder, [*TRAIN, *TEST])
    rows = "".join(f"{number},{number % 2}\n" for number in range(10, 16))
    (folder / "labels.csv").write_text("id,label\n" + rows, "utf-8")
    found = written(folder)
    assert found.classes == ("0", "1")
    assert getattr(found.train.labels, "values", None) == "index"
    assert "write the classes' names here, in their order" in capsys.readouterr().err


def test_numbers_and_names_that_stand_for_several_test_images_are_no_ids(folder):
    save_images(folder, [*TRAIN, "test/a/0.jpg", "test/b/0.jpg"])
    assert written(folder).submission.id == "path"


def test_named_folder_is_not_mistaken_for_one_of_its_name_elsewhere(folder):
    save_images(folder, ["x/train/elm/0.jpg", "x/train/oak/1.jpg", "y/test/2.jpg", "z/train/3.jpg"])
    found = written(folder, train=folder / "x/train", test=folder / "y/test")
    assert (found.train.folders, found.test.folders) == (("x/train",), ("y/test",))


def test_columns_that_are_not_called_as_the_classes_are_a_guess(folder, capsys):
    save_images(folder, ["train/oak/0.jpg", "train/elm/0.jpg", *TEST])
    for header, certainty in (("p,q", "guess: "), ("oak,elm", "")):
        (folder / "sample.csv").write_text(f"id,{header}\n20,0.5,0.5\n", "utf-8")
        init.run("mine", GivenPaths(), folder, folder.parent / "mine.toml", force=True)
        told = f'label = "probabilities"  <- {certainty}sample.csv has 2 columns after the id'
        assert told in capsys.readouterr().err


SAMPLES: dict[str, tuple[str, dict[str, object]]] = {
    "the probability of a class": (
        "id,oak\n20,0.5\n21,0.5\n",
        {"id": "integer", "label": "probability", "positive": "oak", "has_header": True},
    ),
    "a probability of nobody knows what": (
        "id;p\n20;0.5\n21;0.5\n",
        {"label": "probability", "positive": "oak", "separator": ";", "columns": ("id", "p")},
    ),
    "a column per class, not summing to 1": (
        "id,oak,elm\n20.jpg,0,0\n21.jpg,0,0\n",
        {"id": "file_name", "label": "probabilities", "rows_sum_to_1": False},
    ),
    "names without a header": (
        "20.jpg,oak\n21.jpg,elm\n",
        {"id": "file_name", "label": "name", "has_header": False},
    ),
    "indices behind a prefix": (
        "test/20.jpg,0\ntest/21.jpg,1\n",
        {"id": "file_name", "id_prefix": "test/", "label": "index"},
    ),
    "lines of Windows": ("id,label\r\n20,oak\r\n", {"line_ending": "crlf", "label": "name"}),
    "a byte order mark": ("\ufeffid,label\n20,oak\n", {"encoding": "utf-8-sig"}),
}


@pytest.mark.parametrize("form", SAMPLES)
def test_submission_is_read_off_the_sample(folder, form):
    save_images(folder, ["train/oak/0.jpg", "train/elm/0.jpg", *TEST])
    content, expected = SAMPLES[form]
    (folder / "sample_submission.csv").write_bytes(content.encode("utf-8"))
    submission = written(folder).submission.model_dump()
    assert {key: submission[key] for key in expected} == expected
    assert submission["sample"] == "sample_submission.csv"


def test_named_places_are_believed_whatever_they_are_called(folder):
    save_images(folder, [f"a/known/{n}.jpg" for n in range(4)] + ["b/known/7.jpg", "c/x.jpg"])
    (folder / "truth.csv").write_text("n,kind\n0,elm\n1,oak\n2,oak\n3,elm\n", "utf-8")
    (folder / "form.csv").write_text("n,kind\n7,oak\n", "utf-8")
    found = written(
        folder,
        train=folder / "a/known",
        test=folder / "b/known",
        labels=folder / "truth.csv",
        sample=folder / "form.csv",
    )
    assert (found.train.folders, found.test.folders) == (("a/known",), ("b/known",))
    assert found.train.labels.model_dump()["file"] == "truth.csv"
    assert (found.submission.sample, found.submission.columns) == ("form.csv", ("n", "kind"))


def test_folders_of_any_name_are_told_apart_by_the_list_of_labels(folder):
    save_images(folder, [f"My photos/a/IMG {n}.JPEG" for n in range(6)])
    save_images(folder, [f"holiday/IMG {n}.JPEG" for n in range(6, 9)])
    rows = "".join(f'IMG {n}.JPEG,"{("elm, old", "oak")[n % 2]}"\n' for n in range(6))
    (folder / "answers.csv").write_text(f"Photo,Tree\n{rows}", "utf-8")
    (folder / "form.csv").write_text("Photo,Tree\nIMG 8.JPEG,oak\nIMG 6.JPEG,oak\n", "utf-8")
    found = written(folder)
    assert (found.train.folders, found.test.folders) == (("a",), ("holiday",))
    assert found.train.labels.model_dump()["file"] == "answers.csv"
    assert (found.submission.sample, found.submission.label) == ("form.csv", "name")


def test_images_in_one_folder_are_told_apart_by_the_list_of_test_images(folder):
    save_images(folder, [f"images/{number}.png" for number in range(6)])
    (folder / "train.csv").write_text("id,label\n0,elm\n1,oak\n2,oak\n3,elm\n", "utf-8")
    (folder / "test.csv").write_text("id,height\n4,9\n5,9\n", "utf-8")
    found = written(folder)
    assert found.train.folders == found.test.folders == ("images",)
    assert found.test.csv is not None
    assert (found.test.csv.file, found.test.csv.id_column) == ("test.csv", "id")


def test_list_of_test_images_may_have_no_header(folder):
    save_images(folder, [f"all/{number}.png" for number in range(6)])
    (folder / "train.txt").write_text("0.png elm\n1.png oak\n2.png oak\n3.png elm\n", "utf-8")
    (folder / "test.txt").write_text("all/4.png\nall/5.png\n", "utf-8")
    found = written(folder)
    assert found.test.csv is not None
    assert found.test.csv.model_dump(exclude_defaults=True) == {"file": "test.txt"}
    assert found.train.labels.model_dump()["file"] == "train.txt"


def test_archives_within_an_archive_and_folders_beside_it_are_looked_into(folder):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        for name in NAMES["label, number"]:
            packed.writestr(name, b"")
    with zipfile.ZipFile(folder / "all.zip", "w") as packed:
        packed.writestr("train.zip", inner.getvalue())
        packed.writestr("sampleSubmission.csv", "id,label\n20,0.5\n")
    save_images(folder, TEST)
    found = written(folder)
    assert [archive.name for archive in found.archives] == ["all.zip", "test.zip"]
    assert found.train.folders == ("train",)
    assert found.submission.label == "probability"
    assert found.submission.sample == "sampleSubmission.csv"


def test_archives_may_be_named_and_one_may_hold_both_splits(folder):
    with zipfile.ZipFile(folder / "all.zip", "w") as packed:
        for name in ["train/elm/1.jpg", "train/oak/1.jpg", *TEST]:
            packed.writestr(name, b"")
    (folder / "another.zip").write_bytes(b"not looked at")
    found = written(folder, train=folder / "all.zip", test=folder / "all.zip")
    assert [archive.name for archive in found.archives] == ["all.zip"]
    assert (found.train.folders, found.test.folders) == (("train",), ("test",))
    assert found.classes == ("elm", "oak")


def test_images_right_in_the_folder_are_below_one_of_the_competitions_name(folder):
    save_images(folder, [*NAMES["label, number"], *TEST])
    found = written(folder)
    assert (found.train.folders, found.test.folders) == (("mine",), ("test",))
    assert (found.train.labels.source, found.classes) == ("file_name", ("cat", "dog"))


def test_notes_on_single_images_are_no_lists(folder):
    save_images(folder, ["train/elm/0.jpg", "train/oak/1.jpg", *TEST])
    for number in range(30):
        (folder / f"train/{number % 2}-{number}.txt").write_text("0.jpg 1\n1.jpg 0\n", "utf-8")
    assert written(folder).train.labels.source == "folder"


def test_file_that_is_there_is_not_replaced_but_by_force(folder):
    save_images(folder, [*TRAIN, *TEST])
    written(folder)
    target = folder.parent / "mine.toml"
    target.write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml: must not be there yet; .*add --force"):
        written(folder)
    assert target.read_text("utf-8") == "mine"
    init.run("mine", GivenPaths(), folder, target, force=True)
    assert load_competition(str(target)).name == "mine"


def refused(folder: Path, match: str, **named: Any) -> None:
    with pytest.raises((ConfigError, DataError), match=match) as caught:
        written(folder, **named)
    assert "\n" not in str(caught.value)
    assert not (folder.parent / "mine.toml").exists()


@pytest.mark.parametrize("name", ['a"b', "猫", "a/b", ""])
def test_a_name_that_folders_cannot_have_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(ConfigError, match=r"^init: the name must be letters, .*; choose another"):
        init.run(name, GivenPaths(), tmp_path / "nothing", None, force=False)


def test_what_cannot_be_made_out_is_refused_and_nothing_written(folder, tmp_path):
    with pytest.raises(
        ConfigError, match="init: must be given files or folders to look at, got none"
    ):
        init.run("mine", GivenPaths(), None, tmp_path / "mine.toml", force=False)
    refused(folder, "init: expected images, found 0 files, none of them one")
    refused(
        folder,
        r"none: must exist, is missing; correct the path",
        train=folder / "none",
    )
    save_images(folder, [*TRAIN, *TEST])
    (folder / "mine.csv").write_text("a,b\nc\n", "utf-8")
    for key in ("labels", "sample"):
        named = {"train": folder / "train", "test": folder / "test", key: folder / "mine.csv"}
        refused(folder, r"mine\.csv: must be a \.csv, .* file of text, its", **named)
    (folder / "mine.csv").write_text("a,b\nc,d\n", "utf-8")
    named = {"train": folder / "train", "labels": folder / "mine.csv"}
    refused(folder, r"mine\.csv: must name training images .* few of the 6 .*'10\.jpg'", **named)
    (folder / "mine.csv").unlink()
    (folder / "sample.csv").write_text("20\n21\n", "utf-8")
    refused(folder, r"sample\.csv: a sample must have an id and an answer, has one column")


def test_nothing_is_written_beside_what_is_looked_at(folder):
    draw_competition(edition("dogs-vs-cats-redux"), folder, folder.parent / "truth.csv")
    before = sorted(folder.rglob("*"))
    written(folder)
    assert sorted(folder.rglob("*")) == before
