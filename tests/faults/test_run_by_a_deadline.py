"""A run that is killed at seeded moments, or runs out of time beside busy processes."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.ladder.course import load_course
from pipeline.store.freshness import digest
from pipeline.store.paths import Paths
from tests import tiny
from tests.faults.commands import Commands
from tests.faults.courses import Changes, follow
from tests.faults.tiny_site import stages

SEED = 20261130
NUM_KILLS = 4
# A run begins with commands of a second or two; a file appears or changes some hundred times.
MOST_CHANGES = 90
PATIENCE_SECONDS = 600.0
PLAN = """
[[rungs]]
name = "probe"
experiments = ["probe.toml"]
adds = "a first file"

[[rungs]]
name = "more"
experiments = ["finetune.toml", "seeded.toml"]
adds = "more of it"
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command: a plan of two rungs for the tiny competition."""
    folder = tmp_path_factory.mktemp("plan")
    competition = stages(folder)["download"][1]
    tiny.write_toml(folder / "seeded.toml", "seed = 1\n")
    (folder / "rungs.toml").write_text(PLAN, encoding="utf-8")
    return ["run", competition, "--plan", str(folder / "rungs.toml")]


def submissions(paths: Paths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths.list_submissions()}


def assert_the_file_is_good(commands: Commands, words: list[str], paths: Paths) -> None:
    """Once a rung is noted, its submission is there, whole and valid."""
    course = load_course(paths)
    if course is None or course.best is None:
        return
    known = {one.sha256 for one in course.reached} | {
        digest(paths.submission(f"run-{rung}")) for rung in ("probe", "more")
    }  # killed between the file and its note, it is the next rung's already
    assert digest(paths.submission("run")) in known
    commands.run(["validate", words[1], str(paths.submission("run"))], paths.root)


def test_killed_at_seeded_moments_it_has_a_valid_file_and_ends_as_if_never_killed(
    commands: Commands, words: list[str], tmp_path: Path
) -> None:
    unbroken, broken = (Paths(tmp_path / name, "tiny") for name in ("unbroken", "broken"))
    for one in (unbroken, broken):
        one.root.mkdir()
    limited = [*words, "--time-limit", "2h"]
    command = commands.start(limited, unbroken.root)
    assert command.wait(PATIENCE_SECONDS) == 0, command.told
    rng = random.Random(SEED)
    for _ in range(NUM_KILLS):
        command = commands.start(limited, broken.root)
        change = rng.randint(1, MOST_CHANGES)
        code = follow(command, Changes(broken.root), change, PATIENCE_SECONDS)
        assert code in (0, None), command.told
        if code is None:
            command.kill()
        assert command.wait_until_gone(60) == []
        assert_the_file_is_good(commands, words, broken)
    command = commands.start(limited, broken.root)
    assert command.wait(PATIENCE_SECONDS) == 0, command.told
    assert "Traceback" not in command.told
    assert submissions(broken) == submissions(unbroken)
    found, expected = load_course(broken), load_course(unbroken)
    assert found is not None
    assert expected is not None
    assert [(one.rung, one.members, one.score, one.sha256) for one in found.reached] == [
        (one.rung, one.members, one.score, one.sha256) for one in expected.reached
    ]


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep cores busy meanwhile."""
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("limit", [5, 25])
def test_beside_busy_processes_it_is_over_in_time_and_the_same_command_goes_on(
    limit: int, commands: Commands, words: list[str], tmp_path: Path
) -> None:
    paths = Paths(tmp_path, "tiny")
    with busy(2):
        begun = time.monotonic()
        command = commands.start([*words, "--time-limit", f"{limit}s"], paths.root)
        code = command.wait(PATIENCE_SECONDS)
        seconds = time.monotonic() - begun
    assert seconds < limit + 30 + 20, command.told  # to be forked and to end takes time, too
    assert command.wait_until_gone(60) == []
    assert "Traceback" not in command.told
    assert code in (0, 130), command.told
    if code == 130:
        assert "give more by --time-limit" in command.told
    else:
        assert_the_file_is_good(commands, words, paths)
    command = commands.start([*words, "--time-limit", "2h"], paths.root)
    assert command.wait(PATIENCE_SECONDS) == 0, command.told
    assert_the_file_is_good(commands, words, paths)
