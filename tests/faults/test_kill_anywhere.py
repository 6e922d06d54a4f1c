"""Every stage, killed with all its processes at seeded moments and rerun, ends as if never killed.

Half of the moments are drawn from the time that the stage takes undisturbed. The other half are
those at which a file appears or changes for the k-th time, where a kill is most likely to hurt.
"""

import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.faults.commands import Command, Commands
from tests.faults.conftest import Site
from tests.faults.tiny_site import stages, tree

SEED = 20261125
# Kills per stage, 80 together.
KILLS = {
    "download": 10,
    "prepare": 10,
    "folds": 6,
    "train probe": 12,
    "train finetune": 14,
    "tune": 12,
    "ensemble": 8,
    "suspects": 2,
    "submit": 6,
}


@dataclass(frozen=True)
class Course:
    """How a stage runs undisturbed.

    Attributes:
        seconds: How long it takes.
        num_changes: How often a file or folder appears, changes or goes.
    """

    seconds: float
    num_changes: int


class Changes:
    """Counts the changes below a root, as far as a poll every two milliseconds sees them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._look()
        self.count = 0

    def poll(self) -> int:
        """Look again; returns the number of changes so far."""
        now = self._look()
        self.count += len(set(now.items()) ^ set(self._seen.items()))
        self._seen = now
        return self.count

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for folder, _, files in os.walk(self._root):
            for name in files:
                path = os.path.join(folder, name)  # noqa: PTH118  # ten times as quick as a Path
                try:
                    status = os.stat(path)  # noqa: PTH116
                except OSError:
                    continue
                found[path] = (status.st_mtime_ns, status.st_ino)
        return found


def follow(command: Command, changes: Changes, until_change: int, seconds: float) -> int | None:
    """Wait for the k-th change, at most so long; returns the exit code if the command ended."""
    end = time.monotonic() + seconds
    while changes.poll() < until_change and time.monotonic() < end:
        code = command.wait(0.002)
        if code is not None:
            return code
    return None


@pytest.fixture(scope="session")
def courses(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    """How every stage runs undisturbed, with nobody else at work."""
    root = tmp_path_factory.mktemp("measured")
    measured = {}
    for name, arguments in stages(tmp_path_factory.mktemp("measured-config")).items():
        changes, start = Changes(root), time.monotonic()
        command = commands.start(arguments, root)
        assert follow(command, changes, 10**9, 10**9) == 0, command.told
        measured[name] = Course(time.monotonic() - start, changes.poll())
    return measured


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stages are killed, one after the other."""
    return tmp_path_factory.mktemp("killed")


def moments(name: str, course: Course) -> Iterator[tuple[int, float]]:
    """Draw when to kill, on and on: at which change, or after how many seconds."""
    rng = random.Random(f"{SEED} {name}")
    while True:
        yield 10**9, rng.uniform(0, course.seconds)
        yield rng.randint(1, max(1, course.num_changes)), 10 * course.seconds + 60


def copy_of(root: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root, place)
    return place


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_stage_goes_on_and_ends_as_if_never_killed(
    name: str,
    commands: Commands,
    unbroken: Site,
    courses: dict[str, Course],
    root: Path,
    tmp_path: Path,
) -> None:
    arguments = unbroken.stages[name]
    before = copy_of(root, tmp_path / "before")
    num_killed = 0
    for change, seconds in moments(name, courses[name]):
        command = commands.start(arguments, root)
        code = follow(command, Changes(root), change, seconds)
        if code is None and command.kill():
            num_killed += 1
            assert command.wait_until_gone(5) == []
            assert_no_lock_is_held(root)
        else:  # it was quicker, having gone on from where it was killed before: begin anew
            assert code in (0, None), command.told
            copy_of(before, root)
        if num_killed == KILLS[name]:
            break
    told = commands.run(arguments, root)
    assert "Traceback" not in told
    assert_same(root, unbroken.root, finished=list(unbroken.stages)[: list(KILLS).index(name) + 1])


def assert_no_lock_is_held(root: Path) -> None:
    for path in root.rglob("*.lock"):
        FileLock(path).acquire(blocking=False).lock.release()


def assert_same(root: Path, unbroken: Path, finished: list[str]) -> None:
    found, expected = tree(root), tree(unbroken)
    if len(finished) == len(KILLS):
        assert found.keys() == expected.keys()
    assert found.keys() <= expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_nothing_is_left_to_do_after_all_the_kills(commands, unbroken, root):
    """Stamps hold digests of times, so they are compared by what they are for."""
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    for name, arguments in unbroken.stages.items():
        assert "up to date" in commands.run(arguments, root), name
    changed = [path for path, time_ns in times.items() if path.stat().st_mtime_ns != time_ns]
    assert [path.name for path in changed if not path.name.endswith((".lock", ".log"))] == []
