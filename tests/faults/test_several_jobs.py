"""Folds dealt by a real Ray of this machine: the same bytes, whatever is killed, and nothing twice.

They run where Ray is installed (pipeline[ray]), as by `.ci/run`. Processes are known by the log
that they write to, moments of kills by the states that trainings have saved.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.machine import is_installed
from pipeline.training.ray_cluster import ENTRY, NODE_ROOT
from tests.conftest import shared
from tests.faults.commands import Commands
from tests.faults.tiny_site import FINETUNE, stages, tree
from tests.needs import needs
from tests.tiny import write_toml

pytestmark = needs("ray", is_there=is_installed("ray"))

NAMES, NUM_FOLDS, NUM_KILLS, MOST_OF_ONE_JOB = ("first", "second", "third"), 5, 10, 2
SECONDS, MOST_STARTS = 900.0, 9
# A dead node is missed sooner than Ray would; nothing is sent anywhere.
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "60",
}


PORTS = (
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


@dataclass(frozen=True)
class Site:
    """Fifteen folds that one command has trained.

    Attributes:
        root: A root that is prepared and split, nothing is trained in it.
        words: What trains three experiments there, without the root.
        results: What one command trained, by name.
    """

    root: Path
    words: list[str]
    results: dict[str, bytes | None]


@pytest.fixture(scope="session")
def site(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Never change anything in it."""
    return shared(tmp_path_factory, "fifteen", partial(_train, commands))


def _train(commands: Commands, folder: Path) -> Site:
    root, serial, config = folder / "root", folder / "serial", folder / "config"
    config.mkdir()
    made = stages(config, root)
    made["folds"][2:4] = ["--num-folds", str(NUM_FOLDS)]
    for name in ("download", "prepare", "folds"):
        commands.start(made[name], folder).finish()
    words = ["train", str(config / "tiny.toml")]
    for seed, name in enumerate(NAMES):
        text = f"seed = {seed}\n" + FINETUNE.replace("epochs = 2", "epochs = 6")
        words += ["--experiment", write_toml(config / f"{name}.toml", text)]
    shutil.copytree(root, serial)
    commands.start([*words, "--root", str(serial)], folder).finish()
    return Site(root, words, results(serial))


def results(root: Path) -> dict[str, bytes | None]:
    """List what was trained, without locks, logs and the number of threads that a job was given."""
    ours = re.compile(rf"artifacts/tiny/({'|'.join(NAMES)})/(?!.*\.lock|environment\.json)")
    return {name: content for name, content in tree(root).items() if ours.match(name)}


@dataclass
class Course:
    """A command that deals folds, and what becomes of its jobs.

    Attributes:
        words: The command.
        logs: Of its jobs.
        trained: Where results appear.
        process: Its process, once it was started.
        finished: When each fold's stamp was written, of those that were.
        kills: How often each job was killed.
    """

    words: list[str]
    logs: Path
    trained: Path
    process: "subprocess.Popen[str] | None" = None
    finished: dict[str, int] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *self.words],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | RAY,
        )

    def jobs(self) -> dict[str, psutil.Process]:
        """Find the processes of jobs by their logs' names."""
        found = {}
        for one in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                log = Path(f"/proc/{one.pid}/fd/1").readlink()
                if log.parent == self.logs and ENTRY in one.cmdline():
                    found[one.pid] = (log.stem, one.ppid(), one)
        # Readers look like the job that they are forked from.
        return {log: one for log, parent, one in found.values() if parent not in found}

    def states(self) -> set[tuple[str, int]]:
        """List the states that are saved now, each by its place and time."""
        found = set()
        for path in self.trained.glob("**/fold*/training.pt"):
            with suppress(FileNotFoundError):  # amid being replaced
                found.add((str(path), path.stat().st_mtime_ns))
        return found

    def note_finished(self) -> None:
        """Hold every fold to be finished once."""
        for path in self.trained.glob("*/fold*/stamp.json"):
            written = path.stat().st_mtime_ns
            assert self.finished.setdefault(str(path), written) == written, f"{path}: made twice"

    def wait_for_states(self, count: int) -> None:
        """Wait until so many more states are saved, or the command has ended."""
        assert self.process is not None
        seen: set[tuple[str, int]] = set()
        before, until = self.states(), time.monotonic() + SECONDS
        while len(seen) < count and self.process.poll() is None:
            assert time.monotonic() < until
            seen |= self.states() - before
            self.note_finished()
            time.sleep(0.01)

    def victim(self) -> psutil.Process | None:
        """Choose a job that wasn't killed too often to be tried again; None if all has ended."""
        assert self.process is not None
        until = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until
            for name, job in sorted(self.jobs().items(), key=lambda one: self.kills[one[0]]):
                if self.kills[name] < MOST_OF_ONE_JOB:
                    self.kills[name] += 1
                    return job
            time.sleep(0.1)
        return None

    def finish(self) -> str:
        """Wait until it has succeeded; returns what it said."""
        assert self.process is not None
        _, said = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0, said
        self.note_finished()
        assert len(self.finished) == len(NAMES) * NUM_FOLDS
        return said


@pytest.fixture
def course(site: Site, tmp_path: Path) -> Course:
    """A command over a root of its own with two slots; not yet started."""
    root = Path(shutil.copytree(site.root, tmp_path / "root"))
    words = [*site.words, "--gpus", "0,1", "--root", str(root)]
    return Course(words, root / "artifacts/tiny/.logs", root / "artifacts/tiny")


def moments(seed: int) -> list[int]:
    """Draw after how many saved states something is killed; fifteen folds save ninety."""
    return [int(one) for one in np.random.default_rng(seed).integers(1, 9, NUM_KILLS)]


def kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


@pytest.mark.parametrize("slots", ["0,1", "0,1,2,3"])
def test_folds_side_by_side_end_with_the_bytes_of_one_after_the_other(
    site: Site, course: Course, slots: str, tmp_path: Path
) -> None:
    course.words[course.words.index("--gpus") + 1] = slots
    course.start()
    assert "15 of 15 jobs" in course.finish()
    assert results(tmp_path / "root") == site.results
    assert len(list(course.logs.iterdir())) == len(NAMES) * NUM_FOLDS


def test_jobs_and_workers_of_ray_that_are_killed_at_ten_moments_change_no_byte(
    site: Site, course: Course, tmp_path: Path
) -> None:
    course.start()
    for number, count in enumerate(moments(1)):
        course.wait_for_states(count)
        if job := course.victim():
            with suppress(psutil.Error):
                kill(job if number % 2 else job.parents()[0])
    assert "trying again" in course.finish()
    assert results(tmp_path / "root") == site.results


def test_a_command_that_is_killed_at_ten_moments_loses_nothing(
    site: Site, course: Course, tmp_path: Path
) -> None:
    for count in moments(2):
        course.start()
        assert course.process is not None
        course.wait_for_states(count)
        course.process.kill()
        course.process.communicate()
    course.start()
    course.finish()
    assert results(tmp_path / "root") == site.results


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def is_raylet_dead(node: int) -> bool:
    """Tell whether a node that is starting never will; its command would wait on."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(node).children()
        return any(
            one.name() == "raylet" and one.status() == psutil.STATUS_ZOMBIE for one in children
        )
    return False


class Nodes:
    """A cluster of this machine, whose nodes have folders of their own and a core each.

    Attributes:
        address: Of its head, which runs no jobs.
        nodes: The processes of its nodes, by their folders.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes: dict[Path, subprocess.Popen[bytes]] = {}
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        head = ("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        self._start(folder / "head", *head)

    def _start(self, root: Path, *options: str) -> None:
        """Start a node; on a busy machine its agents may not begin in Ray's 15 s, so it ends."""
        for _ in range(MOST_STARTS):
            if self._is_started(root, *options):
                return
        raise AssertionError((root / "ray.log").read_text("utf-8"))

    def _is_started(self, root: Path, *options: str) -> bool:
        root.mkdir(exist_ok=True)
        ports = [f"--{name}={free_port()}" for name in PORTS]
        with (root / "ray.log").open("wb") as log:
            self.nodes[root] = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *ports, *options],
                stdout=log,
                stderr=log,
                env=os.environ | RAY | {NODE_ROOT: str(root)},
            )
        until = time.monotonic() + SECONDS
        while b"Ray runtime started" not in (root / "ray.log").read_bytes():
            assert time.monotonic() < until
            if self.nodes[root].poll() is not None or is_raylet_dead(self.nodes[root].pid):
                self.kill(root)
                return False
            time.sleep(0.2)
        return True

    def add(self, root: Path) -> None:
        self._start(root, f"--address={self.address}", "--num-cpus=1")

    def kill(self, root: Path) -> None:
        """Kill all of a node at once, the jobs on it, too, as a power cut does."""
        node = self.nodes.pop(root)
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(node.pid).children(recursive=True):
                kill(one)
        node.kill()
        node.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Nodes]:
    folder.mkdir()
    nodes = Nodes(folder)
    try:
        for name in ("one", "other"):
            nodes.add(folder / name)
        yield nodes
    finally:
        for root in [*nodes.nodes]:
            nodes.kill(root)


def test_nodes_without_a_common_folder_end_with_the_same_bytes(site: Site, tmp_path: Path) -> None:
    root = Path(shutil.copytree(site.root, tmp_path / "root"))
    with cluster(tmp_path / "nodes") as nodes:
        words = [*site.words, "--ray", nodes.address, "--from", str(root / "data/tiny/archives")]
        course = Course(
            [*words, "--root", str(root)], root / "artifacts/tiny/.logs", root / "artifacts/tiny"
        )
        course.start()
        assert "15 of 15 jobs" in course.finish()
        for name in ("one", "other"):
            assert list((tmp_path / "nodes" / name).glob("artifacts/tiny/*/fold*/stamp.json"))
    assert results(root) == site.results


def test_nodes_that_are_killed_at_ten_moments_lose_nothing(site: Site, tmp_path: Path) -> None:
    root = Path(shutil.copytree(site.root, tmp_path / "root"))
    with cluster(tmp_path / "nodes") as nodes:
        words = [*site.words, "--ray", nodes.address, "--root", str(root)]
        course = Course(words, root / "artifacts/tiny/.logs", root / "artifacts/tiny")
        course.start()
        for count in moments(3):
            course.wait_for_states(count)
            if job := course.victim():
                with suppress(psutil.Error):
                    node = Path(job.environ()[NODE_ROOT])
                    nodes.kill(node)
                    nodes.add(node)
        assert "trying again" in course.finish()
    assert results(root) == site.results


def test_ctrl_c_saves_every_job_and_the_same_command_goes_on(
    site: Site, course: Course, tmp_path: Path
) -> None:
    course.start()
    assert course.process is not None
    course.wait_for_states(3)
    course.process.send_signal(signal.SIGINT)
    _, said = course.process.communicate(timeout=SECONDS)
    assert course.process.returncode == 130, said
    assert "stopped by Ctrl-C, and saved; the same command goes on" in said
    course.note_finished()
    course.start()
    course.finish()
    assert results(tmp_path / "root") == site.results
