"""Ids of the sample that are of several images, or of an image and a label each."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.competition import Competition, load_competition
from pipeline.data.init.file_roles import GivenPaths
from pipeline.stages import init


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def written(folder: Path, images: Iterable[str], files: Mapping[str, str]) -> Competition:
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    out = folder.parent / "mine.toml"
    init.run("mine", GivenPaths(), folder, out, force=True)
    return load_competition(str(out))


def answers(found: Competition) -> dict[str, Any]:
    assert found.answers is not None
    return found.answers.model_dump(exclude_defaults=True)


SCANS = [
    *(f"train/{scan}/{way}/{n}.dcm" for scan in ("s1", "s2", "s3") for way in "ab" for n in (1, 2)),
    *(f"test/{scan}/{way}/{n}.dcm" for scan in ("s7", "s8") for way in "ab" for n in (1, 2)),
]
OF_SCANS = {
    "labels.csv": "scan,sick\ns1,0\ns2,1\ns3,0\n",
    "sample_submission.csv": "scan,sick\ns7,0.5\ns8,0.5\n",
}


def test_ids_and_labels_may_be_of_folders(folder):
    found = written(folder, SCANS, OF_SCANS)
    assert answers(found) == {"pattern": "^(?P<answer>[^/]+)/", "labelled": "answers"}
    assert found.train.labels.model_dump()["id_column"] == "scan"
    assert (found.submission.id, found.submission.label) == ("answer", "probability")
    assert (found.classes, found.test.csv) == (("0", "1"), None)


def test_folders_may_lie_deeper_and_labels_be_of_images(folder):
    images = [f"train/{way}/s{n // 2}/i{n}.png" for way in "ab" for n in range(8)]
    images = [one.replace("/i", f"/{one[6]}") for one in images]
    tests = [f"test/{way}/t{n // 2}/{way}{n}.png" for way in "ab" for n in range(4)]
    rows = "".join(f"{way}{n}.png,{'elm' if n < 4 else 'oak'}\n" for way in "ab" for n in range(8))
    sample = "scan,kind\nt0,elm\nt1,elm\n"
    files = {"labels.csv": f"image,kind\n{rows}", "sample_submission.csv": sample}
    found = written(folder, [*images, *tests], files)
    assert answers(found) == {"pattern": "^(?:[^/]+/){1}(?P<answer>[^/]+)/"}
    assert found.train.labels.model_dump()["id_column"] == "image"


def test_ids_may_be_made_of_columns(folder, capsys):
    eyes = [(one, side) for one in range(8) for side in "LR" for _ in (1, 2)]
    train = "".join(f"p{one},i{n},{side},{one % 2}\n" for n, (one, side) in enumerate(eyes))
    test = "".join(f"p9{one},{side},j{n}\n" for n, (one, side) in enumerate(eyes[:8]))
    ids = dict.fromkeys(f"p9{one}_{side},0.5\n" for one, side in eyes[:8])
    files = {
        "train.csv": f"patient,image_id,side,cancer\n{train}",
        "test.csv": f"patient,side,image_id\n{test}",
        "sample_submission.csv": f"row,cancer\n{''.join(ids)}",
    }
    images = [*(f"train/i{n}.png" for n in range(32)), *(f"test/j{n}.png" for n in range(8))]
    found = written(folder, images, files)
    assert answers(found) == {"columns": ("patient", "side")}
    assert found.test.csv is not None
    assert (found.test.csv.file, found.test.csv.id_column) == ("test.csv", "image_id")
    assert found.train.groups is not None
    told = capsys.readouterr().err
    assert "<- guess: 4 of 4 ids of the sample are made of columns of test.csv" in told


NO_ANSWERS: dict[str, tuple[list[str], str]] = {
    "images in folders of their name": ([f"test/t{n}/t{n}.png" for n in range(3)], "t{n},elm\n"),
    "paths": ([f"test/t{n % 2}/{n}.png" for n in range(3)], "t{even}/{n}.png,elm\n"),
    "folders of classes": ([f"test/{n % 2}/t{n}.png" for n in range(3)], "t{n},elm\n"),
    "numbers that are folders, too": ([f"test/{n % 2}/{n}.png" for n in range(3)], "{n},elm\n"),
}


@pytest.mark.parametrize("form", NO_ANSWERS)
def test_ids_of_images_are_none_of_folders(folder, form):
    images, row = NO_ANSWERS[form]
    train = [f"train/{kind}/{kind}{n}.png" for kind in ("elm", "oak") for n in range(3)]
    rows = "".join(row.format(n=n, even=n % 2) for n in range(3))
    found = written(folder, [*train, *images], {"sample_submission.csv": f"id,kind\n{rows}"})
    assert found.answers is None
    assert found.submission.id != "answer"


def test_folders_of_classes_are_no_answers_of_training_images(folder):
    images = [f"train/{kind}/{kind}{n}.png" for kind in ("elm", "oak") for n in range(4)]
    images += [f"test/t{n}/{k}.png" for n in range(3) for k in "ab"]
    sample = "id,kind\nt0,elm\nt1,elm\nt2,elm\n"
    found = written(folder, images, {"sample_submission.csv": sample})
    assert (found.answers, found.classes) == (None, ("elm", "oak"))


def test_columns_that_make_the_name_of_each_image_make_no_answers(folder):
    images = [*(f"train/a_{n}.png" for n in range(4)), *(f"test/b_{n}.png" for n in range(4))]
    train = "".join(f"a_{n}.png,a,{n},{n % 2}\n" for n in range(4))
    test = "".join(f"b_{n}.png,b,{n}\n" for n in range(4))
    files = {
        "train.csv": f"file,place,number,label\n{train}",
        "test.csv": f"file,place,number\n{test}",
        "sample_submission.csv": "id,label\n" + "".join(f"b_{n},0\n" for n in range(4)),
    }
    assert written(folder, images, files).answers is None


LABELS = "id,whole,C1,C2\n" + "".join(f"i{n},{n % 2},{n % 2},{n % 3 % 2}\n" for n in range(6))
IMAGES = [*(f"train/i{n}.png" for n in range(6)), *(f"test/t{n}.png" for n in range(3))]


@pytest.mark.parametrize("row_id", ["{id}_{label}", "{label}-{id}"])
def test_a_row_for_each_label_of_an_image_is_told_by_the_ids(folder, row_id):
    rows = (row_id.format(id=f"t{n}", label=one) for n in range(3) for one in ("C2", "C1", "whole"))
    sample = "row_id,p\n" + "".join(f"{row},0.5\n" for row in rows)
    found = written(folder, IMAGES, {"train.csv": LABELS, "sample_submission.csv": sample})
    assert (found.target, found.classes) == ("several_labels", ("whole", "C1", "C2"))
    assert (found.submission.label, found.submission.row_id) == ("label_rows", row_id)
    assert (found.submission.id, found.submission.order) == ("stem", "any")
    assert (found.submission.columns, found.submission.sample_rows) == (("row_id", "p"), "all")


@pytest.mark.parametrize("label", ["C1", "k"])
def test_ids_that_end_alike_or_as_no_column_have_one_row_each(folder, label):
    images = [*IMAGES[:6], *(f"test/t{n}_{label}.png" for n in range(3))]
    sample = "id,whole\n" + "".join(f"t{n}_{label},0\n" for n in range(3))
    found = written(folder, images, {"train.csv": LABELS, "sample_submission.csv": sample})
    assert (found.submission.label, found.submission.id) == ("index", "stem")
    assert found.answers is None


@pytest.mark.parametrize("is_in_folders", [True, False])
def test_example_with_rows_of_one_label_is_told_where_the_rest_names_what_is_there(
    folder, is_in_folders, capsys
):
    inner = [f"{one.removesuffix('.png')}/{k}.png" for one in IMAGES for k in "ab"]
    sample = "row_id,p\n" + "".join(f"t{n}_C2,0.5\n" for n in range(3))
    files = {"train.csv": LABELS, "sample_submission.csv": sample}
    found = written(folder, inner if is_in_folders else IMAGES, files)
    assert (found.target, found.classes) == ("several_labels", ("whole", "C1", "C2"))
    assert (found.submission.label, found.submission.sample_rows) == ("label_rows", "some")
    assert (found.submission.id == "answer") == is_in_folders
    told = capsys.readouterr().err
    assert 'target = "several_labels"  <- guess: sample_submission.csv has rows of labels' in told
