"""Folds that machines without a common folder train: what travels there, and what comes back."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.strict import toml_text
from pipeline.data.training_table import load_tables
from pipeline.errors import ArtifactError, DataError
from pipeline.stages import download, prepare, train
from pipeline.store.paths import Paths
from pipeline.training import fold_jobs
from pipeline.training.experiment_run import ExperimentRun
from pipeline.training.fold_jobs import FoldJob, Origin
from pipeline.training.ray_cluster import NODE_ROOT, Outcome, PoolOptions
from tests import tiny


@pytest.fixture
def dealt(workspace, tmp_path, monkeypatch):
    """A fold as it is dealt, the run that it belongs to, and the root of a machine with nothing."""
    paths, competition = workspace
    toml = tmp_path / f"{competition.name}.toml"
    toml.write_text(toml_text(competition.model_dump(mode="json", exclude_unset=True)), "utf-8")
    monkeypatch.setenv(NODE_ROOT, str(tmp_path / "node"))

    def run_here(command, toml, _, root, *__):
        own = Paths(Path(root), competition.name)
        assert Path(toml).is_file()
        if command == "download":
            download.run(own, competition, None)
        else:
            prepare.run(own, competition, workers=1)

    monkeypatch.setattr(fold_jobs, "_run_here", run_here)
    options = PoolOptions(address="auto", source="https://example.org", competition=str(toml))
    run = ExperimentRun(paths, competition, tiny.experiment(), load_tables(paths))
    job = FoldJob(**run.parts(), fold=0, inputs=run.inputs(0), origin=Origin.of(run.paths, options))
    return pickle.loads(pickle.dumps(job)), run, tmp_path / "node"


def brought(job: FoldJob, node: Path) -> Outcome:
    assert job.brings is not None
    files = {one.name: one.read_bytes() for one in (node / job.brings).iterdir()}
    return Outcome(0, "done", files)


def test_a_fold_trained_elsewhere_has_the_bytes_of_one_trained_here(dealt, workspace, tmp_path):
    job, run, node = dealt
    assert not node.exists()
    job.run()
    job.take(brought(job, node))
    assert run.wanted([0]) == []
    files = run.paths.experiment("tiny")
    assert files.log(0).read_text(encoding="utf-8") == "done"
    made = {one.name: one.read_bytes() for one in files.fold(0).fold_dir.iterdir()}
    run.paths.experiment("tiny").fold(0).stamp.unlink()
    paths, competition = workspace
    train.run(paths, competition, [tiny.write_toml(tmp_path / "tiny.toml")], [0], [])
    for name in ("checkpoint.safetensors", "oof.npz", "test.npz"):
        assert made[name] == (files.fold(0).fold_dir / name).read_bytes()


def test_what_is_prepared_is_not_fetched_again(dealt, monkeypatch):
    job, _, node = dealt
    job.run()
    monkeypatch.setattr(fold_jobs, "_run_here", None)
    job.run()
    assert (node / "folds").is_dir()


def test_other_images_are_refused_by_name(dealt):
    job, *_ = dealt
    other = dataclasses.replace(job, inputs=job.inputs | {"test": "0" * 64})
    with pytest.raises(DataError, match=r"must hold what the machine that .+ has, test diffe"):
        other.run()
    changed = job.inputs["config"] | {"seed": 7}
    other = dataclasses.replace(job, inputs=job.inputs | {"config": changed})
    with pytest.raises(DataError, match=r"has, config\.seed differ; give both the same archives"):
        other.run()


def test_what_comes_back_broken_is_not_kept(dealt):
    job, run, node = dealt
    job.run()
    outcome = brought(job, node)
    broken = outcome.files | {"oof.npz": b"half"}
    with pytest.raises(DataError, match=r"fold0: must be brought back whole, and made from what"):
        job.take(outcome._replace(files=broken))
    assert run.wanted([0]) == [0]
    job.take(outcome._replace(code=1))  # of one that failed only the log is kept
    assert run.wanted([0]) == [0]


def test_a_machine_that_cannot_fetch_archives_says_why(monkeypatch):
    answer: Any = subprocess.CompletedProcess([], 1, stderr="a line\nerror: a.zip: isn't there\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    line = r"^'pipeline download demo' must succeed on .+, doesn't: a\.zip: isn't there$"
    with pytest.raises(ArtifactError, match=line):
        fold_jobs._run_here("download", "demo")
    assert sys.executable
