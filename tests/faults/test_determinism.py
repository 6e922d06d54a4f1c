"""The same competition gives the same bytes: in another clone and folder, by other workers and
cores, in another order of directories, locale, time zone and working directory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from tests.faults.tiny_site import Tree, stages, tree

OTHERS = ("ablate", "predict", "report")  # the last one shows times

# Runs commands one after the other in one process, as starting it is what takes the time.
# Beside a CPU that trains one process reads images, however many cores there are; here, so many.
COMMANDS = """
import json, sys
import pipeline
from pipeline.cli import app
from pipeline.training.loader import ViewLoader
assert pipeline.__file__.startswith(sys.argv[2]), pipeline.__file__
num_readers = int(sys.argv[3])
ViewLoader.__init__.__defaults__ = (num_readers,)
start = ViewLoader._start
def counted(self, batch_bytes):
    loader = start(self, batch_bytes)
    assert loader.num_workers == num_readers, loader.num_workers
    return loader
ViewLoader._start = counted
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, arguments
"""
# Python runs a module of this name at its start: folders then list their files in another order.
SHUFFLED = """
import os, random

def shuffled(list_folder):
    def listed(*arguments):
        found = list(list_folder(*arguments))
        random.Random(len(found)).shuffle(found)
        return found
    return listed

class Scan:
    def __init__(self, *arguments):
        with scandir(*arguments) as entries:
            self._entries = iter(shuffled(list)(entries))
    def __iter__(self):
        return self._entries
    def __next__(self):
        return next(self._entries)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def close(self):
        pass

scandir, os.listdir, os.scandir = os.scandir, shuffled(os.listdir), Scan
os.sched_getaffinity = lambda _: set(range(4))  # what draws, reads and predicts takes all cores
"""


def run_all(
    folder: Path,
    root: Path,
    code: Path,
    working_dir: Path,
    num_workers: int = 1,
    **environment: str,
) -> Tree:
    """Run every stage in a process of its own surroundings; returns what it made."""
    for one in (folder, root, working_dir):
        one.mkdir(parents=True, exist_ok=True)
    own = stages(folder, root, num_trials=3, num_workers=num_workers)
    commands = [arguments for name, arguments in own.items() if name not in OTHERS]
    path = os.pathsep.join([environment.pop("PYTHONPATH", ""), str(code)]).lstrip(os.pathsep)
    names = ("PATH", "HOME", "ACCELERATE_USE_CPU", "OMP_NUM_THREADS")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands), str(code), str(num_workers)],
        cwd=working_dir,
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {name: _without_commit(name, content) for name, content in tree(root).items()}


def _without_commit(name: str, content: bytes | None) -> bytes | None:
    """Leave out the commit of the code, which a clone knows and a copy doesn't."""
    if content is None or not name.endswith(("environment.json", "submissions/tiny/log.csv")):
        return content
    told = json.loads(content)
    for one in told if isinstance(told, list) else [told]:
        del one["commit"]
    return json.dumps(told).encode()


@pytest.fixture(scope="module")
def code() -> Path:
    """The folder that holds the package."""
    return Path(pipeline.__file__).parents[1]


@pytest.fixture(scope="module")
def expected(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """What all stages make, in plain surroundings."""
    place = tmp_path_factory.mktemp("plain")
    return run_all(place / "config", place / "root", code, place)


def assert_equal(found: Tree, expected: Tree) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert any(name.endswith("ensemble.csv") for name in found)


def test_another_clone_folder_and_working_directory_change_nothing(expected, code, tmp_path):
    clone = tmp_path / "a/rather/deep/place with spaces/猫"
    shutil.copytree(code / "pipeline", clone / "pipeline")
    found = run_all(tmp_path / "c", tmp_path / "x/y/z/root", clone, tmp_path / "elsewhere")
    assert_equal(found, expected)


def test_four_workers_on_four_cores_and_another_order_of_directories_change_nothing(
    expected, code, tmp_path
):
    customised = tmp_path / "customised"
    customised.mkdir()
    (customised / "sitecustomize.py").write_text(SHUFFLED, encoding="utf-8")
    check = "import os; print(len({*map(str, map(os.listdir, ['/usr'] * 2))}), os.listdir('/usr'))"
    listed = [
        subprocess.run(
            [sys.executable, "-c", check],
            env={"PYTHONPATH": place},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for place in ("", str(customised))
    ]
    assert listed[0] != listed[1]  # it does shuffle
    found = run_all(
        tmp_path / "c", tmp_path / "root", code, tmp_path, 4, PYTHONPATH=str(customised)
    )
    assert_equal(found, expected)


def test_another_locale_time_zone_and_hash_seed_change_nothing(expected, code, tmp_path):
    found = run_all(
        tmp_path / "c",
        tmp_path / "root",
        code,
        tmp_path,
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        TZ="Asia/Shanghai",
        PYTHONHASHSEED="12345",
    )
    assert_equal(found, expected)
