"""The stage `study` with tiny networks on the drawn demo of two folds."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ArtifactError, ConfigError
from pipeline.stages import study
from pipeline.store.results import list_results
from pipeline.training.finetune import Finetune
from tests import tiny

EXPERIMENT = """
method = "finetune"

[model]
name = "timm/test_resnet"
weights = "none"

[images]
size_px = 32

[train]
epochs = 2
batch_size = 16
measure_train = true

[variants.a]
[variants.b.model]
name = "plain18_cifar"
"""


@pytest.fixture
def site(workspace, tmp_path):
    """Paths, competition and the experiment's file."""
    path = tmp_path / "nets.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return *workspace, str(path)


def run(site, name, overrides=("data.limit=16",)):
    paths, competition, path = site
    study.run(paths, competition, name, path, overrides)


def test_both_studies_write_their_figure_and_its_numbers(site, monkeypatch, capsys):
    paths, competition, path = site
    for name in ("degradation", "responses"):
        command = ["study", name, competition.name, "--experiment", path]
        command += ["--set", "data.limit=16", "--root", str(paths.root)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "nets-a" in done.stdout
        assert paths.study("nets", name).picture.read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(paths.study("nets", "degradation").table)
    assert curves["experiment"].tolist() == ["nets-a"] * 2 + ["nets-b"] * 2
    assert curves["family"].tolist() == ["timm/test_resnet"] * 2 + ["plain"] * 2
    assert curves["epoch"].tolist() == [1, 2, 1, 2]
    history = pd.read_csv(paths.experiment("nets-b").fold(0).history)
    for split in ("train", "val"):
        errors = curves.loc[curves["experiment"] == "nets-b", f"{split}_error"]
        assert errors.tolist() == pytest.approx((1 - history[f"{split}_accuracy"]).tolist())
    responses = pd.read_csv(paths.study("nets", "responses").table)
    plain = responses[responses["experiment"] == "nets-b"]
    assert plain["layer"].tolist() == list(range(1, 18))
    by_rank = plain.sort_values("rank")["std"].tolist()
    assert by_rank == sorted(by_rank, reverse=True)
    assert list_results(paths) == []  # one fold is no result
    monkeypatch.setattr(Finetune, "fit_fold", None)  # nothing is trained again
    for name in ("degradation", "responses"):
        run(site, name)
        assert f"study {name} demo nets: up to date" in capsys.readouterr().err


def test_responses_of_a_network_that_is_not_trained_are_refused(site):
    with pytest.raises(ArtifactError, match=r"must be trained, isn't; run 'pipeline train demo"):
        run(site, "responses")


def test_an_experiment_that_does_not_measure_its_training_error_is_refused(site):
    line = r"^experiment 'nets-a': must fine-tune a network and measure its training error; set"
    with pytest.raises(ConfigError, match=line):
        run(site, "degradation", ["train.measure_train=false"])


def test_a_network_that_cannot_be_built_is_refused_before_the_first_is_trained(site):
    paths, _, path = site
    text = EXPERIMENT + '[variants.c.model]\nname = "plain35"\n'
    Path(path).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^nets-c: model\.name: .* did you mean 'plain34'"):
        run(site, "degradation")
    assert not paths.experiment("nets-a").experiment_dir.exists()


def test_networks_of_one_name_are_refused(site):
    with pytest.raises(ConfigError, match=r"^--set name: must be left out for .*nets.toml, which"):
        run(site, "degradation", ["name=x"])


def test_an_unknown_study_is_refused(site):
    line = r"^study: must be one of degradation, responses, is 'response'; did you mean 'responses'"
    with pytest.raises(ConfigError, match=line):
        run(site, "response")


def test_a_probes_responses_are_refused(site, tmp_path):
    from pipeline.stages import train

    paths, competition, _ = site
    path = tiny.write_toml(tmp_path / "tiny.toml")
    train.run(paths, competition, [path], [0], [])
    with pytest.raises(ConfigError, match=r"^experiment 'tiny': must have trained a network, its"):
        study.run(paths, competition, "responses", path, [])
