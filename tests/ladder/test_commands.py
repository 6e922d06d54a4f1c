"""Commands as processes: they end when it is time, whatever they do."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.ladder.commands import Commands, kill
from pipeline.machine import PARENT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Each says that it is there before it goes on.
SAVES = """
import signal, sys, time
def save(*_):
    open(sys.argv[1], "a").write("saved")
    sys.exit(130)
signal.signal(signal.SIGINT, save)
open(sys.argv[1], "w").write("there ")
time.sleep(300)
"""
HANGS = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(300)
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Commands whose processes run a script with a file to write to; `pipeline` is the script."""
    script = tmp_path / "pipeline.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return script, Commands(str(tmp_path / "said"), tmp_path)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def as_command(text: str) -> str:
    return "import sys\nsys.argv[1:] = sys.argv[2:3]\n" + text


def test_a_command_that_ends_by_itself_is_not_stopped(commands):
    script, run = commands
    script.write_text("raise SystemExit(3)")
    ending = run.run("train", stop_at=time.monotonic() + 60)
    assert (ending.code, ending.was_stopped, ending.is_good) == (3, False, False)


def test_a_command_is_asked_to_stop_and_may_save(commands, tmp_path):
    script, run = commands
    script.write_text(as_command(SAVES))
    ending = run.run("train", stop_at=time.monotonic() + 2, kill_at=time.monotonic() + 60)
    assert (ending.code, ending.was_stopped) == (130, True)
    assert (tmp_path / "said").read_text() == "there saved"


def test_a_command_that_does_not_stop_is_killed_with_what_it_started(commands, tmp_path):
    script, run = commands
    script.write_text(as_command(HANGS))
    ending = run.run("train", stop_at=time.monotonic() + 2, kill_at=time.monotonic() + 3)
    assert (ending.code, ending.was_stopped) == (-signal.SIGKILL, True)
    assert not is_alive(int((tmp_path / "said").read_text()))


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
    for _ in range(600):
        if not is_alive(child):
            break
        time.sleep(0.1)
    assert not is_alive(child)


def test_to_kill_what_has_ended_does_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""], text=True)
    process.wait()
    kill(process)
    assert process.returncode == 0
