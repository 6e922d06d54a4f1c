"""The same stage started twice, and locks whose holder died."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import Command, Commands, served
from tests.faults.conftest import Site
from tests.faults.tiny_site import tree

# Whose lock is waited for, by stage; what the stage made so far goes, so that there is work to do.
STAGES = {
    "download": ("data/tiny/.lock", "data/tiny/download.json"),
    "prepare": ("data/tiny/.lock", "data/tiny/prepare.json"),
    "folds": ("folds/.tiny.lock", "folds"),
    "train probe": ("artifacts/tiny/probe/.fold0.lock", "artifacts/tiny/probe"),
    "train finetune": ("artifacts/tiny/finetune/.fold0.lock", "artifacts/tiny/finetune"),
    "ensemble": ("artifacts/tiny/.ensemble.lock", "artifacts/tiny/ensemble/stamp.json"),
    "submit": ("submissions/.tiny.lock", "submissions"),
}
HOLDER = """
import sys
from pathlib import Path
from pipeline.store.locks import held
with held(Path(sys.argv[1]), "a test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Starts commands beside those of `commands`."""
    with served(tmp_path_factory.mktemp("others")) as started:
        yield started


def unfinished(site: Site, name: str, root: Path) -> Path:
    """Copy a finished root and take away what a stage made."""
    shutil.copytree(site.root, root)
    made = root / STAGES[name][1]
    if made.is_dir():
        shutil.rmtree(made)
    else:
        made.unlink()
    return root


def holder_of(lock: Path) -> "subprocess.Popen[str]":
    """Start a process that holds a lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def wait_for(command: Command, text: str) -> None:
    while text not in command.told:
        assert command.wait(0.02) is None, command.told


@pytest.mark.parametrize("name", STAGES)
def test_who_finds_a_lock_held_says_by_whom_and_waits(name, commands, unbroken, tmp_path):
    root = unfinished(unbroken, name, tmp_path / "root")
    lock = STAGES[name][0]
    with holder_of(root / lock) as holder:
        who = f"'a test (process {holder.pid} on {platform.node()})'"
        command = commands.start(unbroken.stages[name], root)
        wait_for(command, f"waiting for {who}, which holds {lock}")
        assert command.wait(0.2) is None
        holder.communicate("")
    command.finish()
    assert tree(root) == tree(unbroken.root)


@pytest.mark.parametrize("name", STAGES)
def test_a_lock_whose_holder_was_killed_is_taken_over(name, commands, unbroken, tmp_path):
    root = unfinished(unbroken, name, tmp_path / "root")
    lock = root / STAGES[name][0]
    with holder_of(lock) as holder:
        holder.send_signal(signal.SIGKILL)
    assert f"process {holder.pid}" in lock.read_text()  # what it left says it held it
    assert "waiting" not in commands.run(unbroken.stages[name], root)
    assert lock.read_text() == ""
    assert tree(root) == tree(unbroken.root)


@pytest.mark.parametrize("name", [*STAGES, "tune"])
def test_a_stage_started_twice_makes_what_one_makes(name, commands, others, unbroken, tmp_path):
    if name == "tune":  # both take trials of the one study
        root = tmp_path / "root"
        shutil.copytree(unbroken.root, root)
        shutil.rmtree(root / "artifacts/tiny/.studies")
        shutil.rmtree(root / "artifacts/tiny/probe-tuned")
    else:
        root = unfinished(unbroken, name, tmp_path / "root")
    both = [one.start(unbroken.stages[name], root) for one in (commands, others)]
    told = [command.finish() for command in both]
    assert "Traceback" not in "".join(told)
    found, expected = tree(root), tree(unbroken.root)
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path] != expected[path]] == []


def test_what_another_command_is_at_keeps_no_one_from_the_other_folds(
    commands: Commands, unbroken: Site, tmp_path: Path
) -> None:
    root = unfinished(unbroken, "train finetune", tmp_path / "root")
    with holder_of(root / STAGES["train finetune"][0]) as holder:
        command = commands.start(unbroken.stages["train finetune"], root)
        wait_for(command, "fold 0: waiting for")
        done = {path.parent.name for path in root.glob("artifacts/tiny/finetune/fold*/stamp.json")}
        holder.communicate("")
    command.finish()
    assert done == {path.name for path in (root / "artifacts/tiny/finetune").glob("fold[1-9]")}
    assert tree(root) == tree(unbroken.root)


WORKERS = {
    "prepare": ("data/tiny/prepare.json", []),
    "train finetune": ("artifacts/tiny/finetune", []),
    "tune": ("artifacts/tiny/.studies", ["--workers", "2"]),
}


@pytest.mark.parametrize("name", WORKERS)
def test_workers_end_by_themselves_when_only_their_parent_is_killed(
    name: str, commands: Commands, unbroken: Site, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(unbroken.root, root)
    made, options = WORKERS[name]
    shutil.rmtree(root / made) if (root / made).is_dir() else (root / made).unlink()
    command = commands.start([*unbroken.stages[name], *options], root)
    while not workers(command):
        assert command.wait(0.01) is None, command.told
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait(60) == -signal.SIGKILL
    assert command.wait_until_gone(60) == []
    commands.run([*unbroken.stages[name], *options], root)
    found, expected = tree(root), tree(unbroken.root)
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path] != expected[path]] == []


def workers(command: Command) -> list[int]:
    """List the processes that a command has started to work for it."""
    return [
        process.pid
        for process in command.living()
        if process.pid != command.pid and "resource_tracker" not in " ".join(process.cmdline())
    ]
