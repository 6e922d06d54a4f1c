"""Join or start a cluster of Ray, and run jobs in processes of its machines.

A slot is a share of a GPU, or a core where there is none. Jobs run in a process below their slot,
so that a CUDA error or a crash costs one job; the next one gets a fresh process then. Ray's workers
import this module, so it imports nothing heavy itself.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.console import warn
from pipeline.errors import ArtifactError, ConfigError, KilledError, PipelineError, StoppedError
from pipeline.machine import (
    CPUS_VARIABLE,
    JOB,
    end_with,
    is_installed,
    num_cpus,
    num_processes,
    pip_install,
)

MAX_STARTS = 4
GRACE_SECONDS = 60.0  # for a job whose slot is gone, to save and end
KILLED = 75  # the exit code of a job of which a process was killed, as sysexits.h says "try again"
ENTRY = "from pipeline.training.ray_cluster import run_jobs; run_jobs()"
DONE = b"done\n"
THREADS = "OMP_NUM_THREADS"
VISIBLE = "CUDA_VISIBLE_DEVICES"
# Of machines that share no folder: where each keeps images and what it trains.
NODE_ROOT = "PIPELINE_NODE_ROOT"


@dataclass(frozen=True)
class PoolOptions:
    """What jobs run on.

    Attributes:
        gpus: "all", or numbers of this machine's GPUs with commas; None for all of a cluster.
        per_gpu: Jobs that share a GPU.
        address: Of a Ray cluster, "auto" for the one of this machine; None for this machine alone.
        source: From where its machines get the archives, as they don't share the root; None if
            they do.
        competition: As the user named it, for them.
    """

    gpus: str | None = None
    per_gpu: int = 1
    address: str | None = None
    source: str | None = None
    competition: str = ""

    @property
    def is_wanted(self) -> bool:
        """Whether several jobs at once are asked for."""
        return self.gpus is not None or self.address is not None

    def can_deal(self, what: str) -> bool:
        """Tell whether jobs are to be dealt; warn where they should be, but Ray isn't installed.

        Args:
            what: What is done instead.

        Raises:
            ConfigError: Several processes run this command, or there are no other machines.
        """
        if self.source is not None and self.address is None:
            raise ConfigError(
                "--from: must be given with --ray, whose machines fetch the archives from there; "
                "add it, or leave --from out"
            )
        if not self.is_wanted:
            return False
        if num_processes() > 1:
            raise ConfigError(
                f"--gpus and --ray: must be given to one process, are to {num_processes()}; start "
                "the command without accelerate launch"
            )
        if not is_installed("ray"):
            warn(
                "several jobs at once need Ray, which isn't installed; "
                f"run '{pip_install('ray')}'. {what}"
            )
            return False
        return True

    def gpu_numbers(self) -> list[int]:
        """List this machine's GPUs that are to be used; on a CPU numbers stand for slots.

        Raises:
            ConfigError: They aren't numbers of GPUs of this machine.
        """
        import torch

        from pipeline.training.device import pick_device

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


class Outcome(NamedTuple):
    """How a job's process ended.

    Attributes:
        code: Its exit code, negative for a signal.
        said: The end of what it printed.
        files: What it made, by name, where it brings that back.
    """

    code: int
    said: str
    files: dict[str, bytes]


class Slot:
    """Runs one job after the other in a process that stays as long as they end well.

    It lives in a worker of Ray.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def where(self) -> str:
        """Name the machine and the GPU."""
        import ray

        gpus = ",".join(map(str, ray.get_gpu_ids()))
        return f"{ray.util.get_node_ip_address()}{f' GPU {gpus}' if gpus else ''}"

    def run(self, job: bytes, log: Path, brings: Path | None = None) -> Outcome:
        """Run a job to its end.

        Args:
            job: The job, pickled.
            log: Takes what it prints; a relative path is one below the machine's own folder.
            brings: The folder whose files are brought back; None for none.
        """
        log = node_root() / log
        log.parent.mkdir(parents=True, exist_ok=True)
        code = self._do(job, log)
        said = log.read_bytes()[-4000:].decode(errors="replace")
        made = sorted((node_root() / brings).iterdir()) if brings and code == 0 else []
        return Outcome(code, said, {one.name: one.read_bytes() for one in made})

    def _do(self, job: bytes, log: Path) -> int:
        """Have the process do a job; return 0, or the exit code of a process that ended by it."""
        with log.open("wb") as file:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._process = subprocess.Popen(
                    [sys.executable, "-c", ENTRY],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env=os.environ | self._environment,
                )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps(log) + job)
            process.stdin.flush()
        return 0 if process.stdout.readline() == DONE else process.wait() or 1

    def close(self) -> None:
        """Let the process end, which has no job or is gone."""
        if self._process:
            with self._process:
                pass

    def stop(self) -> None:
        """Pass a Ctrl-C on: the job saves and ends."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)


def node_root() -> Path:
    """Return the folder of this machine's own, where machines share none."""
    return Path(os.environ.get(NODE_ROOT) or Path.home() / ".cache/pipeline/node")


def run_jobs() -> None:
    """Run the jobs that come pickled on stdin, and say on stdout that one is done.

    What a job prints goes to its log. One that fails ends the process.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    if hasattr(os, "register_at_fork"):
        # A reader that outlives this process would hide its end from who waits for an answer.
        os.register_at_fork(after_in_child=answers.close)
    end_with(os.getppid(), GRACE_SECONDS)
    while True:
        try:
            log = pickle.load(sys.stdin.buffer)
        except (EOFError, KeyboardInterrupt):  # the slot is gone, or ends
            return
        _print_to(log)
        _run_job(pickle.load(sys.stdin.buffer))
        answers.write(DONE)


def _print_to(log: Path) -> None:
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def _run_job(job: Any) -> None:
    from pipeline.training.processes import settle_environment

    try:
        settle_environment()
        job.run()
    except PipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        codes: dict[type[PipelineError], int] = {StoppedError: 130, KilledError: KILLED}
        sys.exit(codes.get(type(error), 1))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


class Cluster:
    """A cluster that this process is connected to.

    Args:
        per_gpu: Jobs that share a GPU.

    Attributes:
        num_slots: How many jobs it can run at once.
    """

    def __init__(self, per_gpu: int) -> None:
        import ray

        resources = ray.cluster_resources()
        self._num_cpus = int(resources.get("CPU", 1))
        self._per_gpu = per_gpu
        self._has_gpus = resources.get("GPU", 0) >= 1
        self.num_slots = int(resources.get("GPU", 0)) * per_gpu or self._num_cpus

    def ask_for_slot(self, num_wanted: int) -> tuple[Any, Any]:
        """Ask for one of so many slots; return what will say where it is, and the slot."""
        import ray

        cores = max(1, self._num_cpus // num_wanted)
        threads = os.environ.get(THREADS, str(cores))
        environment = {CPUS_VARIABLE: str(cores), THREADS: threads, JOB: "1"}
        wanted = (
            {"num_gpus": 1 / self._per_gpu, "num_cpus": 0}
            if self._has_gpus
            else {"num_gpus": 0, "num_cpus": 1}
        )
        # Two at a time: one waits for the job, another may stop it.
        slot = ray.remote(Slot).options(max_concurrency=2, **wanted).remote(environment)
        return slot.where.remote(), slot


@contextmanager
def only_these(gpus: Sequence[int]) -> Iterator[None]:
    """Let what is started in this context see some GPUs alone, by the numbers that torch gives."""
    before = os.environ.get(VISIBLE)
    if gpus:
        names = before.split(",") if before else [str(one) for one in range(max(gpus) + 1)]
        # Where numbers stand for slots of a CPU, there are more of them than names.
        os.environ[VISIBLE] = ",".join(names[one] for one in gpus if one < len(names))
    try:
        yield
    finally:
        os.environ.pop(VISIBLE, None)
        if before is not None:
            os.environ[VISIBLE] = before


@contextmanager
def connected(options: PoolOptions) -> Iterator[Cluster]:
    """Join the cluster, or start one of this machine alone.

    Raises:
        ArtifactError: It doesn't start, or isn't found.
        ConfigError: A GPU is asked for that isn't there.
    """
    import ray

    how: dict[str, Any] = {"address": options.address}
    gpus = [] if options.address else options.gpu_numbers()
    if not options.address:
        how = {
            "address": "local",  # whatever RAY_ADDRESS says
            "num_cpus": num_cpus(),
            "num_gpus": len(gpus),
            "include_dashboard": False,
        }
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_agent_register_timeout_ms", "300000")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")
    os.environ.setdefault("RAY_worker_niceness", "0")  # jobs are what the machine is there for
    try:
        with only_these(gpus):
            _join(how, 1 if options.address else MAX_STARTS)
        yield Cluster(options.per_gpu)
    finally:
        ray.shutdown()


def _join(how: Mapping[str, Any], num_tries: int) -> None:
    """Connect to a cluster; one that is started may need a few tries on a busy machine.

    Ray gives the agents of a node 15 s to begin, else it ends.
    """
    import ray

    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **how)
    except Exception as error:  # Ray raises bare ones
        ray.shutdown()
        reason = str(error).strip().partition("\n")[0]
        if num_tries > 1:
            warn(f"Ray: starting it failed ({reason}); trying again")
            _join(how, num_tries - 1)
            return
        raise ArtifactError(
            f"Ray: must start or be found at {how['address']}, isn't ({reason}); run the same "
            "command again, or without --gpus and --ray"
        ) from error
