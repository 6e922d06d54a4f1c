"""Folders that were unpacked by others are read where they are; nothing in them changes."""

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import py7zr
import pytest

from pipeline.config.competition import Competition
from pipeline.data.archives import fetch_archive, tars_and_7z
from pipeline.errors import ConfigError, DataError
from pipeline.stages import download
from pipeline.store.folders import list_files
from pipeline.store.freshness import Stamp
from pipeline.store.paths import Paths
from tests.stages.test_download import LABELS, TEST, TRAIN, a_competition, images, said, zip_of


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "root", "pets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as somebody else has unpacked it."""
    for name in ("train/cat_0.jpg", "train/dog_0.jpg", "test/photo.jpg", "labels.txt"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LABELS)
    return tmp_path / "folder"


FILES = {"train/cat_0.jpg", "train/dog_0.jpg", "test/photo.jpg"}


def without_archives(**changes: Any) -> Competition:
    return a_competition(archives=[], **changes)


def test_unpacked_archives_are_linked_to(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    assert images(paths).keys() == set()  # rglob doesn't follow links
    links = {link.name: link.resolve() for link in paths.images_dir.iterdir()}
    assert links == {"train": folder / "train", "test": folder / "test"}
    assert [path.name for path in paths.archives_dir.iterdir()] == ["labels.txt"]


def test_file_wins_over_the_folder_of_its_name(paths: Paths, folder: Path) -> None:
    (folder / "train.zip").write_bytes(TRAIN)
    download.run(paths, a_competition(), str(folder))
    assert not (paths.images_dir / "train").is_symlink()
    assert (paths.images_dir / "test").is_symlink()


def test_alias_without_its_suffix_is_a_name_of_the_folder(paths: Paths, folder: Path) -> None:
    (folder / "test").rename(folder / "test1")
    download.run(paths, a_competition(), str(folder))
    assert (paths.images_dir / "test").resolve() == folder / "test1"


def test_second_run_is_up_to_date_with_or_without_the_source(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, a_competition(), str(folder))
    said(capsys)
    for source in (str(folder), None):
        download.run(paths, a_competition(), source)
        assert said(capsys) == "download pets: up to date\n"


def test_file_that_was_added_or_grew_is_noticed(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    for name, content in (("new.jpg", b"x"), ("cat_0.jpg", b"longer than before")):
        (folder / "train" / name).write_bytes(content)
        assert Stamp(paths.download_stamp, {}).damaged() == [paths.images_dir]
        download.run(paths, a_competition(), None)
        assert Stamp(paths.download_stamp, {}).damaged() == []


def test_folder_that_is_gone_must_be_brought_again(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"train\.zip, test\.zip must be brought by hand"):
        download.run(paths, a_competition(), None)


def test_archives_may_replace_the_folders(paths: Paths, folder: Path, tmp_path: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    (tmp_path / "packed").mkdir()
    for name, content in (("train.zip", TRAIN), ("test.zip", TEST), ("labels.txt", LABELS)):
        (tmp_path / "packed" / name).write_bytes(content)
    download.run(paths, a_competition(), str(tmp_path / "packed"))
    assert images(paths).keys() == FILES
    assert (folder / "train/cat_0.jpg").read_bytes() == LABELS


def test_folder_of_ones_own_data_is_refused(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    (folder / "train.zip").write_bytes(TRAIN)
    (folder / "test.zip").write_bytes(TEST)
    download.run(paths, a_competition(), str(folder))
    message = rf"images must lie outside {paths.data_dir} to be read in place, '.*/images/train'"
    (paths.images_dir / "labels.txt").write_bytes(LABELS)
    with pytest.raises(DataError, match=message):
        download.run(paths, a_competition(), str(paths.images_dir))
    assert images(paths).keys() == FILES | {"labels.txt"}


ONE_ZIP: dict[str, Any] = {"archives": [{"name": "pets.zip"}]}


@pytest.mark.parametrize("above", ["", "pets", "all/of/them"])
def test_folder_may_be_what_the_only_archive_held(paths: Paths, folder: Path, above: str) -> None:
    if above:
        (folder.parent / f"top/{above}").parent.mkdir(parents=True)
        folder.rename(folder.parent / f"top/{above}")
        folder = folder.parent / "top"
    download.run(paths, a_competition(**ONE_ZIP), str(folder))
    files = [file for file in list_files(paths.images_dir) if file.name == "cat_0.jpg"]
    assert [file.parent.name for file in files] == ["train"]
    assert (paths.images_dir / "pets").is_symlink()


def test_folder_without_a_split_is_not_taken_for_an_archive(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "photos/holiday").mkdir(parents=True)
    message = r"pets: pets\.zip must be in .*photos, which holds holiday/ \(1 entry\)"
    with pytest.raises(DataError, match=message):
        download.run(paths, a_competition(**ONE_ZIP), str(tmp_path / "photos"))


def as_kaggle_packs(folder: Path, **changed: bytes) -> Path:
    """Pack all that a folder holds into one zip, and leave nothing else."""
    (folder / "old.zip").write_bytes(b"no zip, and none of ours")
    packed = folder.parent / "kaggle/pets-and-more.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in (("train.zip", TRAIN), ("test1.zip", TEST), ("labels.txt", LABELS)):
            file.writestr(name, changed.get(name.partition(".")[0], content))
    return packed.parent


def test_all_archives_may_lie_in_one_zip(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = as_kaggle_packs(folder)
    download.run(paths, a_competition(), str(place))
    assert images(paths).keys() == FILES
    assert (paths.archives_dir / "labels.txt").read_bytes() == LABELS
    assert f"copying test1.zip out of {place / 'pets-and-more.zip'}\n" in said(capsys)
    for source in (str(place), None):
        download.run(paths, a_competition(), source)
        assert said(capsys) == "download pets: up to date\n"


def test_archive_that_is_broken_in_a_zip_is_refused(paths: Paths, folder: Path) -> None:
    place = as_kaggle_packs(folder, train=b"no zip")
    with pytest.raises(DataError, match=r"pets-and-more\.zip: must be a zip archive, begins with"):
        download.run(paths, a_competition(), str(place))
    packed = place / "pets-and-more.zip"
    packed.write_bytes(packed.read_bytes().replace(b"no zip", b"no zap"))
    with pytest.raises(DataError, match=r"more\.zip: must hold a whole train\.zip \(Bad CRC-32"):
        download.run(paths, a_competition(), str(place))
    assert not paths.images_dir.exists()


def test_competition_without_archives_reads_its_folder(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, without_archives(), str(folder))
    assert (paths.images_dir / "pets").resolve() == folder
    assert list(paths.archives_dir.iterdir()) == []
    told = f"download pets: 4 files, read in place in {folder} -> {paths.images_dir}\n"
    assert said(capsys) == told
    download.run(paths, without_archives(), None)
    assert said(capsys) == "download pets: up to date\n"


def test_folder_called_like_the_competition_may_be_the_split_itself(
    paths: Paths, folder: Path
) -> None:
    plain = without_archives()
    images = plain.train.model_copy(update={"folders": ("pets",)})
    test = plain.test.model_copy(update={"folders": ("nowhere",)})
    moved = plain.model_copy(update={"train": images, "test": test})
    download.run(paths, moved, str(folder / "train"))
    assert (paths.images_dir / "pets/cat_0.jpg").is_file()


def test_competition_without_archives_needs_a_folder_that_holds_a_split(
    paths: Paths, tmp_path: Path
) -> None:
    message = "pets: the images must be brought by hand, no URL is open to all; download them"
    with pytest.raises(DataError, match=f"^{re.escape(message)} from https://pets"):
        download.run(paths, without_archives(), None)
    (tmp_path / "empty").mkdir()
    message = r"pets: the folders train and test must be in .*, which is empty; put them there"
    with pytest.raises(DataError, match=message):
        download.run(paths, without_archives(), str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"a folder that holds the images, is missing$"):
        download.run(paths, without_archives(), str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"must be a folder, as pets has no archives"):
        download.run(paths, without_archives(), "https://pets.example")


OPTIONAL: dict[str, Any] = {
    "archives": [{"name": "train.zip"}, {"name": "sample.csv", "optional": True}]
}


def test_optional_archive_may_be_absent_and_come_later(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, a_competition(**OPTIONAL), str(folder))
    assert list(paths.archives_dir.iterdir()) == []
    for source in (str(folder), None):
        said(capsys)
        download.run(paths, a_competition(**OPTIONAL), source)
        assert said(capsys) == "download pets: up to date\n"
    (folder / "sample.csv").write_bytes(b"id,label\n")
    download.run(paths, a_competition(**OPTIONAL), str(folder))
    assert [path.name for path in paths.archives_dir.iterdir()] == ["sample.csv"]


def test_size_that_is_known_is_checked(paths: Paths, folder: Path) -> None:
    (folder / "train.zip").write_bytes(TRAIN)
    size = len(TRAIN)
    message = rf"train\.zip: must have {size + 1:,} bytes, has {size:,}; put a good copy there"
    with pytest.raises(DataError, match=message):
        download.run(paths, a_competition({"num_bytes": size + 1}), str(folder))
    download.run(paths, a_competition({"num_bytes": size}), str(folder))


def seven_zip(path: Path) -> None:
    with py7zr.SevenZipFile(path, "w") as file:
        file.writestr(b"7z", "cat_0.jpg")


def test_7z_is_unpacked_and_without_its_package_the_folder_beside_it_serves(
    paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seven_zip(folder / "train.7z")
    competition = a_competition({"name": "train.7z"})
    download.run(paths, competition, str(folder))
    assert images(paths).keys() == {"train/cat_0.jpg"}
    monkeypatch.setattr(tars_and_7z, "PACKAGE", "no_such_package")
    download.run(paths, competition, str(folder))
    assert (paths.images_dir / "train").resolve() == folder / "train"


def test_7z_without_its_package_is_refused_before_anything_is_copied(
    paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "train")
    seven_zip(folder / "train.7z")
    monkeypatch.setattr(tars_and_7z, "PACKAGE", "no_such_package")
    with pytest.raises(DataError, match=r"^train\.7z: a 7z needs the package no_such_package"):
        download.run(paths, a_competition({"name": "train.7z"}), str(folder))
    assert not paths.archives_dir.exists()


def test_archives_on_a_read_only_disk_are_linked_to_and_unpacked(
    paths: Paths, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.zip").write_bytes(TRAIN)
    monkeypatch.setattr(fetch_archive, "is_read_only", lambda _: True)  # a test can't mount one
    download.run(paths, a_competition(), str(folder))
    assert (paths.archives_dir / "train.zip").resolve() == folder / "train.zip"
    assert (folder / "train.zip").stat().st_mode & 0o200
    assert images(paths).keys() == {"train/cat_0.jpg", "train/dog_0.jpg"}
    (folder / "train.zip").write_bytes(zip_of(cat_0=b"cut")[:-30])
    with pytest.raises(DataError, match=r"its end is missing"):
        download.run(paths, a_competition(), str(folder))
