"""Train folds on several GPUs or machines at once: jobs of a fold each, dealt by Ray.

A slot is a share of a GPU, or a core where there is none. Each job runs in a process of its own
below its slot, so that a CUDA error or a crash costs one job, which is tried again. Results go
through the files of the root, which all machines must share; the locks of the folds hold here, too.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.console import say, warn
from pipeline.data.training_table import load_tables
from pipeline.errors import ArtifactError, ConfigError, DataError, PipelineError, StoppedError
from pipeline.machine import (
    CPUS_VARIABLE,
    deferred_interrupt,
    end_with,
    is_installed,
    num_cpus,
)
from pipeline.training import processes
from pipeline.training.device import pick_device
from pipeline.training.experiment_run import ExperimentRun, train_all
from pipeline.training.task import FoldJob

MAX_ATTEMPTS = 3  # of a job whose process, worker or machine died
MAX_FAILURES = 2  # of a GPU, before it gets no more jobs
POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0  # for a job whose slot is gone, to save and end
ENTRY = "from pipeline.training.job_pool import run_job; run_job()"
CUDA_MARKS = ("CUDA error", "CUDNN_STATUS", "AcceleratorError")
THREADS = "OMP_NUM_THREADS"
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class PoolOptions:
    """What jobs run on.

    Attributes:
        gpus: "all", or numbers of this machine's GPUs with commas; None for all of a cluster.
        per_gpu: Jobs that share a GPU.
        address: Of a Ray cluster, "auto" for the one of this machine; None for this machine alone.
    """

    gpus: str | None = None
    per_gpu: int = 1
    address: str | None = None

    def gpu_numbers(self) -> list[int]:
        """List this machine's GPUs that are to be used; on a CPU numbers stand for slots.

        Raises:
            ConfigError: They aren't numbers of GPUs of this machine.
        """
        is_cpu = pick_device().type == "cpu"
        count = 0 if is_cpu else torch.cuda.device_count()
        if self.gpus in (None, "all"):
            return list(range(count))
        parts = str(self.gpus).split(",")
        numbers = [int(part) for part in parts if part.strip().isdecimal()]
        is_there = is_cpu or all(number < count for number in numbers)
        if len(set(numbers)) != len(parts) or not is_there:
            raise ConfigError(
                f"--gpus {self.gpus}: must be 'all' or numbers of this machine's {count} GPUs with "
                "commas between them, each once; 'pipeline doctor' lists them"
            )
        return numbers


def train_in_pool(
    runs: Sequence[ExperimentRun], only_folds: Sequence[int], options: PoolOptions
) -> None:
    """Train the folds of several experiments side by side; one by one where Ray isn't installed.

    Raises:
        ConfigError: A GPU is asked for that isn't there, or several processes run this.
        PipelineError: A job's error, once the others are done.
        StoppedError: Ctrl-C; every job has saved.
    """
    if options.gpus is None and options.address is None:
        train_all(runs, only_folds)
        return
    if not is_installed("ray"):
        warn(
            "several jobs at once need Ray, which isn't installed; run \"pip install "
            "'pipeline[ray]'\". Training one after the other"
        )
        train_all(runs, only_folds)
        return
    jobs = []
    for run in runs:
        if folds := run.wanted(only_folds):
            run.begin()
            jobs += [run.job(fold) for fold in folds]
    if jobs:
        _Pool(jobs, options).run()
    for run in runs:
        run.finish()


class _Outcome(NamedTuple):
    """How a job's process ended: its exit code, and the end of what it said."""

    code: int
    said: str


class _Slot:
    """Runs one job after the other, each in a process; lives in a worker of Ray."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def where(self) -> str:
        """Name the machine and the GPU."""
        import ray

        gpus = ",".join(map(str, ray.get_gpu_ids()))
        return f"{ray.util.get_node_ip_address()}{f' GPU {gpus}' if gpus else ''}"

    def run(self, job: bytes, log: Path) -> _Outcome:
        """Run a job to its end; what it prints goes to its log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", ENTRY],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=os.environ | self._environment,
            )
            with suppress(BrokenPipeError):
                self._process.communicate(job)
        said = log.read_bytes()[-4000:].decode(errors="replace")
        return _Outcome(self._process.returncode, said)

    def stop(self) -> None:
        """Pass a Ctrl-C on: the job saves and ends."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def run_job() -> None:
    """Train the fold that comes pickled on stdin; the entry of a job's process."""
    job: FoldJob = pickle.load(sys.stdin.buffer)
    end_with(os.getppid(), GRACE_SECONDS)
    try:
        processes.settle_environment()
        tables = load_tables(job.paths)
        other = [name for name, sha in job.digests.items() if tables.digests.get(name) != sha]
        if other:
            raise DataError(
                f"{job.paths.root}: tables must be those of the machine that deals the jobs, "
                f"{', '.join(other)} differ here; put --root on a folder that the machines share"
            )
        run = ExperimentRun(job.paths, job.competition, job.experiment, tables, job.out)
        run.train_alone(job.fold)
    except PipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(130 if isinstance(error, StoppedError) else 1)


class _Pool:
    """Deals jobs to slots until all are done or have failed, or Ctrl-C stops them."""

    def __init__(self, jobs: Sequence[FoldJob], options: PoolOptions) -> None:
        self._jobs = jobs
        self._options = options
        self._waiting = deque(range(len(jobs)))
        self._attempts: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()  # by place
        self._places: dict[Any, str] = {}  # by slot
        self._coming: dict[Any, Any] = {}  # slots, by what will say where they are
        self._running: dict[Any, tuple[Any, int]] = {}  # slot and job, by what will say the outcome
        self._num_done = 0
        self._error: PipelineError | None = None
        self._is_stopping = False

    def run(self) -> None:
        """Run all jobs.

        Raises:
            PipelineError: The first error that trying again doesn't mend.
            StoppedError: Ctrl-C.
        """
        import ray

        with self._connected(), deferred_interrupt() as is_interrupted:
            while self._running or (self._waiting and self._coming):
                asked = [*self._running, *self._coming]
                for ref in ray.wait(asked, num_returns=1, timeout=POLL_SECONDS)[0]:
                    self._take(ref)
                if is_interrupted() and not self._is_stopping:
                    self._is_stopping = True
                    self._waiting.clear()
                    for slot, _ in self._running.values():
                        slot.stop.remote()
        if self._is_stopping:
            raise StoppedError("train: stopped by Ctrl-C, and saved; the same command goes on")
        if self._waiting and not self._error:
            failed = ", ".join(self._failures)
            raise ArtifactError(
                f"train: a GPU must be left that works, {failed or 'all'} failed; see the logs in "
                f"{self._jobs[0].log.parent}, and 'pipeline doctor'"
            )
        if self._error:
            raise self._error

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Join the cluster, or start one of this machine alone, and ask for slots."""
        import ray

        options: dict[str, Any] = {"address": self._options.address}
        if not self._options.address:
            gpus = self._options.gpu_numbers()
            if gpus and pick_device().type == "cuda":
                os.environ[VISIBLE] = ",".join(map(str, gpus))
            options = {
                "address": "local",  # whatever RAY_ADDRESS says
                "num_cpus": num_cpus(),
                "num_gpus": len(gpus),
                "include_dashboard": False,
            }
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # A busy machine takes longer than Ray's 15 s to start its agents.
        os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            raise ArtifactError(
                f"Ray: must start or be found at {options['address']}, isn't "
                f"({str(error).strip().partition(chr(10))[0]}); run the same command again, or "
                "without --gpus and --ray"
            ) from error
        try:
            resources = ray.cluster_resources()
            self._num_cpus = int(resources.get("CPU", 1))
            self._has_gpus = resources.get("GPU", 0) >= 1
            num_slots = int(resources.get("GPU", 0)) * self._options.per_gpu or self._num_cpus
            self._num_slots = min(num_slots, len(self._jobs))
            for _ in range(self._num_slots):
                self._ask_for_slot()
            yield
        finally:
            ray.shutdown()

    def _ask_for_slot(self) -> None:
        import ray

        cores = max(1, self._num_cpus // self._num_slots)
        environment = {CPUS_VARIABLE: str(cores), THREADS: os.environ.get(THREADS, str(cores))}
        wanted = (
            {"num_gpus": 1 / self._options.per_gpu, "num_cpus": 0}
            if self._has_gpus
            else {"num_gpus": 0, "num_cpus": 1}
        )
        # Two at a time: one waits for the job, another may stop it.
        slot = ray.remote(_Slot).options(max_concurrency=2, **wanted).remote(environment)
        self._coming[slot.where.remote()] = slot

    def _take(self, ref: Any) -> None:
        """Take what a slot has said: where it is, or how its job ended."""
        import ray

        slot, number = (
            (self._coming.pop(ref), None) if ref in self._coming else self._running.pop(ref)
        )
        try:
            said = ray.get(ref)
        except ray.exceptions.RayError as error:  # its worker or machine is gone
            if number is not None:
                self._try_again(number, str(error).strip().splitlines()[0])
            self._ask_for_slot()
            return
        if number is None:
            self._places[slot] = said
        else:
            self._judge(number, said, self._places[slot])
        if self._failures[self._places[slot]] < MAX_FAILURES:
            self._give(slot)

    def _give(self, slot: Any) -> None:
        if self._waiting:
            number = self._waiting.popleft()
            job = self._jobs[number]
            self._running[slot.run.remote(pickle.dumps(job), job.log)] = slot, number

    def _judge(self, number: int, outcome: _Outcome, place: str) -> None:
        """Say how a job ended, and try again what may go better elsewhere."""
        job = self._jobs[number]
        last = outcome.said.strip().rpartition("\n")[2]
        if outcome.code == 0:
            self._num_done += 1
            say(f"{job.title}: done on {place}, {self._num_done} of {len(self._jobs)} jobs")
        elif self._is_stopping:
            say(f"{job.title}: {last}")
        elif outcome.code < 0:
            self._try_again(number, f"its process was killed by signal {-outcome.code} on {place}")
        elif any(mark in outcome.said for mark in CUDA_MARKS):
            self._failures[place] += 1
            if self._failures[place] >= MAX_FAILURES:
                warn(f"{place}: failed {MAX_FAILURES} times and gets no more jobs")
            self._try_again(number, f"{place} failed: {last}")
        else:
            self._fail(number, last.removeprefix("error: "))

    def _try_again(self, number: int, why: str) -> None:
        self._attempts[number] += 1
        if self._is_stopping:
            return
        if self._attempts[number] >= MAX_ATTEMPTS:
            self._fail(number, f"was tried {MAX_ATTEMPTS} times; at last {why}")
            return
        warn(f"{self._jobs[number].title}: {why}; trying again")
        self._waiting.appendleft(number)

    def _fail(self, number: int, why: str) -> None:
        job = self._jobs[number]
        self._waiting.clear()
        self._error = self._error or ArtifactError(f"{job.title}: {why}; its log is {job.log}")
