"""The checks for a GPU run on a CPU, at sizes that tell nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_setting import Row

pytestmark = pytest.mark.slow

LONG = ("resume", "fold", "tests")  # several processes each


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in LONG else ()) for one in gpu.PARTS]
)
def test_every_part_ends_in_a_dry_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    file = tmp_path / "rows"
    gpu.run_part(name, file, is_dry=True)
    rows = [Row(**json.loads(line)) for line in file.read_text().splitlines()]
    assert rows
    assert not [row for row in rows if row.is_right is False]


@pytest.mark.slow
def test_parts_are_processes_whose_lines_make_the_table(tmp_path, capsys):
    gpu.main(["--parts", "preflight", "--minutes", "5", "--out", str(tmp_path), "--dry"])
    rows = json.loads((tmp_path / "gpu.json").read_text())["preflight"]
    assert [rows[0]["what"], rows[-1]["what"]] == ["versions", "the part itself"]
    assert rows[-1]["is_right"] is True
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows)
    assert "0 lines aren't as they should be" in capsys.readouterr().out


class Stopped:
    """A process that has found a line and runs on until it is killed."""

    def __init__(self, command, **_):
        file = Path(command[command.index("--rows") + 1])
        file.write_text('{"what": "rate", "found": "7", "goal": "", "is_right": null}\n')
        self.pid = -1

    def wait(self, limit=None):
        if limit is not None:
            raise subprocess.TimeoutExpired("part", limit)


def test_what_a_part_had_found_before_its_limit_counts(tmp_path, monkeypatch):
    killed = []
    monkeypatch.setattr(subprocess, "Popen", Stopped)
    monkeypatch.setattr(os, "killpg", lambda *given: killed.append(given))
    rate, end = gpu.watch("steps", tmp_path, 20, is_dry=True)
    assert (rate.what, rate.found) == ("rate", "7")
    assert end.found.startswith("was stopped by its limit")
    assert end.is_right is False
    assert len(killed) == 1


def test_no_part_is_begun_without_time_for_it(monkeypatch):
    monkeypatch.setattr(gpu, "watch", None)
    found = gpu.check(["steps", "tests"], 5, is_dry=True)
    assert [rows[0].found for rows in found.values()] == ["no time was left"] * 2


def test_unknown_parts_are_named(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--parts", "steps,speed"])
    assert "must be of preflight, " in capsys.readouterr().err
