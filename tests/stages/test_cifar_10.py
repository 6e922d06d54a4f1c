"""CIFAR-10 from its archive to the grade, on a drawn edition of a few images."""

import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config.competition import Competition, load_competition
from pipeline.data.archives.cifar import TEST_BATCH, TRAIN_BATCHES
from pipeline.data.drawing.draw_competition import draw_competition
from pipeline.errors import DataError
from pipeline.stages import download, grade, prepare
from pipeline.store.paths import Paths
from pipeline.store.tables import load_test, load_train

ARCHIVE = "cifar-10-python.tar.gz"


def tiny_cifar() -> Competition:
    competition = load_competition("cifar-10-demo")
    assert competition.synthetic is not None
    drawn = competition.synthetic.model_copy(update={"num_train": 40, "num_test": 10})
    return competition.model_copy(update={"synthetic": drawn})


def from_a_folder(**changes: object) -> Competition:
    """CIFAR-10 itself, of which the drawn edition has the layout but not the hash."""
    competition = load_competition("cifar-10")
    archive = competition.archives[0].model_copy(update={"md5": None, **changes})
    return competition.model_copy(update={"archives": (archive,)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's copy of the archive, and the truth as it was drawn."""
    folder = tmp_path_factory.mktemp("cifar")
    draw_competition(tiny_cifar(), folder, folder / "truth.csv")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path, "cifar-10")


def batch_rows(folder: Path, name: str) -> tuple[np.ndarray, list[int]]:
    """Read a batch as CIFAR-10's own page says to."""
    with tarfile.open(folder / ARCHIVE) as archive:
        file = archive.extractfile(f"cifar-10-batches-py/{name}")
        assert file is not None
        batch = pickle.loads(file.read())
    return batch[b"data"], batch[b"labels"]


@pytest.mark.parametrize("origin", ["drawn", "brought"])
def test_tables_pictures_and_truth_are_those_of_the_batches(
    paths: Paths, folder: Path, origin: str
) -> None:
    competition = tiny_cifar() if origin == "drawn" else from_a_folder()
    download.run(paths, competition, None if origin == "drawn" else str(folder))
    prepare.run(paths, competition, workers=1)
    train, test = load_train(paths), load_test(paths)
    assert Counter(train["label"]) == dict.fromkeys(competition.classes, 4)
    assert (train["image_id"].str.partition("/")[0] == train["label"]).all()
    assert sorted(test["image_id"], key=lambda name: int(name[:-4])) == [
        f"{number}.png" for number in range(10)
    ]
    for table, names in ((train, TRAIN_BATCHES), (test, (TEST_BATCH,))):
        batches = [batch_rows(folder, name) for name in names]
        rows = np.concatenate([rows for rows, _ in batches])
        targets = [target for _, targets in batches for target in targets]
        for path in table["path"]:
            number = int(Path(path).stem)
            pixels = np.asarray(Image.open(paths.images_dir / path))
            assert np.array_equal(pixels, rows[number].reshape(3, 32, 32).transpose(1, 2, 0))
            if table is train:
                assert Path(path).parent.name == competition.classes[targets[number]]
    assert paths.truth_csv.read_bytes() == (folder / "truth.csv").read_bytes()
    truth = pd.read_csv(paths.truth_csv)
    classes = [competition.classes[target] for target in batch_rows(folder, TEST_BATCH)[1]]
    assert truth["label"].tolist() == classes


def test_truth_as_a_submission_is_graded_perfect(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    competition = from_a_folder()
    download.run(paths, competition, str(folder))
    prepare.run(paths, competition, workers=1)
    truth = paths.truth_csv.read_text("utf-8")
    submission = truth.replace("image_id,", "id,").replace(".png", "")
    (paths.root / "mine.csv").write_text(submission, encoding="utf-8")
    capsys.readouterr()
    grade.run(paths, competition, paths.root / "mine.csv", paths.truth_csv)
    assert "accuracy (95 % interval) │ 1.00000" in capsys.readouterr().out


def test_lost_truth_is_made_again_without_the_source(
    paths: Paths, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download.run(paths, from_a_folder(), str(folder))
    download.run(paths, from_a_folder(), None)
    assert "download cifar-10: up to date" in capsys.readouterr().err
    paths.truth_csv.unlink()
    download.run(paths, from_a_folder(), None)
    assert paths.truth_csv.read_bytes() == (folder / "truth.csv").read_bytes()
    names = {path.name for path in paths.data_dir.iterdir()}
    assert names == {"archives", "images", "truth.csv", "download.json", ".lock"}


def test_archive_with_another_md5_is_refused(paths: Paths, folder: Path) -> None:
    message = rf"{ARCHIVE}: must have md5 c58f30108f718f92721af3b95e74349a, has [0-9a-f]{{32}}; put"
    with pytest.raises(DataError, match=message):
        download.run(paths, load_competition("cifar-10"), str(folder))


def test_archive_with_other_classes_leaves_what_stood_there(paths: Paths, folder: Path) -> None:
    download.run(paths, from_a_folder(), str(folder))
    before = {path: path.stat().st_mtime_ns for path in paths.images_dir.rglob("*")}
    others = ("plane", *from_a_folder().classes[1:])
    competition = from_a_folder().model_copy(update={"classes": others})
    with pytest.raises(DataError, match=r"must name the competition's classes \['plane', .*--from"):
        download.run(paths, competition, str(folder))
    assert {path: path.stat().st_mtime_ns for path in paths.images_dir.rglob("*")} == before
    assert paths.truth_csv.exists()
    names = {path.name for path in paths.data_dir.iterdir()}
    assert names == {"archives", "images", "truth.csv", "download.json", ".lock"}
