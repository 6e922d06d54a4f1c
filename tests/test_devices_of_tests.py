"""On a machine with a GPU, only what is marked `gpu` computes there; here a GPU is made up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest
import torch
from accelerate import PartialState

from pipeline.training.device import pick_device
from pipeline.training.processes import connect

torch.cuda.is_available = lambda: True


def test_unmarked():
    assert connect().device == pick_device() == torch.device("cpu")


@pytest.mark.gpu
def test_marked():
    assert pick_device() == torch.device("cuda")
    assert not PartialState._shared_state  # nothing of the CPU is remembered


def test_unmarked_again():
    assert connect().device == pick_device() == torch.device("cpu")
"""


@pytest.mark.slow
def test_only_what_is_marked_gpu_computes_on_a_gpu(tmp_path):
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    options = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-m", "", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_it.py")],
        cwd=ROOT,
        env=os.environ | {"ACCELERATE_USE_CPU": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout
