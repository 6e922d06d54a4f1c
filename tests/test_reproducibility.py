import json
import subprocess

import pytest

from pipeline.reproducibility import environment, sample_seed


def test_seeds_are_the_same_on_every_machine_and_in_every_version():
    assert sample_seed(0, 0, 0) == 2968811710
    assert sample_seed(1, 2, 2**64 - 1) == 3626997649


def test_seed_epoch_and_image_each_give_another_stream():
    seeds = {sample_seed(s, e, i) for s in range(8) for e in range(8) for i in range(8)}
    assert len(seeds) == 8**3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_the_environment_names_commit_versions_and_machine():
    record = environment()
    assert set(record) == {"commit", "python", "machine", "packages"}
    assert {"torch", "timm", "albumentations", "numpy"} <= set(record["packages"])
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_without_git_there_is_no_commit(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert environment()["commit"] is None
