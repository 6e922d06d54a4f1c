"""What the environment holds, and what of it reaches a training."""

import os

import pytest

from pipeline.errors import ConfigError
from pipeline.stages import train, tune
from pipeline.stages.tune import Options
from pipeline.training.processes import launch_record, settle_environment
from tests import tiny

OVERRULED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("8", "1"),
    "ACCELERATE_DYNAMO_BACKEND": ("EAGER", "NO"),
    "ACCELERATE_MIXED_PRECISION": ("fp8", "no"),
    "TORCH_COMPILE_DISABLE": ("1", "0"),
    "TORCHDYNAMO_DISABLE": ("1", "0"),
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", *OVERRULED):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", OVERRULED)
def test_what_would_change_a_recipe_is_not_used_and_told(name, monkeypatch, capsys):
    changing, neutral = OVERRULED[name]
    monkeypatch.setenv(name, neutral)
    settle_environment()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(name, changing)
    settle_environment()
    assert f"{name}={changing} of the environment is not used: train." in capsys.readouterr().err
    assert name not in os.environ
    assert launch_record()["variables_not_used"][name] == changing


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_other_ways_to_train_are_refused(name, monkeypatch):
    monkeypatch.setenv(name, "false")
    settle_environment()
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigError, match=rf"^{name}: must be unset, .* is 'true'; unset it"):
        settle_environment()


@pytest.mark.parametrize("count", ["3", "two", "0", "-1", ""])
def test_processes_that_nobody_started_are_refused(count, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", count)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match=r"^WORLD_SIZE: must be "):
        settle_environment()


def test_a_launch_of_several_processes_is_left_alone(monkeypatch):
    launched = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    settle_environment()
    assert launched.items() <= os.environ.items()


def test_leftovers_of_one_process_and_of_schedulers_train_as_nothing_does(
    workspace, tmp_path, monkeypatch, capsys
):
    paths, competition = workspace
    text = 'method = "finetune"\ntrain = { epochs = 1, batch_size = 16 }\n'
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "PMI_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    train.run(paths, competition, [tiny.write_toml(tmp_path / "a.toml", text)], [0], [])
    assert "RANK, LOCAL_RANK, PMI_SIZE of the environment are not used" in capsys.readouterr().err
    train.run(paths, competition, [tiny.write_toml(tmp_path / "b.toml", text)], [0], [])
    one, other = (paths.experiment(name).fold(0).checkpoint.read_bytes() for name in "ab")
    assert one == other


def test_a_search_refuses_it_before_it_makes_a_study(workspace, tmp_path, monkeypatch):
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "tiny.toml", "[tune]\nseed = { low = 0, high = 3 }\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ConfigError, match=r"^WORLD_SIZE: must be set by a launcher, as RANK, LOCAL"
    ):
        tune.run(paths, competition, path, [], Options(1))
    assert not paths.studies_dir.exists()
