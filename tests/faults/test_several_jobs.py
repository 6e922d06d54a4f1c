"""Folds dealt by a real Ray of this machine: the same bytes, whatever is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.machine import is_installed
from pipeline.training.job_pool import ENTRY
from tests.faults.conftest import Site
from tests.faults.tiny_site import tree

pytestmark = pytest.mark.skipif(not is_installed("ray"), reason="needs Ray (pipeline[ray])")

MADE = "artifacts/tiny/finetune"
ENVIRONMENT = "environment.json"


def start(site: Site, root: Path) -> "subprocess.Popen[str]":
    command = [*site.stages["train finetune"], "--gpus", "0,1", "--root", str(root)]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command], stderr=subprocess.PIPE, text=True
    )


def unfinished(site: Site, root: Path) -> Path:
    shutil.copytree(site.root, root)
    shutil.rmtree(root / MADE)
    return root


def jobs(root: Path) -> list[psutil.Process]:
    """List the processes of jobs, those that have begun."""
    processes = psutil.process_iter(["cmdline"])
    found = [one for one in processes if ENTRY in (one.info["cmdline"] or [])]
    return found if (root / "artifacts/tiny/.logs").is_dir() else []


def results(root: Path) -> dict[str, bytes | None]:
    """List all but logs, and the number of threads that a job was given."""
    found = tree(root)
    return {one: found[one] for one in found if "/.logs" not in one and ENVIRONMENT not in one}


def test_folds_side_by_side_end_with_the_bytes_of_one_after_the_other(
    unbroken: Site, tmp_path: Path
) -> None:
    root = unfinished(unbroken, tmp_path / "root")
    _, said = start(unbroken, root).communicate(timeout=600)
    assert "2 of 2 jobs" in said
    assert results(root) == results(unbroken.root)
    assert {path.name for path in (root / "artifacts/tiny/.logs").iterdir()} == {
        "finetune-fold0.log",
        "finetune-fold1.log",
    }


def test_a_job_that_is_killed_is_tried_again(unbroken: Site, tmp_path: Path) -> None:
    root = unfinished(unbroken, tmp_path / "root")
    command = start(unbroken, root)
    while not (found := jobs(root)):
        assert command.poll() is None
        time.sleep(0.05)
    os.kill(found[0].pid, signal.SIGKILL)
    _, said = command.communicate(timeout=600)
    assert "its process was killed by signal 9" in said
    assert "trying again" in said
    assert results(root) == results(unbroken.root)
