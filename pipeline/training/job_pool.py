"""Deal jobs to the slots of a cluster of Ray until all are done: folds, or workers of a search.

A job whose process, worker or machine died is tried again. Results go through the files of the
root, which all machines share, or are brought back as bytes.
"""

import pickle
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.console import say, warn
from pipeline.errors import ArtifactError, PipelineError, StoppedError
from pipeline.machine import deferred_interrupt
from pipeline.training.ray_cluster import KILLED, Cluster, Outcome, PoolOptions, connected

MAX_FAILURES = 2  # of a GPU, before it gets no more jobs
POLL_SECONDS = 0.5
CUDA_MARKS = ("CUDA error", "CUDNN_STATUS", "AcceleratorError")


class Job(Protocol):
    """Work for a process somewhere; what is pickled is all that it knows."""

    @property
    def max_attempts(self) -> int:
        """How often it is tried where its process, worker or machine dies."""

    @property
    def title(self) -> str:
        """What to call it."""

    @property
    def log(self) -> Path:
        """Where its process prints; see `Slot.run`."""

    @property
    def brings(self) -> Path | None:
        """What it brings back; see `Slot.run`."""

    def run(self) -> None:
        """Do it; a PipelineError is told to who dealt it."""

    def take(self, outcome: Outcome, /) -> None:
        """Take how it ended and what it brought, where it was dealt; what it raises ends all."""


class JobPool:
    """Deals jobs to slots until all are done or have failed, or Ctrl-C stops them.

    Args:
        command: Whose jobs they are, for what is said about all of them.
        options: What they run on.
    """

    def __init__(self, command: str, options: PoolOptions) -> None:
        self._command = command
        self._options = options
        self._jobs: Sequence[Job] = ()
        self._waiting: deque[int] = deque()
        self._attempts: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()  # by place
        self._places: dict[Any, str] = {}  # by slot
        self._coming: dict[Any, Any] = {}  # slots, by what will say where they are
        self._running: dict[Any, tuple[Any, int]] = {}  # slot and job, by what will say the outcome
        self._num_done = 0
        self._error: PipelineError | None = None
        self._is_stopping = False

    def run(self, jobs_for: Callable[[int], Sequence[Job]]) -> None:
        """Run all jobs.

        Args:
            jobs_for: Makes them, told how many can run at once.

        Raises:
            ConfigError: A GPU is asked for that isn't there.
            PipelineError: The first error that trying again doesn't mend, once others have ended.
            StoppedError: Ctrl-C; every job has saved.
        """
        with connected(self._options) as cluster, deferred_interrupt() as is_interrupted:
            self._jobs = jobs_for(cluster.num_slots)
            self._waiting.extend(range(len(self._jobs)))
            for _ in range(min(cluster.num_slots, len(self._jobs))):
                self._ask_for_slot(cluster)
            while self._running or (self._waiting and self._coming):
                self._step(cluster)
                if is_interrupted() and not self._is_stopping:
                    self._stop()
        if self._is_stopping:
            raise StoppedError(
                f"{self._command}: stopped by Ctrl-C, and saved; the same command goes on"
            )
        if self._waiting and not self._error:
            failed = ", ".join(self._failures)
            raise ArtifactError(
                f"{self._command}: a GPU must be left that works, {failed or 'all'} failed; see "
                f"the logs in {self._jobs[0].log.parent}, and 'pipeline doctor'"
            )
        if self._error:
            raise self._error

    def _ask_for_slot(self, cluster: Cluster) -> None:
        ref, slot = cluster.ask_for_slot(min(cluster.num_slots, len(self._jobs)))
        self._coming[ref] = slot

    def _stop(self) -> None:
        self._is_stopping = True
        self._waiting.clear()
        for slot, _ in self._running.values():
            slot.stop.remote()

    def _step(self, cluster: Cluster) -> None:
        """Take what a slot has said by now: where it is, or how its job ended."""
        import ray

        asked = [*self._running, *self._coming]
        for ref in ray.wait(asked, num_returns=1, timeout=POLL_SECONDS)[0]:
            slot, number = (
                (self._coming.pop(ref), None) if ref in self._coming else self._running.pop(ref)
            )
            try:
                said = ray.get(ref)
            except ray.exceptions.RayError as error:  # its worker or machine is gone
                if number is not None:
                    self._try_again(number, str(error).strip().splitlines()[0])
                self._ask_for_slot(cluster)
                continue
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
            self._running[slot.run.remote(pickle.dumps(job), job.log, job.brings)] = slot, number

    def _judge(self, number: int, outcome: Outcome, place: str) -> None:
        """Say how a job ended, and try again what may go better elsewhere."""
        job = self._jobs[number]
        last = outcome.said.strip().rpartition("\n")[2]
        try:
            job.take(outcome)
        except PipelineError as error:
            self._fail(job, f"{error}; it came from {place}")
            return
        if outcome.code == 0:
            self._num_done += 1
            say(f"{job.title}: done on {place}, {self._num_done} of {len(self._jobs)} jobs")
        elif self._is_stopping:
            say(f"{job.title}: {last}")
        elif outcome.code < 0:
            self._try_again(number, f"its process was killed by signal {-outcome.code} on {place}")
        elif outcome.code == KILLED:
            self._try_again(number, f"on {place} {last.removeprefix('error: ')}")
        elif any(mark in outcome.said for mark in CUDA_MARKS):
            self._failures[place] += 1
            if self._failures[place] >= MAX_FAILURES:
                warn(f"{place}: failed {MAX_FAILURES} times and gets no more jobs")
            self._try_again(number, f"{place} failed: {last}")
        else:
            self._fail(job, f"{last.removeprefix('error: ')}; its log is {job.log}")

    def _try_again(self, number: int, why: str) -> None:
        job = self._jobs[number]
        self._attempts[number] += 1
        if self._is_stopping:
            return
        if self._attempts[number] >= job.max_attempts:
            at_last = f"was tried {job.max_attempts} times; at last {why}; its log is {job.log}"
            self._fail(job, at_last)
            return
        warn(f"{job.title}: {why}; trying again")
        self._waiting.appendleft(number)

    def _fail(self, job: Job, why: str) -> None:
        self._waiting.clear()
        self._error = self._error or ArtifactError(f"{job.title}: {why}")
