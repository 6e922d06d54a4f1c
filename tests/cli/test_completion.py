"""Completion as bash asks for it, by the script that `pipeline --show-completion` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# What bash does when Tab is pressed at the end of a line, which $1 holds.
PRESS_TAB = """
eval "$(pipeline --show-completion)"
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_pipeline_completion pipeline
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(tmp_path):
    """Return what bash offers for a line, in a folder where cat-12 has two results."""
    for name in ("lite0-strong", "ensemble", "half-trained"):
        (tmp_path / "artifacts" / "cat-12" / name).mkdir(parents=True)
    for name in ("lite0-strong", "ensemble"):
        (tmp_path / "artifacts" / "cat-12" / name / "oof.npz").touch()
    script = tmp_path / "bin" / "pipeline"  # as pip installs it
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom pipeline.cli import main\n\nmain()\n")
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    here = str(Path(__file__).parents[2])

    def press_tab(line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", PRESS_TAB, "bash", line],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "PYTHONPATH": here},
        )
        assert done.stderr == ""
        return done.stdout.split()

    return press_tab


def test_bash_completes_commands(complete):
    assert complete("pipeline t") == ["train", "tune", "tta"]
    assert complete("pipeline train cat-12 --s") == ["--set"]


def test_bash_completes_competitions(complete):
    assert complete("pipeline train cat") == ["cat-12", "cat-dog"]


def test_bash_completes_experiments_that_can_be_trained(complete):
    offered = complete("pipeline train cat-12 --experiment lite1")
    assert offered == ["lite1-finetune", "lite1-probe"]


def test_bash_completes_experiments_and_ensembles_that_are_trained(complete):
    assert complete("pipeline submit cat-12 --experiment ") == ["ensemble", "lite0-strong"]
    assert complete("pipeline submit demo --experiment ") == []


@pytest.mark.parametrize("line", ["pipeline --root . {}", "pipeline {} --root ."])
def test_trained_experiments_are_those_below_the_root_that_is_typed(complete, tmp_path, line):
    (tmp_path / "elsewhere" / "artifacts" / "cat-12" / "far").mkdir(parents=True)
    (tmp_path / "elsewhere" / "artifacts" / "cat-12" / "far" / "oof.npz").touch()
    elsewhere = line.replace("--root .", "--root elsewhere").format("submit cat-12")
    assert complete(f"{elsewhere} --experiment ") == ["far"]
