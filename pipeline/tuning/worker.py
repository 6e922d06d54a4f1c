"""Run a study's trials in one process or several, until it has enough of them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import ClassVar

import torch
from filelock import FileLock
from optuna.exceptions import OptunaError
from optuna.study import Study

from pipeline.console import warn
from pipeline.errors import ArtifactError, DiskError, PipelineError, StoppedError
from pipeline.machine import deferred_interrupt, num_cpus
from pipeline.training.job_pool import JobPool
from pipeline.training.ray_cluster import Outcome, PoolOptions
from pipeline.tuning.objective import FailedTrialError, Objective
from pipeline.tuning.search import Search, finite_space
from pipeline.tuning.study import open_study
from pipeline.tuning.trials import count_taken, enqueue_again, enqueue_orphans

MAX_REPLACED = 10  # killed workers of one command


@dataclass(frozen=True)
class Limits:
    """The end of a search, by trials or by time.

    Attributes:
        num_trials: Trials of the study in the end, those of earlier commands included.
        until: No trial is begun after this time, in seconds as `time.time` gives it.
    """

    num_trials: int
    until: float = float("inf")


def run_worker(search: Search, limits: Limits) -> None:
    """Run trials in this process until the study has enough of them.

    Raises:
        StoppedError: Ctrl-C; the trial that it ended is tried again by the next command.
    """
    study = open_study(search)
    # One worker of this machine at a time takes a trial: together they take no more than wanted.
    turn = FileLock(search.paths.study_lock(search.study_name))
    space = finite_space(search)
    parent = multiprocessing.parent_process()
    with deferred_interrupt() as is_interrupted:
        objective = Objective(search, is_interrupted, turn.release)
        while parent is None or parent.is_alive():
            if is_interrupted():
                raise StoppedError(_format_stop(search))
            with turn:
                enqueue_orphans(study, is_alone=search.url is None)
                if count_taken(study) >= limits.num_trials or time.time() > limits.until:
                    return
                if space is not None and space.is_exhausted(study):
                    return
                _run_trial(study, objective, search)


def _run_trial(study: Study, objective: Objective, search: Search) -> None:
    try:
        study.optimize(objective, n_trials=1, catch=(FailedTrialError,))
    except (StoppedError, DiskError) as error:
        enqueue_again(study, study.get_trials(deepcopy=False)[objective.number])
        if isinstance(error, DiskError):
            raise
        raise StoppedError(_format_stop(search)) from error
    except OptunaError as error:  # of a database that went away
        reason = " ".join(str(error.__cause__ or error).split())
        raise ArtifactError(
            f"{search.title}: the study must answer, {reason}; the same command goes on with it"
        ) from error
    except AssertionError as error:  # Optuna's, of a trial whose end it couldn't write
        raise error.__context__ if isinstance(error.__context__, DiskError) else error from None


def _format_stop(search: Search) -> str:
    return f"{search.title}: stopped by Ctrl-C; the same command goes on with the study"


def run_workers(search: Search, limits: Limits, num_workers: int) -> None:
    """Run trials in several processes of this machine.

    One that is killed is replaced, and its trial tried again.

    Raises:
        StoppedError: Ctrl-C; every worker ended after its fold.
        PipelineError: A worker's error.
    """
    open_study(search)  # an error is reported once
    context = multiprocessing.get_context("spawn")
    errors = context.SimpleQueue()

    def start() -> BaseProcess:
        arguments = (search, limits, max(1, num_cpus() // num_workers), errors)
        process = context.Process(target=_worker_main, args=arguments)
        # Inherited: a Ctrl-C while it imports its libraries would end it with a traceback.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.start()
        signal.signal(signal.SIGINT, before)
        return process

    with deferred_interrupt() as is_interrupted:
        _supervise([start() for _ in range(num_workers)], start, is_interrupted)
        if is_interrupted():
            raise StoppedError(_format_stop(search))
    if not errors.empty():
        raise errors.get()


@dataclass(frozen=True)
class WorkerJob:
    """A worker of a search, as it travels to another process or machine.

    Attributes:
        search: What to search.
        limits: When it ends.
        number: Its number.
    """

    search: Search
    limits: Limits
    number: int

    # It runs many trials, of which each may kill it; a trial that does so is given up before it.
    max_attempts: ClassVar[int] = MAX_REPLACED
    brings: ClassVar[None] = None

    @property
    def title(self) -> str:
        """What to call it."""
        return f"{self.search.title} worker {self.number}"

    @property
    def log(self) -> Path:
        """What its process prints."""
        out = self.search.paths.experiment(f"{self.search.experiment.name}-tuned")
        return out.log_of(f"worker{self.number}").absolute()

    def run(self) -> None:
        """Run trials until the study has enough of them."""
        run_worker(self.search, self.limits)

    def take(self, _: Outcome) -> None:
        """Take nothing: trials are in the study."""


def deal_workers(search: Search, limits: Limits, options: PoolOptions) -> None:
    """Run trials on several GPUs or machines, a worker on each.

    Raises:
        StoppedError: Ctrl-C; every worker ended after its fold.
        PipelineError: A worker's error.
    """
    open_study(search)
    absolute = replace(search, paths=replace(search.paths, root=search.paths.root.absolute()))

    def jobs_for(num_slots: int) -> list[WorkerJob]:
        return [
            WorkerJob(absolute, limits, number)
            for number in range(min(num_slots, limits.num_trials))
        ]

    JobPool("tune", options).run(jobs_for)


def _supervise(
    workers: list[BaseProcess],
    start: Callable[[], BaseProcess],
    is_interrupted: Callable[[], bool],
) -> None:
    """Wait for workers; replace the killed ones, and pass on a Ctrl-C."""
    num_killed = 0
    while workers:
        for worker in list(workers):
            worker.join(timeout=0.2)
            if worker.exitcode is None:
                if is_interrupted() and worker.pid:
                    # Until it ends: what comes while it starts, or a second time, is ignored.
                    os.kill(worker.pid, signal.SIGINT)
                continue
            workers.remove(worker)
            if worker.exitcode < 0 and not is_interrupted():
                warn(f"worker {worker.pid} was killed by signal {-worker.exitcode}")
                num_killed += 1
                if num_killed <= MAX_REPLACED:
                    workers.append(start())


def _worker_main(
    search: Search, limits: Limits, num_threads: int, errors: "SimpleQueue[PipelineError]"
) -> None:
    torch.set_num_threads(num_threads)
    try:
        run_worker(search, limits)
    except StoppedError:
        return  # the parent says so
    except PipelineError as error:
        errors.put(error)
    except Exception as error:  # else the search would end as if it had done all
        text = " ".join(str(error).split())
        errors.put(
            PipelineError(
                f"{search.title}: a worker ended with {type(error).__name__}, {text}; the same "
                "command goes on with the study"
            )
        )
        raise
