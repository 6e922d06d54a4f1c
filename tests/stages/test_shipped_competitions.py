"""Every shipped competition from its archives to the grade, on a drawn edition of its layout."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.atomic import write_text
from pipeline.competition import Competition
from pipeline.freshness import file_sha256
from pipeline.images.synthetic import draw_competition
from pipeline.paths import Paths
from pipeline.predictions import Predictions
from pipeline.resolution import resolve
from pipeline.stages import download, folds, grade, prepare, submit, validate
from pipeline.strict import built_in_names
from pipeline.tables import load_test
from tests.editions import BREEDS, edition, shipped

SHIPPED = built_in_names("competitions")
BUNDLED = ["dog-breed-identification", "histopathologic-cancer-detection", "plant-pathology-2020"]


def bring(name: str, folder: Path, root: Path) -> tuple[Paths, Competition]:
    """Download and prepare what lies in a folder."""
    competition = shipped(name)
    paths = Paths(root, name)
    download.run(paths, competition, str(folder))
    prepare.run(paths, competition, workers=1)
    return paths, resolve(competition, paths)


def save_answers(paths: Paths, competition: Competition, truth: Path) -> None:
    """Leave the right answers as an experiment, as `train` leaves its predictions."""
    labels = dict(pd.read_csv(truth, dtype=str, keep_default_na=False).to_numpy())
    ids = load_test(paths)["image_id"].tolist()
    targets = [competition.classes.index(labels[image_id]) for image_id in ids]
    probs = np.eye(competition.num_classes, dtype=np.float32)[targets]
    files = paths.experiment("answers")
    classes = list(competition.classes)
    Predictions(ids, probs, classes, file_sha256(paths.folds_csv)).save(files.test)
    for path in (files.config, files.metrics, files.stamp):
        write_text(path, json.dumps({}))


@pytest.mark.parametrize("name", SHIPPED)
def test_answers_of_a_drawn_edition_are_written_valid_and_graded_perfect(name, tmp_path, capsys):
    folder, truth = tmp_path / "folder", tmp_path / "truth.csv"
    draw_competition(edition(name), folder, truth)
    paths, competition = bring(name, folder, tmp_path / "root")
    folds.run(paths, competition, 2, seed=0)
    save_answers(paths, competition, truth)
    submit.run(paths, competition, "answers")
    validate.run(paths, competition, paths.submission("answers"))
    capsys.readouterr()
    grade.run(paths, competition, paths.submission("answers"), truth)
    out = capsys.readouterr().out
    best = "0.0000" if competition.metric == "log_loss" else "1.0000"
    assert re.search(rf"{competition.metric} \(95 % interval\) *│ {best} \[", out), out
    assert "warning" not in out


SAMPLED = [name for name in SHIPPED if shipped(name).submission.sample]


@pytest.mark.parametrize("name", SAMPLED)
def test_sample_submission_is_valid_and_its_order_is_that_of_the_submission(name, tmp_path):
    draw_competition(edition(name), tmp_path / "folder", tmp_path / "truth.csv")
    paths, competition = bring(name, tmp_path / "folder", tmp_path / "root")
    (sample,) = paths.data_dir.rglob(str(shipped(name).submission.sample))
    validate.run(paths, competition, sample)
    folds.run(paths, competition, 2, seed=0)
    save_answers(paths, competition, tmp_path / "truth.csv")
    submit.run(paths, competition, "answers")
    ours, theirs = (
        [line.partition(",")[0] for line in path.read_text("utf-8").splitlines()]
        for path in (paths.submission("answers"), sample)
    )
    assert ours == theirs
    assert ours[1:] != sorted(ours[1:]) or name in NUMBERED


# Their drawn ids ascend; those of the others are random, as the file names are.
NUMBERED = {"cifar-10-kaggle", "dogs-vs-cats-redux", "plant-pathology-2020"}


@pytest.mark.parametrize("name", [*BUNDLED, "cat-12", "aerial-cactus-identification"])
def test_folders_unpacked_by_hand_give_the_same_tables_in_place(name, tmp_path):
    folder = tmp_path / "folder"
    draw_competition(edition(name), folder, tmp_path / "truth.csv")
    packed, _ = bring(name, folder, tmp_path / "packed")
    for archive in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(archive) as file:
            names = {member.partition("/")[0] for member in file.namelist()}
            is_flat = names == {archive.stem} or name in BUNDLED
            file.extractall(folder if is_flat else folder / archive.stem)
        archive.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    in_place, _ = bring(name, folder, tmp_path / "in-place")
    assert all(path.is_symlink() for path in in_place.images_dir.iterdir())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    for one, other in (
        (packed.train_csv, in_place.train_csv),
        (packed.test_csv, in_place.test_csv),
    ):
        tables = [
            pd.read_csv(path, dtype=str).drop(columns=["path", "group"]) for path in (one, other)
        ]
        assert tables[0].equals(tables[1])


def test_breeds_are_120_and_sorted():
    assert len(BREEDS) == 120
    assert sorted(BREEDS) == list(BREEDS)
