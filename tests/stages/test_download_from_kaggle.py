"""`download` with Kaggle's client, against a stand-in for the service."""

import io
import sys
import zipfile

import pytest

from pipeline.data.archives import fetch_all
from pipeline.errors import DataError, DownloadError
from pipeline.stages import download
from pipeline.store.paths import Paths
from pipeline.submission import kaggle as kaggle_service
from tests.stages.test_download import LABELS, TEST, TRAIN, a_competition
from tests.stages.test_submit_to_kaggle import client, kaggle

__all__ = ["client", "kaggle"]  # fixtures


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "root", "pets")


def packed(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


ALL = packed(train_zip=TRAIN, test_zip=TEST, labels_txt=LABELS)


def num_images(paths: Paths) -> int:
    return len(list(paths.images_dir.rglob("*.jpg")))


@pytest.mark.usefixtures("client")
def test_archives_without_urls_come_with_the_client_that_is_installed(paths, kaggle, capsys):
    competition = a_competition(kaggle="drawn-pets")
    kaggle.data = ALL
    download.run(paths, competition, None)
    assert "fetching all data of drawn-pets with Kaggle's client" in capsys.readouterr().err
    assert num_images(paths) == 3
    assert (paths.archives_dir / "labels.txt").read_bytes() == LABELS
    assert sorted(path.name for path in paths.data_dir.glob(".*")) == [".lock"]
    kaggle.refusals = {"DownloadDataFiles": (500, "Down")}
    download.run(paths, competition, None)
    assert "up to date" in capsys.readouterr().err


@pytest.mark.usefixtures("client")
def test_one_archive_of_all_is_what_the_client_brings(paths, kaggle):
    archives = [{"name": "drawn-pets.zip"}]
    kaggle.data = packed(train_zip=TRAIN)
    download.run(paths, a_competition(kaggle="drawn-pets", archives=archives), None)
    assert num_images(paths) == 2


@pytest.mark.usefixtures("client")
def test_what_kaggle_refuses_or_lacks_is_one_line(paths, kaggle):
    competition = a_competition(kaggle="drawn-pets")
    kaggle.refusals = {"DownloadDataFiles": (403, "You must accept this competition's rules")}
    with pytest.raises(DownloadError, match="drawn-pets: wasn't given by Kaggle: You must accept"):
        download.run(paths, competition, None)
    kaggle.refusals = {}
    kaggle.data = packed(train_zip=TRAIN, labels_txt=LABELS)
    with pytest.raises(DataError, match=r"pets: test\.zip \(or test1\.zip\) must be in"):
        download.run(paths, competition, None)
    assert not paths.images_dir.exists()


@pytest.mark.usefixtures("client")
def test_download_that_stops_is_given_up(paths, kaggle, monkeypatch):
    monkeypatch.setattr(kaggle_service, "IDLE_SECONDS", 0.3)
    kaggle.hanging = {"GET"}
    with pytest.raises(DownloadError, match="wasn't given by Kaggle: nothing came within"):
        download.run(paths, a_competition(kaggle="drawn-pets"), None)


@pytest.mark.usefixtures("client")
def test_without_credentials_there_is_the_way_by_hand(paths, monkeypatch, capsys):
    monkeypatch.delenv("KAGGLE_KEY")
    with pytest.raises(DataError, match=r"must be brought by hand.* or make a token on kaggle"):
        download.run(paths, a_competition(kaggle="drawn-pets"), None)
    assert "download pets: must find credentials in KAGGLE_API_TOKEN" in capsys.readouterr().err


def test_without_the_client_the_message_says_how_to_get_it(paths, monkeypatch):
    for module in (download, fetch_all):
        monkeypatch.setattr(module, "is_installed", lambda _: False)
    install = f"or run '{sys.executable} -m pip install kaggle six', make a token"
    with pytest.raises(DataError, match=install):
        download.run(paths, a_competition(kaggle="drawn-pets"), None)
    with pytest.raises(DataError, match=r"--from DIR'$"):
        download.run(paths, a_competition(), None)
