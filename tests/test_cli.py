"""The command line as a person meets it: mistakes and a whole way through."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import pipeline
from pipeline.cli import app
from pipeline.config.competition import load_competition
from pipeline.config.strict import built_in_names, locate_toml
from pipeline.errors import StoppedError
from pipeline.store.paths import Paths
from tests import tiny

SMALL = "num_test = 12\nmin_side_px = 40\nmax_side_px = 56"


def invoke(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment)


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


def fails(result: Result, line: str) -> None:
    """Check that a command failed with this one line and nothing else."""
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr == f"error: {line}\n"


MISTAKES = {
    "an unknown competition": (
        ["status", "catdog"],
        "catdog: must be one of {known} or the path of a .toml file; did you mean 'cat-dog'?",
    ),
    "a competition's file that is not there": (
        ["status", "mine/none.toml"],
        "mine/none.toml: must be a TOML file, there is none; check the path",
    ),
    "prepare before download": (
        ["prepare", "demo"],
        "{root}/data/demo/images: must hold the unpacked archives, no complete download is "
        "recorded; run 'pipeline download demo --root {root}'",
    ),
    "folds before prepare": (
        ["folds", "demo"],
        "{root}/data/demo/train.csv: must exist, is missing; "
        "run 'pipeline prepare demo --root {root}'",
    ),
    "train before prepare": (
        ["train", "demo"],
        "{root}/data/demo/train.csv: must exist, is missing; "
        "run 'pipeline prepare demo --root {root}'",
    ),
    "a key of --set that is misspelled": (
        ["train", "demo", "--set", "head.l3=1"],
        "--set head.l3=1: unknown key 'head.l3'; did you mean 'head.l2'?",
    ),
    "a value of --set of the wrong type": (
        ["train", "demo", "--set", "head.l2=high"],
        "lite0-probe.toml: 'head.l2': input should be a valid number, got 'high'",
    ),
    "an unknown experiment": (
        ["train", "demo", "--experiment", "lite0-prob"],
        "lite0-prob: must be one of {experiments} or the path of a .toml file; "
        "did you mean 'lite0-probe'?",
    ),
    "ensemble before train": (
        ["ensemble", "demo"],
        "{root}/artifacts/demo: must hold trained experiments, holds none; "
        "run 'pipeline train demo --root {root}'",
    ),
    "suspects before folds": (
        ["suspects", "demo"],
        "{root}/folds/demo.csv: must exist, is missing; run 'pipeline folds demo --root {root}'",
    ),
    "a method that does not exist": (
        ["ensemble", "demo", "--method", "median"],
        "--method median: must be one of auto, mean, weighted, calibrated, rank, stack"
        "; did you mean 'mean'?",
    ),
    "submit before prepare": (
        ["submit", "demo"],
        "{root}/data/demo/test.csv: must exist, is missing; "
        "run 'pipeline prepare demo --root {root}'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_exit_code_1_and_one_line(mistake, tmp_path):
    arguments, line = MISTAKES[mistake]
    folders = {"known": "competitions", "experiments": "experiments"}
    names = {key: ", ".join(built_in_names(folder)) for key, folder in folders.items()}
    result = invoke(*arguments, "--root", tmp_path)
    fails(result, line.format(root=tmp_path, **names))


def test_advised_commands_name_the_competition_as_the_user_did(tmp_path):
    path = tmp_path / "my plants.toml"
    shipped = Path(pipeline.__file__).parent / "competitions" / "demo.toml"
    path.write_text('name = "plants"\n' + shipped.read_text(encoding="utf-8"), encoding="utf-8")
    result = invoke("folds", path, "--root", tmp_path / "a root")
    advised = f"run 'pipeline prepare '{path}' --root '{tmp_path / 'a root'}''"
    assert result.stderr.endswith(f"is missing; {advised}\n")


def test_in_a_process_of_its_own_a_mistake_is_one_line_without_a_traceback(tmp_path):
    done = process("folds", "demo", PIPELINE_ROOT=str(tmp_path))
    path = Paths(tmp_path, "demo").train_csv
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {path}: must exist, is missing; run 'pipeline prepare demo'\n"


def test_work_that_was_stopped_is_exit_code_130_as_shells_say_it(monkeypatch):
    def stop(*_):
        raise StoppedError("train demo: stopped; run the same command again")

    monkeypatch.setattr("pipeline.stages.status.run", stop)
    result = invoke("status", "demo")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "error: train demo: stopped; run the same command again\n"


def test_what_is_no_mistake_of_the_user_is_not_hidden(monkeypatch, tmp_path):
    def fail(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("pipeline.stages.status.run", fail)
    assert isinstance(invoke("status", "demo", "--root", tmp_path).exception, ZeroDivisionError)


@pytest.fixture
def own_competition(tmp_path):
    """A competition file of one's own, with two tiny experiments beside it."""
    text = locate_toml("demo", "competitions").read_text(encoding="utf-8")
    text = text.replace("num_train = 600", "num_train = 48").replace("num_test = 200", SMALL)
    own = 'cpu = ["first.toml", "second.toml"]\ncuda = ["first.toml", "second.toml"]\n'
    path = tmp_path / "mine" / "tiny-demo.toml"
    path.parent.mkdir()
    path.write_text(text.partition("cpu = ")[0] + own, encoding="utf-8")
    tiny.write_toml(path.with_name("first.toml"))
    tiny.write_toml(path.with_name("second.toml"), "seed = 1\n")
    return path


def test_all_stages_end_to_end(own_competition, tmp_path):
    root = tmp_path / "root"
    paths = Paths(root, "tiny-demo")

    def stage(name: str, *arguments: object) -> Result:
        result = invoke(name, own_competition, *arguments, "--root", root)
        assert result.exit_code == 0, f"{name}: {result.output} {result.exception!r}"
        return result

    stage("download")
    stage("prepare", "--workers", 1)
    stage("folds", "--num-folds", 2)
    trained = stage("train").stderr
    assert "train tiny-demo first: OOF accuracy" in trained
    assert "train tiny-demo second: OOF accuracy" in trained
    ensemble = stage("ensemble")
    assert "first, second differ in nothing but the seed" in ensemble.stderr
    assert all(method in ensemble.stdout for method in ("mean", "weighted", "stack", "nested"))
    assert "training images" in stage("suspects").stdout
    stage("submit")
    submission = paths.submission("ensemble")
    assert re.fullmatch(r"(\d+,[01]\n){12}", submission.read_text(encoding="utf-8"))
    stage("validate", submission)
    assert "accuracy" in stage("grade", submission, "--truth", paths.truth_csv).stdout
    scored = invoke("log-score", submission, "--public", 0.625, "--root", root)
    assert scored.stdout.endswith("public 0.625\n")
    told = stage("status").stdout
    assert "0.6250" in told
    assert all(name in told for name in ("first", "second", "ensemble *"))
    for name in ("download", "prepare", "folds", "train", "ensemble"):
        arguments: list[object] = ["--num-folds", 2] if name == "folds" else []
        assert "up to date" in stage(name, *arguments).stderr


def test_a_competition_of_ones_own_names_its_experiments_by_path(own_competition):
    cpu = load_competition(str(own_competition)).experiments.cpu
    assert [Path(name) for name in cpu] == [
        own_competition.with_name("first.toml"), own_competition.with_name("second.toml"),
    ]  # fmt: skip
