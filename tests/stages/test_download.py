import gzip
import hashlib
import io
import json
import os
import platform
import re
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.competition import Competition
from pipeline.config.strict import parse
from pipeline.errors import ConfigError, DataError
from pipeline.stages import download
from pipeline.store.locks import held
from pipeline.store.paths import Paths
from tests.data.archives.website import Website, status


def zip_of(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            file.writestr(f"{name}.jpg", content)
    return buffer.getvalue()


TRAIN = zip_of(cat_0=b"cat " * 999, dog_0=b"dog " * 999)
TEST = zip_of(photo=b"who " * 999)
LABELS = b"cat_0.jpg\t0\n"
BROKEN = TRAIN.replace(b"cat ", b"cow ")
PAGE = b"\n<!DOCTYPE html><title>Log in</title>"


def a_competition(train_zip: dict[str, Any] | None = None, **changes: Any) -> Competition:
    values: dict[str, Any] = {
        "name": "pets",
        "title": "Pets",
        "url": "https://pets.example",
        "classes": ["cat", "dog"],
        "archives": [
            {"name": "train.zip"} | (train_zip or {}),
            {"name": "test.zip", "aliases": ["test1.zip"]},
            {"name": "labels.txt"},
        ],
        "train": {"folders": ["train"], "labels": {"source": "folder"}},
        "test": {"folders": ["test"]},
        "submission": {"id": "stem"},
        "experiments": {"cpu": ["a"], "cuda": ["a"]},
    }
    return parse(Competition, values | changes, "pets.toml")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "root", "pets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in [("train.zip", TRAIN), ("test.zip", TEST), ("labels.txt", LABELS)]:
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def site(site: Website) -> Website:
    site.files = {"/train.zip": TRAIN, "/test.zip": TEST, "/labels.txt": LABELS}
    return site


def images(paths: Paths) -> dict[str, bytes]:
    files = (path for path in paths.images_dir.rglob("*") if path.is_file())
    return {path.relative_to(paths.images_dir).as_posix(): path.read_bytes() for path in files}


def assert_complete(paths: Paths, train: bytes = TRAIN) -> None:
    archives = {path.name: path.read_bytes() for path in paths.archives_dir.iterdir()}
    assert archives == {"train.zip": train, "test.zip": TEST, "labels.txt": LABELS}
    assert images(paths).keys() == {"train/cat_0.jpg", "train/dog_0.jpg", "test/photo.jpg"}
    names = {path.name for path in paths.data_dir.iterdir()}
    assert names == {"archives", "images", "download.json", ".lock"}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_folder_is_copied_and_unpacked_read_only(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    assert_complete(paths)
    files = [path for path in paths.data_dir.rglob("*.*") if path.parent != paths.data_dir]
    assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o444}


def test_second_run_is_up_to_date_with_or_without_the_source(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, a_competition(), str(folder))
    before = paths.images_dir.stat().st_ino
    said(capsys)
    for source in (str(folder), f"{folder}/../folder", None):
        download.run(paths, a_competition(), source)
        assert said(capsys) == "download pets: up to date\n"
    assert paths.images_dir.stat().st_ino == before


def test_archives_own_folder_may_be_the_source(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.data_dir.mkdir(parents=True)
    folder.rename(paths.archives_dir)
    download.run(paths, a_competition(), str(paths.archives_dir))
    assert_complete(paths)
    said(capsys)
    download.run(paths, a_competition(), str(paths.archives_dir))
    assert said(capsys) == "download pets: up to date\n"


def test_stamp_tells_source_and_sha256_of_each_archive(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    stamp = json.loads(paths.download_stamp.read_text(encoding="utf-8"))
    source = stamp["inputs"]["sources"]["train.zip"]
    assert source["place"] == str((folder / "train.zip").resolve())
    assert stamp["outputs"]["archives/train.zip"] == hashlib.sha256(TRAIN).hexdigest()


def test_a_list_that_is_no_archive_any_more_goes_unless_it_was_changed(
    paths: Paths, folder: Path
) -> None:
    fewer = [{"name": "train.zip"}, {"name": "test.zip"}]
    download.run(paths, a_competition(), str(folder))
    download.run(paths, a_competition(archives=fewer), str(folder))
    assert {one.name for one in paths.archives_dir.iterdir()} == {"train.zip", "test.zip"}
    download.run(paths, a_competition(), str(folder))
    labels = paths.archives_dir / "labels.txt"
    labels.chmod(0o644)
    labels.write_bytes(b"mine")
    download.run(paths, a_competition(archives=fewer), str(folder))
    assert labels.read_bytes() == b"mine"


def test_changed_source_is_brought_again(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    changed = zip_of(cat_0=b"tac " * 999, dog_0=b"dog " * 999)
    (folder / "train.zip").write_bytes(changed)
    os.utime(folder / "train.zip", (1, 1))
    download.run(paths, a_competition(), str(folder))
    assert_complete(paths, changed)
    assert images(paths)["train/cat_0.jpg"] == b"tac " * 999


def test_damaged_images_are_unpacked_again_without_the_source(paths: Paths, folder: Path) -> None:
    download.run(paths, a_competition(), str(folder))
    (paths.images_dir / "train/cat_0.jpg").unlink()
    for file in folder.iterdir():
        file.unlink()
    download.run(paths, a_competition(), None)
    assert_complete(paths)


def test_alias_and_deeper_folder_are_found(paths: Paths, folder: Path) -> None:
    (folder / "deep/er").mkdir(parents=True)
    (folder / "train.zip").rename(folder / "deep/er/train.zip")
    (folder / "test.zip").rename(folder / "test1.zip")
    download.run(paths, a_competition(), str(folder))
    assert_complete(paths)


def test_two_files_of_one_name_below_the_folder_are_refused(paths: Paths, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "train.zip").write_bytes(TRAIN)
    (folder / "train.zip").unlink()
    with pytest.raises(
        DataError, match=r"one file 'train\.zip', holds 2 below it: a/train\.zip, b"
    ):
        download.run(paths, a_competition(), str(folder))


def test_missing_archives_are_named_with_what_the_folder_holds(paths: Paths, folder: Path) -> None:
    (folder / "train.zip").unlink()
    (folder / "test.zip").unlink()
    message = (
        f"pets: train.zip, test.zip (or test1.zip) must be in {folder}, which holds labels.txt "
        f"(1 entry); put them there and run 'pipeline download pets --from {folder}'"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        download.run(paths, a_competition(), str(folder))
    assert not paths.data_dir.exists()


def test_folder_that_is_missing_or_a_file_is_refused(paths: Paths, folder: Path) -> None:
    with pytest.raises(DataError, match=r"a folder that holds train\.zip, .*, is missing$"):
        download.run(paths, a_competition(), str(folder / "none"))
    with pytest.raises(DataError, match=r"a folder that holds train\.zip, .*, is a file$"):
        download.run(paths, a_competition(), str(folder / "train.zip"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"train\.zip: must be a zip archive, is empty \(0 bytes\); put a good copy there"),
        (PAGE, r"train\.zip: must be a zip archive, is a web page"),
        (TRAIN[:-30], r"train\.zip: must be a zip archive, begins as one but its end is missing"),
        (b"Rar!....", r"train\.zip: must be a zip archive, begins with b'Rar!"),
        (BROKEN, r"train\.zip: entry 'cat_0\.jpg' must be whole, is damaged \(Bad CRC.*--from"),
    ],
)
def test_bad_archive_is_refused_and_the_older_one_stays_usable(
    paths: Paths,
    folder: Path,
    content: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    download.run(paths, a_competition(), str(folder))
    before = images(paths)
    (folder / "train.zip").write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        download.run(paths, a_competition(), str(folder))
    assert "\n" not in str(raised.value)
    assert_complete(paths)
    assert images(paths) == before
    said(capsys)
    download.run(paths, a_competition(), None)
    assert said(capsys) == "download pets: up to date\n"


def test_web_page_instead_of_a_list_is_refused(paths: Paths, folder: Path) -> None:
    (folder / "labels.txt").write_bytes(PAGE)
    with pytest.raises(DataError, match=r"labels\.txt: must be a file of data, is a web page"):
        download.run(paths, a_competition(), str(folder))


def test_wrong_sha256_shows_both(paths: Paths, folder: Path) -> None:
    declared = "0" * 64
    actual = hashlib.sha256(TRAIN).hexdigest()
    with pytest.raises(DataError, match=f"must have sha256 {declared}, has {actual}"):
        download.run(paths, a_competition({"sha256": declared}), str(folder))


def test_wrong_md5_shows_both(paths: Paths, folder: Path) -> None:
    declared = "0" * 32
    actual = hashlib.md5(TRAIN, usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match=f"must have md5 {declared}, has {actual}"):
        download.run(paths, a_competition({"md5": declared}), str(folder))
    sha256 = hashlib.sha256(TRAIN).hexdigest()
    with pytest.raises(DataError, match=f"must have md5 {declared}, has {actual}"):
        download.run(paths, a_competition({"md5": declared, "sha256": sha256}), str(folder))
    download.run(paths, a_competition({"md5": actual}), str(folder))
    assert_complete(paths)


def test_md5_that_becomes_known_later_is_checked_on_what_is_here(
    paths: Paths, folder: Path
) -> None:
    download.run(paths, a_competition(), str(folder))
    with pytest.raises(DataError, match=r"train\.zip must be brought by hand"):
        download.run(paths, a_competition({"md5": "0" * 32}), None)
    assert_complete(paths)


def test_tar_is_unpacked_into_a_folder_of_its_stem(paths: Paths, folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        file.add(folder / "labels.txt", "deep/cat_0.jpg")
    (folder / "train.tar.gz").write_bytes(buffer.getvalue())
    download.run(paths, a_competition({"name": "train.tar.gz"}), str(folder))
    assert images(paths).keys() == {"train/deep/cat_0.jpg", "test/photo.jpg"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"train\.tgz: must be a tar archive, is empty \(0 bytes\); put a good copy there"),
        (PAGE, r"train\.tgz: must be a tar archive, is a web page"),
        (TRAIN, r"train\.tgz: must be a tar archive, begins with b'PK"),
        (gzip.compress(PAGE, mtime=0), r"train\.tgz: must be a tar archive, begins with b'\\x1f"),
    ],
)
def test_file_that_is_no_tar_is_refused(
    paths: Paths, folder: Path, content: bytes, message: str
) -> None:
    (folder / "train.tgz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        download.run(paths, a_competition({"name": "train.tgz"}), str(folder))


def test_leftovers_of_a_killed_run_are_swept(paths: Paths, folder: Path) -> None:
    for name in (".images.partial/train", ".archives.partial"):
        (paths.data_dir / name).mkdir(parents=True)
        (paths.data_dir / name / "x").write_bytes(b"x")
    (paths.data_dir / ".download.json.7.partial").write_bytes(b"x")
    download.run(paths, a_competition(), str(folder))
    assert_complete(paths)


def test_run_killed_between_its_renames_is_mended(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, a_competition(), str(folder))
    paths.images_dir.rename(paths.data_dir / ".images.replaced")
    said(capsys)
    download.run(paths, a_competition(), None)
    assert said(capsys) == "download pets: up to date\n"
    assert_complete(paths)


def test_archive_without_urls_must_be_brought_by_hand(paths: Paths) -> None:
    message = (
        "pets: train.zip, test.zip, labels.txt must be brought by hand, no URL is open to all; "
        "download them from https://pets.example into a folder DIR and run "
        "'pipeline download pets --from DIR'"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        download.run(paths, a_competition(), None)


def test_base_url_serves_names_and_aliases(
    paths: Paths, site: Website, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/test1.zip"] = site.files.pop("/test.zip")
    download.run(paths, a_competition(), f"{site.url}/")
    assert_complete(paths)
    assert "warning: " in said(capsys)
    num_requests = len(site.requests)
    download.run(paths, a_competition(), site.url)
    assert said(capsys) == "download pets: up to date\n"
    assert len(site.requests) == num_requests


def test_base_url_with_a_password_is_refused(paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"must not hold a password; put it into ~/\.netrc"):
        download.run(paths, a_competition(), "https://me:secret@pets.example")


def mirrored(site: Website, *names: str, **changes: Any) -> Competition:
    """Build the competition whose train.zip has urls; the others have one that works."""
    train = {"name": "train.zip", "urls": [f"{site.url}/{name}" for name in names], **changes}
    others = [{"name": name, "urls": [f"{site.url}/{name}"]} for name in ("test.zip", "labels.txt")]
    return a_competition(archives=[train, *others])


def test_second_mirror_serves_where_the_first_has_another_file(
    paths: Paths, site: Website, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files["/old.zip"] = TEST
    sha256 = hashlib.sha256(TRAIN).hexdigest()
    download.run(paths, mirrored(site, "old.zip", "train.zip", sha256=sha256), None)
    assert_complete(paths)
    warnings = [line for line in said(capsys).splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert f"/old.zip: must have sha256 {sha256}, has " in warnings[0]
    assert warnings[0].endswith(f"; trying {site.url}/train.zip")


def test_last_mirror_that_fails_says_what_to_do(paths: Paths, site: Website) -> None:
    site.files["/page.zip"] = PAGE
    message = (
        r"/page\.zip: must be a zip archive, is a web page.*; run the same command again, or "
        r"download the archives by hand from https://pets\.example into a folder DIR"
    )
    with pytest.raises(DataError, match=message):
        download.run(paths, mirrored(site, "none.zip", "page.zip"), None)


def test_archive_fetched_before_a_failure_is_not_fetched_again(paths: Paths, site: Website) -> None:
    content = site.files.pop("/labels.txt")
    with pytest.raises(DataError, match="404"):
        download.run(paths, mirrored(site, "train.zip"), None)
    assert not paths.archives_dir.exists()
    site.files["/labels.txt"] = content
    download.run(paths, mirrored(site, "train.zip"), None)
    assert_complete(paths)
    assert [path for path, _ in site.requests].count("/train.zip") == 1


def test_fetched_archive_that_cannot_be_unpacked_is_fetched_again(
    paths: Paths, site: Website
) -> None:
    site.files["/train.zip"] = BROKEN
    with pytest.raises(DataError, match="Bad CRC"):
        download.run(paths, mirrored(site, "train.zip"), None)
    site.files["/train.zip"] = TRAIN
    download.run(paths, mirrored(site, "train.zip"), None)
    assert_complete(paths)
    assert [path for path, _ in site.requests].count("/test.zip") == 1


def test_only_the_damaged_archive_is_fetched_again(paths: Paths, site: Website) -> None:
    download.run(paths, mirrored(site, "train.zip"), None)
    (paths.archives_dir / "test.zip").unlink()
    site.requests.clear()
    download.run(paths, mirrored(site, "train.zip"), None)
    assert_complete(paths)
    assert [path for path, _ in site.requests] == ["/test.zip"]


def test_archive_fetched_from_elsewhere_does_not_replace_the_recorded_one(
    paths: Paths, folder: Path, site: Website
) -> None:
    download.run(paths, a_competition(), str(folder))
    site.files = {"/train.zip": TEST}
    with pytest.raises(DataError, match="404"):
        download.run(paths, a_competition(), site.url)
    (paths.images_dir / "train/cat_0.jpg").unlink()
    download.run(paths, a_competition(), None)
    assert_complete(paths)


def test_busy_server_is_waited_for(
    paths: Paths, site: Website, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answers = [status(503, Retry_After="0")]
    download.run(paths, mirrored(site, "train.zip"), None)
    assert_complete(paths)
    assert "answered 503 Service Unavailable; attempt 2 of 5 in 0 s\n" in said(capsys)


def test_second_of_two_downloads_waits_and_finds_nothing_to_do(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, a_competition(), str(folder))
    said(capsys)
    second = threading.Thread(target=download.run, args=(paths, a_competition(), str(folder)))
    with held(paths.data_lock, "a test"):
        second.start()
        time.sleep(0.2)
        assert second.is_alive()
    second.join(timeout=10)
    waiting, done = said(capsys).splitlines()
    assert waiting == (
        f"download pets: waiting for 'a test (process {os.getpid()} on {platform.node()})', which "
        f"holds {paths.data_lock}"
    )
    assert done == "download pets: up to date"


def test_drawn_competition_needs_no_source(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = [{"name": "train.zip"}, {"name": "test.zip"}]
    labels = {"source": "file_name", "pattern": "(?P<label>cat|dog)"}
    drawn = a_competition(
        archives=archives,
        train={"folders": ["train"], "labels": labels},
        synthetic={
            "num_train": 8,
            "num_test": 4,
            "min_side_px": 16,
            "max_side_px": 24,
            "odd_files": False,
            "name_template": "{label}_{index}.jpg",
        },
    )
    download.run(paths, drawn, None)
    assert len(images(paths)) == 12
    assert paths.truth_csv.read_text(encoding="utf-8").count("\n") == 5
    said(capsys)
    download.run(paths, drawn, None)
    assert said(capsys) == "download pets: up to date\n"
    paths.truth_csv.unlink()
    download.run(paths, drawn, None)
    assert paths.truth_csv.exists()


def test_command_prints_one_line_and_fails(tmp_path: Path) -> None:
    arguments = ["download", "cat-12", "--from", str(tmp_path), "--root", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: cat-12: cat_12_train.zip, cat_12_test.zip, train_list.txt must be in "
        f"{tmp_path}, which is empty; put them there and run "
        f"'pipeline download cat-12 --root {tmp_path} --from {tmp_path}'\n"
    )
