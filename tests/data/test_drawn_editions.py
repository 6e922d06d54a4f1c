"""Any competition can be drawn small, in its exact layout."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import py7zr
import pytest
from PIL import Image

from pipeline.config.archive_table import Archive
from pipeline.config.competition import Competition
from pipeline.config.strict import parse
from pipeline.data.drawing.draw_competition import draw_competition
from tests.editions import BREEDS, edition

Members = dict[str, bytes]
Draw = Callable[..., tuple[dict[str, Members], dict[str, str]]]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Draw an edition; return the files that the archives hold and those beside them."""

    def drawn(name: str, **changes: object) -> tuple[dict[str, Members], dict[str, str]]:
        folder = tmp_path / "archives"
        draw_competition(edition(name, **changes), folder, tmp_path / "truth.csv")
        members = {path.name: members_of(path) for path in sorted(folder.iterdir())}
        plain = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.csv"))}
        return {name: files for name, files in members.items() if files}, plain

    return drawn


def members_of(path: Path) -> Members:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    if path.suffix == ".7z":
        factory = py7zr.io.BytesIOFactory(limit=1 << 24)
        with py7zr.SevenZipFile(path) as seven_zip:
            seven_zip.extractall("/", factory=factory)
        return {name[1:]: product.read() for name, product in factory.products.items()}
    return {}


def rows(text: str | bytes) -> list[list[str]]:
    content = text.decode() if isinstance(text, bytes) else text
    return list(csv.reader(io.StringIO(content)))


def kind(content: bytes) -> str | None:
    with Image.open(io.BytesIO(content)) as image:
        return image.format


def test_dogs_vs_cats_has_pictures_in_two_zips_and_a_sample(draw):
    archives, plain = draw("dogs-vs-cats-redux")
    names = {f"train/{label}.{index}.jpg" for label in ("cat", "dog") for index in range(4)}
    assert set(archives["train.zip"]) == names
    assert set(archives["test.zip"]) == {f"test/{number}.jpg" for number in range(1, 7)}
    sample = plain["sample_submission.csv"]
    assert sample == "id,label\n" + "".join(f"{number},0.5\n" for number in range(1, 7))


def test_dog_breeds_are_one_zip_with_a_column_per_breed(draw):
    archives, _ = draw("dog-breed-identification", num_train=120, num_test=2)
    members = archives["dog-breed-identification.zip"]
    labels = rows(members.pop("labels.csv"))
    sample = rows(members.pop("sample_submission.csv"))
    assert labels[0] == ["id", "breed"]
    assert {breed for _, breed in labels[1:]} == set(BREEDS)
    assert {f"train/{name}.jpg" for name, _ in labels[1:]} == {
        name for name in members if name.startswith("train/")
    }
    assert sample[0] == ["id", *BREEDS]
    assert {f"test/{row[0]}.jpg" for row in sample[1:]} == {
        name for name in members if name.startswith("test/")
    }
    assert {len(row) for row in sample} == {121}


def test_cifar_10_of_kaggle_is_png_files_in_7z_archives(draw):
    archives, plain = draw("cifar-10-kaggle")
    assert set(archives["train.7z"]) == {f"train/{number}.png" for number in range(1, 21)}
    assert {kind(content) for content in archives["test.7z"].values()} == {"PNG"}
    assert rows(plain["trainLabels.csv"])[:2] == [["id", "label"], ["1", "airplane"]]
    assert rows(plain["sampleSubmission.csv"])[:2] == [["id", "label"], ["1", "airplane"]]


def test_leaves_of_both_splits_share_a_folder_and_have_one_hot_labels(draw):
    archives, _ = draw("plant-pathology-2020")
    members = archives["plant-pathology-2020-fgvc7.zip"]
    header = ["image_id", "healthy", "multiple_diseases", "rust", "scab"]
    assert rows(members["train.csv"])[:3] == [
        header, ["Train_0", "1", "0", "0", "0"], ["Train_1", "0", "1", "0", "0"],
    ]  # fmt: skip
    assert rows(members["test.csv"])[:2] == [["image_id"], ["Test_0"]]
    assert rows(members["sample_submission.csv"])[:2] == [header, ["Test_0", *["0.25"] * 4]]
    pictures = {name for name in members if name.startswith("images/")}
    assert len(pictures) == len(members) - 3 == 8 + 6
    assert {"images/Train_7.jpg", "images/Test_5.jpg"} <= pictures


def test_lists_are_drawn_as_the_file_describes_them(tmp_path):
    declared = edition("cat-12").model_dump(mode="json", exclude_unset=True)
    declared["train"]["labels"] |= {"separator": " ", "columns": ["label", "other", "image"]}
    declared["test"]["csv"] = {"file": "test.txt", "separator": ";"}
    declared["archives"].append({"name": "test.txt"})
    competition = parse(Competition, declared, "cat-12.toml")
    draw_competition(competition, tmp_path / "folder", tmp_path / "truth.csv")
    first = (tmp_path / "folder/train_list.txt").read_text("utf-8").splitlines()[0]
    assert re.fullmatch(r"0 0 cat_12_train/\w+\.jpg", first)
    names = (tmp_path / "folder/test.txt").read_text("utf-8").splitlines()
    truth = (tmp_path / "truth.csv").read_text("utf-8").splitlines()
    assert sorted(names) == sorted(line.partition(",")[0] for line in truth[1:])


def test_cactus_ids_have_their_extension_and_tissue_is_tiff(draw):
    archives, plain = draw("aerial-cactus-identification")
    labels = rows(plain["train.csv"])
    assert labels[0] == ["id", "has_cactus"]
    assert {f"train/{name}" for name, _ in labels[1:]} == set(archives["train.zip"])
    assert {label for _, label in labels[1:]} == {"0", "1"}
    archives, _ = draw("histopathologic-cancer-detection")
    members = archives["histopathologic-cancer-detection.zip"]
    pictures = {name: kind(content) for name, content in members.items() if "/" in name}
    assert set(pictures.values()) == {"TIFF"}
    assert {name.rpartition(".")[2] for name in pictures} == {"tif"}
    ids = [name for name, _ in rows(members["train_labels.csv"])[1:]]
    assert all(f"train/{name}.tif" in pictures for name in ids)


@pytest.mark.parametrize("suffix", [".7z", ".tar.bz2", ".tar.xz"])
def test_two_draws_of_any_kind_of_archive_are_byte_identical(tmp_path, suffix):
    base = edition("aerial-cactus-identification")
    archives = (Archive(name=f"train{suffix}"), Archive(name=f"test{suffix}"))
    competition = base.model_copy(update={"archives": archives})
    for name in ("one", "two"):
        draw_competition(competition, tmp_path / name, tmp_path / "truth.csv")
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert one == two
    assert set(one) == {archive.name for archive in archives}


def test_odd_files_may_be_drawn_beside_one_hot_labels(draw):
    archives, _ = draw("plant-pathology-2020", num_train=40, odd_files=True)
    members = archives["plant-pathology-2020-fgvc7.zip"]
    listed = {f"images/{row[0]}.jpg" for row in rows(members["train.csv"])[1:]}
    assert len(listed - set(members)) == 1
    assert len({name for name in members if name.startswith("images/Train")} - listed) == 1
