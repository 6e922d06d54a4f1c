"""Trainings in processes of their own: killed, interrupted, and two at once."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from pipeline.store.paths import Paths
from pipeline.store.predictions import load_predictions
from tests import tiny

TRAIN = """
method = "finetune"

[views]
flip = false

[train]
epochs = 3
batch_size = 4
save_minutes = 0.0
ema_decay = 0.9
mixing = { mixup_alpha = 0.4 }
optimizer = { name = "adam", learning_rate = 0.001 }
"""
# Having written its state so often, a training waits before it does so again: no test need hurry.
HOLDING = """
import os, sys, time

left = int(os.environ["TEST_HOLD_AFTER"])


def hold(event, arguments):
    global left
    if event == "os.rename" and str(arguments[1]) == os.environ["TEST_STATE"]:
        left -= 1
        if left == -1:
            open(os.environ["TEST_HELD"], "w").close()
            while os.path.exists(os.environ["TEST_HELD"]):
                time.sleep(0.01)


sys.addaudithook(hold)
"""
RANDOM_STEPS = np.random.default_rng(0).choice(np.arange(1, 10), 2, replace=False).tolist()


@pytest.fixture
def site(workspace, tmp_path):
    """A root to train in, and the command that trains one fold there."""
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "tiny.toml", TRAIN)
    # The drawn competition is smaller than the shipped one, but the commands only read its tables.
    arguments = ["train", competition.name, "--experiment", path, "--root", str(paths.root)]
    return paths, [*arguments, "--fold", "0"]


def start(arguments: list[str], *launcher: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*(launcher or (sys.executable,)), "-m", "pipeline", *arguments],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


class Held:
    """A training in a process of its own, held once its state was written `count` times."""

    def __init__(
        self, paths: Paths, count: int, arguments: list[str], *launcher: str, **environment: str
    ) -> None:
        state = paths.experiment("tiny").fold(0).training_state
        place = paths.root.parent / "holding"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(HOLDING, encoding="utf-8")
        self._mark = place / "held"
        holding = {
            "TEST_HOLD_AFTER": str(count),
            "TEST_STATE": str(state),
            "TEST_HELD": str(self._mark),
        }
        search = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
        self.process = start(arguments, *launcher, PYTHONPATH=search, **holding, **environment)
        while not self._mark.exists():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it with all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self.let_go()

    def interrupt(self, seconds: float) -> str:
        """Send it Ctrl-C and let it go on; returns what it said."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.let_go()
        return self.process.communicate(timeout=seconds)[1]

    def let_go(self) -> None:
        """Hold it no longer."""
        self._mark.unlink()


def results(paths: Paths) -> dict[str, bytes]:
    files = paths.experiment("tiny").fold(0)
    kept = (files.checkpoint, files.oof, files.test)
    return {path.name: path.read_bytes() for path in kept}


@pytest.fixture
def unbroken(site):
    """What a run that nothing stopped leaves, and a fresh root to stop one in."""
    paths, arguments = site
    finish(start(arguments))
    expected = results(paths)
    remove(paths)
    return expected


def remove(paths: Paths) -> None:
    shutil.rmtree(paths.artifacts_dir)


@pytest.mark.faults
@pytest.mark.parametrize("num_steps", RANDOM_STEPS)
def test_a_training_killed_at_a_random_step_ends_with_the_same_bytes(site, unbroken, num_steps):
    paths, arguments = site
    Held(paths, num_steps, arguments).kill()
    assert not paths.experiment("tiny").fold(0).stamp.exists()
    finish(start(arguments))
    assert results(paths) == unbroken
    assert not list(paths.experiment("tiny").fold(0).fold_dir.glob("training*"))


@pytest.mark.faults
def test_ctrl_c_saves_and_says_how_to_go_on(site, unbroken):
    paths, arguments = site
    held = Held(paths, 2, arguments)
    told = held.interrupt(60)
    assert held.process.returncode == 130, told
    assert "error: fold 0: stopped by Ctrl-C after step" in told
    assert "Traceback" not in told
    told = finish(start(arguments))
    assert re.search(r"^fold 0: going on after step \d+, \d of \d epochs are done$", told, re.M)
    assert re.search(r"^fold 0: epoch \d of \d: loss \d\.\d{4}, val loss ", told, re.M)
    assert results(paths) == unbroken


@pytest.mark.faults
def test_a_damaged_state_is_told_and_the_one_before_it_serves(site, unbroken):
    paths, arguments = site
    Held(paths, 3, arguments).kill()
    state: Path = paths.experiment("tiny").fold(0).training_state
    state.write_bytes(state.read_bytes()[:1000] if state.is_file() else b"")
    told = finish(start(arguments))
    assert "training.pt: damaged" in told
    assert results(paths) == unbroken


@pytest.mark.faults
def test_a_state_of_another_recipe_is_not_gone_on_from(site):
    paths, arguments = site
    Held(paths, 2, arguments).kill()
    shorter = ["--set", "train.epochs=1"]
    finish(start([*arguments, *shorter]))
    history = pd.read_csv(paths.experiment("tiny").fold(0).history)
    assert history["epoch"].tolist() == [0]


# As docs/training.md says, on a port of its own.
IN_TWO = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]


def assert_two_give_what_one_gives(
    site: tuple[Paths, list[str]], atol: float, *changes: str, **environment: str
) -> None:
    """Train in one process and in two; both must end with the same, but for rounding."""
    paths, arguments = site
    # Batch norm would see half of every batch; batches are odd, and mixed.
    settings = ["train.freeze_batch_norm=true", "train.precision=fp32", "train.batch_size=5"]
    arguments += [word for setting in (*settings, *changes) for word in ("--set", setting)]
    finish(start(arguments, **environment))
    files = paths.experiment("tiny").fold(0)
    alone, alone_history = load_predictions(files.oof, "x"), pd.read_csv(files.history)
    remove(paths)
    launcher = [str(Path(sys.executable).with_name(IN_TWO[0])), *IN_TWO[1:]]
    held = Held(paths, 1, arguments, *launcher, **environment)
    workers = [worker.environ() for worker in psutil.Process(held.process.pid).children()]
    assert sorted(one["RANK"] for one in workers) == ["0", "1"]
    assert {one["WORLD_SIZE"] for one in workers} == {"2"}
    held.let_go()
    finish(held.process)
    both, both_history = load_predictions(files.oof, "x"), pd.read_csv(files.history)
    assert both.image_ids == alone.image_ids
    np.testing.assert_allclose(both.probs, alone.probs, atol=atol)
    columns = ["epoch", "step", "learning_rate"]
    assert both_history[columns].equals(alone_history[columns])
    np.testing.assert_allclose(both_history["train_loss"], alone_history["train_loss"], atol=atol)


@pytest.mark.faults
def test_two_processes_give_what_one_gives(site):
    assert_two_give_what_one_gives(site, 1e-4)


@pytest.mark.gpu
def test_two_gpus_give_what_one_gives(site):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    # Adam would divide what rounding made by next to nothing; TF32 would round a lot.
    slow = "train.optimizer={name='sgd',learning_rate=0.01}"
    assert_two_give_what_one_gives(site, 1e-3, slow, NVIDIA_TF32_OVERRIDE="0")


@pytest.mark.faults
def test_ctrl_c_of_two_processes_saves_and_the_same_command_goes_on(site):
    paths, arguments = site
    arguments += ["--set", "train.precision=fp32"]
    launcher = [str(Path(sys.executable).with_name(IN_TWO[0])), *IN_TWO[1:]]
    finish(start(arguments, *launcher))
    expected = load_predictions(paths.experiment("tiny").fold(0).oof, "x")
    remove(paths)
    held = Held(paths, 2, arguments, *launcher)  # whose workers have sessions of their own
    told = held.interrupt(120)
    assert held.process.returncode != 0
    assert "stopped by Ctrl-C after step" in told
    told = finish(start(arguments, *launcher))
    assert "going on after step" in told
    found = load_predictions(paths.experiment("tiny").fold(0).oof, "x")
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-4)
