"""Every shipped competition from its archives to the grade, on a drawn edition of its layout."""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config.competition import Competition
from pipeline.config.strict import locate_toml
from pipeline.data.drawing.draw_competition import draw_competition
from pipeline.data.resolution import resolve
from pipeline.errors import DataError
from pipeline.scoring.metrics import get_metric
from pipeline.stages import download, folds, grade, prepare, submit, validate
from pipeline.store.atomic import write_text
from pipeline.store.freshness import file_sha256
from pipeline.store.paths import Paths
from pipeline.store.predictions import Likeliest, Predictions, load_predictions
from pipeline.store.tables import ANSWER, load_test, load_train
from tests import tiny
from tests.editions import ALL_SHIPPED, BREEDS, edition, shipped

BUNDLED = ["histopathologic-cancer-detection", "plant-pathology-2020"]

Draw = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """Draw an edition once; gives the folder of its archives and the truth."""

    @cache
    def drawn(name: str) -> tuple[Path, Path]:
        root = tmp_path_factory.mktemp(name)
        draw_competition(edition(name), root / "folder", root / "truth.csv")
        return root / "folder", root / "truth.csv"

    return drawn


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
    test, train = load_test(paths), load_train(paths)
    ids = test["image_id"].tolist()
    files = paths.experiment("answers")
    for path, image_ids, told in (
        (files.test, ids, [labels[one] for one in test[ANSWER if ANSWER in test else "image_id"]]),
        (files.oof, train["image_id"].tolist(), train["label"].tolist()),
    ):
        probs = np.array(
            [[float(one)] for one in told]
            if competition.is_number
            else [
                [name in competition.labels_in(one) for name in competition.classes] for one in told
            ]
        ).astype(np.float32)
        sha256, classes = file_sha256(paths.folds_csv), list(competition.classes)
        kind = (competition.has_several, competition.is_number)
        Predictions(image_ids, probs, classes, sha256, *kind).save(path)
    for path in (files.config, files.metrics, files.stamp):
        write_text(path, json.dumps({}))


def ids_of(path: Path) -> list[str]:
    return [line.partition(",")[0] for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", ALL_SHIPPED)
def test_answers_of_a_drawn_edition_are_written_valid_and_graded_perfect(
    name, draw, tmp_path, capsys
):
    folder, truth = draw(name)
    paths, competition = bring(name, folder, tmp_path)
    folds.run(paths, competition, 2, seed=0)
    save_answers(paths, competition, truth)
    submit.run(paths, competition, "answers")
    submission = paths.submission("answers")
    validate.run(paths, competition, submission)
    capsys.readouterr()
    grade.run(paths, competition, submission, truth)
    out = capsys.readouterr().out
    best = "1.00000" if get_metric(competition.metric).greater_is_better else "0.00000"
    assert re.search(rf"{competition.metric} \(95 % interval\) *│ {best} \[", out), out
    sample = shipped(name).submission.sample
    if sample is not None:
        (path,) = filter(Path.is_file, paths.data_dir.rglob(sample))
        validate.run(paths, competition, path)
        assert ids_of(submission) == ids_of(path)


@pytest.mark.parametrize("name", [*BUNDLED, "cat-12", "aerial-cactus-identification"])
def test_folders_unpacked_by_hand_give_the_same_tables_in_place(name, draw, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(draw(name)[0], folder)
    packed, _ = bring(name, folder, tmp_path / "packed")
    for archive in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        archive.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    in_place, _ = bring(name, folder, tmp_path / "in-place")
    assert all(path.is_symlink() for path in in_place.images_dir.iterdir())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    for one, other in (
        (packed.train_csv, in_place.train_csv),
        (packed.test_csv, in_place.test_csv),
    ):
        tables = [pd.read_csv(path, dtype=str) for path in (one, other)]
        ours, theirs = (table.drop(columns=["path", "group"]) for table in tables)
        assert ours.equals(theirs)


def run_stages(name: str, draw: Draw, tmp_path: Path) -> dict[str, str]:
    """Run the commands from download to status with a tiny network; what each of them said."""
    folder, truth = draw(name)
    text = locate_toml(name, "competitions").read_text(encoding="utf-8")
    path = tmp_path / f"{name}.toml"
    path.write_text(text.partition("cpu = ")[0] + 'cpu = ["t.toml"]\ncuda = ["t.toml"]\n', "utf-8")
    tiny.write_toml(tmp_path / "t.toml")
    submission = Paths(tmp_path, name).submission("ensemble")
    told: dict[str, str] = {}
    for stage, *arguments in (
        ["download", "--from", folder],
        ["prepare", "--workers", 1],
        ["folds", "--num-folds", 2],
        ["train"],
        ["ensemble"],
        ["submit"],
        ["validate", submission],
        ["grade", submission, "--truth", truth],
        ["status"],
    ):
        command = [stage, path, *arguments, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, command)))
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"
        told[str(stage)] = result.output
    return told


def test_every_stage_runs_on_lists_of_classes_and_a_class_of_one_image(draw, tmp_path):
    """The whale that has one photo is learned from in both folds, and in no score."""
    name = "whale-categorization-playground"
    told = run_stages(name, draw, tmp_path)
    assert "10 images in 2 folds" in told["folds"]
    assert "OOF map_at_5 " in told["train"]
    assert "map_at_5 (95 % interval)" in told["grade"]
    paths = Paths(tmp_path, name)
    for experiment in ("t", "ensemble"):
        metrics = json.loads(paths.experiment(experiment).metrics.read_text("utf-8"))
        assert (metrics["num_images"], metrics["num_always_learned"]) == (10, 1)
    lines = paths.submission("ensemble").read_text("utf-8").splitlines()
    assert lines[0] == "Image,Id"
    assert all(len(set(line.partition(",")[2].split(" "))) == 5 for line in lines[1:])
    for command in (["suspects", "--experiment", "t"], ["tta", "--experiment", "t"], ["report"]):
        stage, *arguments = command
        typed = [stage, tmp_path / f"{name}.toml", *arguments, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, typed)))
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("plant-pathology-2021-fgvc8", marks=pytest.mark.slow),
        "ranzcr-clip-catheter-line-classification",
        pytest.param("rsna-2022-cervical-spine-fracture-detection", marks=pytest.mark.slow),
    ],
)
def test_every_stage_runs_on_images_with_several_labels(name, draw, tmp_path):
    told = run_stages(name, draw, tmp_path)
    paths = Paths(tmp_path, name)
    competition = resolve(shipped(name), paths)
    metric = competition.metric
    assert f"OOF {metric} " in told["train"]
    assert f"{metric} (95 % interval)" in told["grade"]
    assert "confusion" not in told["grade"]
    metrics = json.loads(paths.experiment("ensemble").metrics.read_text("utf-8"))
    assert metrics["method"] == "mean"
    assert metrics["calibration"] is None
    oof = load_predictions(paths.experiment("t").oof, "")
    assert oof.has_several
    sums = oof.probs.sum(axis=1)
    assert np.abs(sums - 1).max() > 0.05
    for command in (["tta", "--experiment", "t"], ["report"]):
        stage, *arguments = command
        typed = [stage, tmp_path / f"{name}.toml", *arguments, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, typed)))
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"


@pytest.mark.parametrize(
    "name",
    [
        "aptos2019-blindness-detection",
        "petfinder-pawpularity-score",
        "rsna-breast-cancer-detection",
        pytest.param("rsna-miccai-brain-tumor-radiogenomic-classification", marks=pytest.mark.slow),
    ],
)
def test_every_stage_runs_on_numbers_ordered_classes_and_answers_of_several_images(
    name, draw, tmp_path
):
    told = run_stages(name, draw, tmp_path)
    paths = Paths(tmp_path, name)
    competition = resolve(shipped(name), paths)
    assert f"OOF {competition.metric} " in told["train"]
    assert f"{competition.metric} (95 % interval)" in told["grade"]
    assert ("confusion" in told["grade"]) == (not competition.is_number)
    metrics = json.loads(paths.experiment("t").metrics.read_text("utf-8"))
    assert metrics.get("num_answers") == (6 if competition.answers else None)
    for command in (["tta", "--experiment", "t"], ["report"]):
        stage, *arguments = command
        typed = [stage, tmp_path / f"{name}.toml", *arguments, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, typed)))
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"


def test_a_network_learns_numbers_and_predicts_them_in_their_range(draw, tmp_path):
    name = "petfinder-pawpularity-score"
    paths, competition = bring(name, draw(name)[0], tmp_path)
    folds.run(paths, competition, 2, seed=0)
    smoothing = "[train]\nepochs = 1\n[train.loss]\nlabel_smoothing = 0.1\n"
    tuned = tiny.write_toml(tmp_path / "net.toml", f'method = "finetune"\n{smoothing}')
    pictures, out = next(paths.images_dir.rglob("test")), tmp_path / "predicted.csv"
    for stage, *arguments in (
        ["train", name, "--experiment", tuned],
        ["report", name],
        [
            "predict",
            name,
            "--experiment",
            "net",
            "--images",
            pictures,
            "--out",
            tmp_path / "predicted.csv",
        ],
    ):
        command = [stage, *arguments, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, command)))
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"
    for path in (paths.experiment("net").oof, paths.experiment("net").test):
        numbers = load_predictions(path, "").probs
        assert 1 <= numbers.min() <= numbers.max() <= 100
    predicted = pd.read_csv(out)
    assert predicted["label"].between(1, 100).all()
    assert set(predicted) == {"image", "label", "error"}


def test_every_stage_runs_on_probabilities_a_sample_and_one_hot_labels(draw, tmp_path):
    """With a tiny untrained network: the metric isn't a mean of images, the header the sample's."""
    name = "plant-pathology-2020"
    told = run_stages(name, draw, tmp_path)
    submission = Paths(tmp_path, name).submission("ensemble")
    assert "OOF mean_column_auc " in told["train"]
    assert "mean_column_auc (95 % interval)" in told["grade"]
    assert "mean_column_auc, out of fold" in told["status"]
    lines = submission.read_text("utf-8").splitlines()
    assert lines[0] == "image_id,healthy,multiple_diseases,rust,scab"
    assert all(re.fullmatch(r"Test_\d(,[01]\.\d{8}){4}", line) for line in lines[1:])


def test_breeds_are_120_and_sorted():
    assert len(BREEDS) == 120
    assert sorted(BREEDS) == list(BREEDS)


def test_archive_of_which_images_are_made_is_not_read_unpacked(draw, tmp_path):
    name = "statoil-iceberg-classifier-challenge"
    folder = tmp_path / "folder"
    shutil.copytree(draw(name)[0], folder)
    (folder / "train.json.7z").unlink()
    (folder / "train.json").mkdir()
    (folder / "train.json" / "train.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match=r"train\.json: must be packed as train\.json\.7z"):
        bring(name, folder, tmp_path)


def test_lines_of_images_and_classes_are_graded_by_a_table_of_either_form(draw, tmp_path, capsys):
    name = "rsna-2022-cervical-spine-fracture-detection"
    folder, truth = draw(name)
    paths, competition = bring(name, folder, tmp_path)
    folds.run(paths, competition, 2, seed=0)
    save_answers(paths, competition, truth)
    submit.run(paths, competition, "answers")
    labels = pd.read_csv(truth, dtype=str)
    rows = [
        (f"{image}_{one}", int(f"|{one}|" in told))
        for image, told in labels.to_numpy()
        for one in competition.classes
    ]
    table = pd.DataFrame(rows, columns=["row_id", "fractured"])
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "rows.csv", index=False)
    capsys.readouterr()
    grade.run(paths, competition, paths.submission("answers"), tmp_path / "rows.csv")
    assert "0.00000 [" in capsys.readouterr().out
    table[1:].to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError, match="each image must have 8 lines, found 1 otherwise"):
        grade.run(paths, competition, paths.submission("answers"), tmp_path / "rows.csv")


def test_every_stage_runs_where_the_likeliest_classes_alone_are_kept(draw, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.config.competition.MOST_DENSE", 2)
    name = "herbarium-2021-fgvc8"
    told = run_stages(name, draw, tmp_path)
    paths = Paths(tmp_path, name)
    assert "OOF macro_f1 " in told["train"]
    assert "macro_f1 (95 % interval)" in told["grade"]
    assert isinstance(load_predictions(paths.experiment("ensemble").oof, "").probs, Likeliest)
    metrics = json.loads(paths.experiment("ensemble").metrics.read_text("utf-8"))
    assert (metrics["method"], metrics["calibration"]) == ("mean", None)
    for stage, exit_code in (("report", 0), ("tta", 1), ("suspects", 1)):
        experiment = [] if stage == "report" else ["--experiment", "t"]
        typed = [stage, tmp_path / f"{name}.toml", *experiment, "--root", tmp_path]
        result = CliRunner().invoke(app, list(map(str, typed)))
        assert result.exit_code == exit_code, f"{stage}: {result.output} {result.exception!r}"
