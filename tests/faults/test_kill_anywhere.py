"""Stages, killed with all their processes at seeded moments and rerun, end as if never killed.

Half of the moments are drawn from the time that the stage takes undisturbed. The other half are
those at which a file appears or changes for the k-th time, where a kill is most likely to hurt.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tests.faults.commands import Commands
from tests.faults.conftest import Site
from tests.faults.courses import NEVER, Changes, Course, follow
from tests.faults.tiny_site import tree

SEED = 20261125
# Kills per stage, NUM_KILLS together.
KILLS = {
    "download": 10,
    "prepare": 10,
    "folds": 6,
    "train probe": 12,
    "train finetune": 14,
    "tune": 12,
    "tune with 2 workers": 4,
    "ensemble": 8,
    "suspects": 2,
    "submit": 6,
    "ablate": 5,
    "predict": 3,
    "report": 3,
}
NUM_KILLS = 95
SETTLING_SECONDS = 5.0
SAYS_NOTHING_IS_TO_DO = KILLS.keys() - {"predict"}  # which keeps no stamp


def moments(name: str, course: Course) -> Iterator[tuple[int, float]]:
    """Draw when to kill, on and on: at which change, or after how many seconds."""
    rng = random.Random(f"{SEED} {name}")
    while True:
        yield NEVER, rng.uniform(0, course.seconds)
        yield rng.randint(1, max(1, course.num_changes)), 10 * course.seconds + 60


def copy_of(root: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root, place)
    return place


def test_as_many_kills_are_tried_as_are_promised() -> None:
    assert sum(KILLS.values()) == NUM_KILLS


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_stage_goes_on_and_ends_as_if_never_killed(
    name: str, commands: Commands, unbroken: Site, tmp_path: Path
) -> None:
    stage = name.removesuffix(" with 2 workers")
    arguments = [*unbroken.stages[stage], *(["--workers", "2"] if name != stage else [])]
    root = copy_of(unbroken.before[stage], tmp_path / "root")
    num_killed = 0
    for change, seconds in moments(name, unbroken.courses[stage]):
        command = commands.start(arguments, root)
        code = follow(command, Changes(root), change, seconds)
        if code is None and command.kill():
            num_killed += 1
            assert command.wait_until_gone(SETTLING_SECONDS) == []
            assert_no_lock_is_held(root)
        else:  # it was quicker, having gone on from where it was killed before: begin anew
            assert code in (0, None), command.told
            copy_of(unbroken.before[stage], root)
        if num_killed == KILLS[name]:
            break
    assert "Traceback" not in commands.run(arguments, root)
    found, expected = tree(root), tree(unbroken.after[stage])
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path] != expected[path]] == []
    assert_nothing_is_left_to_do(name, arguments, commands, root)


def assert_no_lock_is_held(root: Path) -> None:
    for path in root.rglob("*.lock"):
        # Of a killed process the first thread may be gone before the last one lets go of its files.
        FileLock(path).acquire(timeout=SETTLING_SECONDS).lock.release()


def assert_nothing_is_left_to_do(
    name: str, arguments: list[str], commands: Commands, root: Path
) -> None:
    """Stamps hold digests of times, so they are compared by what they are for."""
    if name not in SAYS_NOTHING_IS_TO_DO:
        return
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert "up to date" in commands.run(arguments, root)
    changed = [path for path, time_ns in times.items() if path.stat().st_mtime_ns != time_ns]
    assert [path.name for path in changed if not path.name.endswith((".lock", ".log"))] == []


def test_a_process_that_went_its_own_way_counts_as_an_orphan(
    commands: Commands, unbroken: Site, tmp_path: Path
) -> None:
    """It is in a session of its own, elsewhere, and its parent is dead."""
    command = commands.start(unbroken.stages["download"], copy_of(unbroken.root, tmp_path / "root"))
    command.finish()
    assert command.wait_until_gone(SETTLING_SECONDS) == []
    start = ["sh", "-c", "setsid sleep 300 > /dev/null 2>&1 & echo $!"]
    started = subprocess.run(
        start, env=commands.environment, cwd="/", check=True, capture_output=True
    )
    orphan = psutil.Process(int(started.stdout))
    try:
        while orphan.cmdline() != ["sleep", "300"]:  # while it becomes that it has no variables
            time.sleep(0.01)
        assert command.wait_until_gone(0.2) == [orphan]
    finally:
        orphan.kill()  # else it would be counted as every later command's
    assert command.wait_until_gone(SETTLING_SECONDS) == []
