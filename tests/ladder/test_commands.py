"""Commands as processes: they end when it is time, whatever they do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.ladder.commands import Commands, attend, kill
from pipeline.machine import PARENT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Each says that it is there before it goes on.
SAVES = """
import signal, sys, time
def save(*_):
    open("saved", "w").close()
    sys.exit(130)
signal.signal(signal.SIGINT, save)
print("there", flush=True)
time.sleep(300)
"""
HANGS = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid, flush=True)
time.sleep(300)
"""
PATIENCE = 120.0


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands whose processes run another script than the package's, and where to write it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "pipeline.py", Commands("demo", tmp_path)


def started(commands: tuple[Path, Commands], text: str) -> tuple["subprocess.Popen[str]", str]:
    """Start a script and wait until it has said a line."""
    script, run = commands
    script.write_text(text, encoding="utf-8")
    process = run.start("pipeline", [], {"stdout": subprocess.PIPE})
    assert process.stdout is not None
    with process.stdout as said:
        return process, said.readline().strip()


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_ends(pid: int) -> None:
    end = time.monotonic() + PATIENCE
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_a_command_that_ends_by_itself_is_not_stopped(commands):
    script, run = commands
    script.write_text("raise SystemExit(3)")
    ending = run.run("train", stop_at=time.monotonic() + PATIENCE)
    assert (ending.code, ending.was_stopped, ending.is_good) == (3, False, False)


def test_a_command_that_is_asked_to_stop_may_save(commands, tmp_path):
    process, _ = started(commands, SAVES)
    assert attend(process, time.monotonic(), time.monotonic() + PATIENCE)
    assert process.returncode == 130
    assert (tmp_path / "saved").exists()


def test_a_command_that_does_not_stop_is_killed_with_what_it_started(commands):
    process, grandchild = started(commands, HANGS)
    assert attend(process, time.monotonic(), time.monotonic() + 0.2)
    assert process.returncode == -signal.SIGKILL
    assert_ends(int(grandchild))


def test_a_moment_to_kill_counts_where_there_is_none_to_stop(commands):
    script, run = commands
    script.write_text("import time; time.sleep(300)")
    ending = run.run("ensemble", kill_at=time.monotonic() + 0.5)
    assert (ending.code, ending.was_stopped) == (-signal.SIGKILL, True)


def test_a_command_ends_with_the_process_that_started_it():
    code = "from pipeline.machine import end_with_parent; import time; end_with_parent(); "
    code += "print('there', flush=True); time.sleep(300)"
    starter = (
        "import os, subprocess, sys; "
        f"process = subprocess.Popen([sys.executable, '-c', {code!r}], "
        f"env=os.environ | {{'{PARENT}': str(os.getpid())}}, stdout=subprocess.PIPE); "
        "process.stdout.readline(); print(process.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter], capture_output=True, text=True, check=True, timeout=120
    )
    child = int(done.stdout)
    assert_ends(child)


def test_to_kill_what_has_ended_does_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""], text=True)
    process.wait()
    kill(process)
    assert process.returncode == 0
