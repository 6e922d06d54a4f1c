"""The stage `ablate` with a tiny untrained network on the drawn demo of two folds."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ConfigError
from pipeline.stages import ablate, train
from pipeline.store.predictions import load_predictions
from pipeline.store.results import list_results
from pipeline.training.probe import Probe
from tests import tiny

FINETUNE = """
method = "finetune"
train = { epochs = 1, batch_size = 16 }
"""
PICTURES = {"differences.png", "curves.png", "tsne.png", "gaps.png"}


@pytest.fixture
def site(workspace, tmp_path):
    """Paths, competition, the experiment's file and the folder that is filled."""
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "tiny.toml")
    return paths, competition, path, paths.ablation("tiny")


def run(site, recipes="none,light", num_seeds=2, overrides=()):
    paths, competition, path, _ = site
    ablate.run(paths, competition, ablate.Options(path, recipes, num_seeds, overrides))


def rows_of(site):
    record = json.loads(site[3].record.read_text(encoding="utf-8"))
    return {row["recipe"]: row for row in record["recipes"]}


def test_the_command_compares_recipes_and_says_its_verdicts(site):
    paths, competition, path, out = site
    command = ["ablate", competition.name, "--experiment", path, "--recipes", "none,light,heavy"]
    command += ["--seeds", "1", "--set", "head.l2=0.1", "--root", str(paths.root)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    for recipe in ("light", "heavy"):
        [verdict] = [line for line in lines if line.startswith(f"{recipe}: ")]
        assert rows_of(site)[recipe]["accuracy_verdict"] in verdict
    written = {file.name for file in out.ablation_dir.glob("[!.]*") if file.is_file()}
    assert written == {"ablation.json", "ablation.csv", "curves.csv", "stamp.json", *PICTURES}
    config = json.loads(out.training("heavy", 0).config.read_text(encoding="utf-8"))
    assert (config["views"]["recipe"], config["head"]["l2"]) == ("heavy", 0.1)
    table = pd.read_csv(out.table)
    assert table["recipe"].tolist() == ["none", "light", "heavy"]
    assert set(pd.read_csv(out.curves)["recipe"]) == {
        "none", "light", "heavy", "all", "none at all",
    }  # fmt: skip
    assert list_results(paths) == []  # no ensemble is made of them


@pytest.mark.slow
def test_a_training_is_the_one_that_train_would_do(site):
    run(site, num_seeds=1)
    paths, competition, path, out = site
    train.run(paths, competition, [path], [], [])
    plain, ablated = (
        load_predictions(files.oof, "x").probs
        for files in (paths.experiment("tiny"), out.training("light", 0))
    )
    np.testing.assert_array_equal(plain, ablated)
    assert rows_of(site)["light"]["val_accuracy"] == pytest.approx(
        list_results(paths)[0].metrics["cv_score"], abs=1e-6
    )


@pytest.mark.slow
def test_a_second_run_trains_nothing_and_a_broken_one_only_what_is_missing(
    site, monkeypatch, capsys
):
    fit, fitted = Probe.fit_fold, []

    def count(self, task):
        fitted.append(task.fold)
        if len(fitted) == 6:
            raise KeyboardInterrupt("the sixth fold")
        return fit(self, task)

    monkeypatch.setattr(Probe, "fit_fold", count)
    with pytest.raises(KeyboardInterrupt, match="the sixth fold"):
        run(site)
    run(site)
    assert len(fitted) == 9  # two recipes, two seeds, two folds; one of them twice
    first, verdict_text = rows_of(site), capsys.readouterr().out
    run(site)
    again = capsys.readouterr()
    assert "ablate demo tiny: up to date" in again.err
    assert (len(fitted), rows_of(site)) == (9, first)
    assert again.out == verdict_text
    run(site, num_seeds=3)
    assert len(fitted) == 13


@pytest.mark.slow
def test_recipes_that_make_the_same_views_cannot_be_told_apart(site):
    still = "{name = 'Resize', height = 32, width = 32, p = 1.0}"
    run(
        site,
        "source-catdog,custom",
        overrides=["views.recipe=custom", f"views.transforms=[{still}]"],
    )
    row = rows_of(site)["custom"]
    for metric in ("accuracy", "macro_f1", "log_loss"):
        assert row[f"{metric}_difference"] == 0
        assert row[f"{metric}_verdict"] == "can't tell"


@pytest.mark.slow
def test_fine_tuning_is_compared_on_a_cut(site, tmp_path):
    path = tiny.write_toml(tmp_path / "tuned.toml", FINETUNE)
    paths, competition, _, _ = site
    out = paths.ablation("tuned")
    site = (paths, competition, path, out)
    run(site, num_seeds=1, overrides=["data.limit=20"])
    assert json.loads(out.record.read_text(encoding="utf-8"))["num_images"] == 20
    assert len(load_predictions(out.training("none", 0).oof, "x").image_ids) == 20
    for row in rows_of(site).values():
        assert row["silhouette"] is not None
        gap = row["train_accuracy"] - row["val_accuracy"]
        assert row["accuracy_gap"] == pytest.approx(gap, abs=1e-5)


def test_a_recipe_that_cannot_be_drawn_is_refused_before_the_first_is_trained(site):
    overrides = ["views.recipe=custom", "views.transforms=[{name = 'Blurr'}]"]
    line = r"^tiny-custom-seed0: views\.transforms\.0, 'Blurr': .*; did you mean 'Blur'\?$"
    with pytest.raises(ConfigError, match=line):
        run(site, "none,custom", overrides=overrides)
    assert not site[3].training("none", 0).experiment_dir.exists()


def test_several_processes_are_refused(site, monkeypatch):
    monkeypatch.setattr(ablate, "num_processes", lambda: 2)
    with pytest.raises(ConfigError, match=r"^ablate: must run in one process, runs in 2; start it"):
        run(site)
