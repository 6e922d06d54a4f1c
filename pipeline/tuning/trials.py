"""Record who runs a study's trials, and queue those again whose workers died."""

import multiprocessing
import os
import platform
from typing import Any

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.machine import JOB

# Attributes of a trial.
WORKER = "worker"
COMMAND = "command"
STREAM = "stream"
REASON = "reason"
ATTEMPT = "attempt"
FOLD_SCORES = "fold_scores"
SECONDS = "seconds"

# A trial whose workers were killed so often has failed by its values: it takes too much memory.
MAX_ATTEMPTS = 3
# Two begins of one process, read twice, differ by less.
SAME_SECONDS = 0.05


def taken_trials(study: Study) -> list[FrozenTrial]:
    """List the trials that ended or are being run.

    One that failed counts if it failed by its values; if its worker was killed or stopped, they are
    tried again.
    """
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in ended or (trial.state == TrialState.FAIL and failed_by_values(trial))
    ]


def count_taken(study: Study) -> int:
    """Count the trials of `taken_trials`."""
    return len(taken_trials(study))


def failed_by_values(trial: FrozenTrial) -> bool:
    """Check whether a trial failed by its values: it has a reason, or all its workers died."""
    return REASON in trial.user_attrs or trial.user_attrs.get(ATTEMPT, 1) >= MAX_ATTEMPTS


def failure_reason(trial: FrozenTrial) -> str:
    """Return why a trial didn't go through all folds; empty for one that did, or hasn't ended."""
    if REASON in trial.user_attrs:
        return str(trial.user_attrs[REASON])
    if trial.state != TrialState.FAIL:
        return ""
    if failed_by_values(trial):
        return f"its worker was killed {MAX_ATTEMPTS} times, for want of memory perhaps"
    return "its worker was killed or stopped; tried again"


def completed_trials(study: Study) -> list[FrozenTrial]:
    """List the trials that went through all folds."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def record_worker(trial: Trial) -> None:
    """Record the process that runs a trial and the command that started it, perhaps the same."""
    process = psutil.Process()
    is_started = multiprocessing.parent_process() is not None or JOB in os.environ
    command = psutil.Process(os.getppid()) if is_started else process
    trial.set_user_attr(COMMAND, [command.pid, *_begin(command)])
    trial.set_user_attr(WORKER, [platform.node(), process.pid, *_begin(process)])


def last_attempts(study: Study) -> dict[int, FrozenTrial]:
    """Return the last attempt at each trial, by the random stream that its values are drawn from.

    A trial that is tried again goes on in its first attempt's stream, and takes no number from
    later ones: so an interrupted study tries what an unbroken one would.
    """
    attempts: dict[int, FrozenTrial] = {}
    num_streams = 0
    for trial in sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number):
        attempts[trial.user_attrs.get(STREAM, num_streams)] = trial
        num_streams += STREAM not in trial.user_attrs
    return attempts


def stream_number(study: Study, trial: FrozenTrial) -> int:
    """Return the number of a running trial's random stream; see `last_attempts`."""
    for number, attempt in last_attempts(study).items():
        if attempt.number == trial.number:
            return number
    raise AssertionError(f"trial {trial.number} was tried again while it ran")


def enqueue_again(study: Study, trial: FrozenTrial, *, is_suspect: bool = False) -> None:
    """Queue a trial's values once more; those it hadn't drawn yet are drawn then.

    Args:
        study: The study.
        trial: The trial.
        is_suspect: Whether its values may be why its worker died.
    """
    dropped = {ATTEMPT, REASON, WORKER, COMMAND, FOLD_SCORES, SECONDS}
    attrs: dict[str, Any] = {k: v for k, v in trial.user_attrs.items() if k not in dropped}
    attrs[ATTEMPT] = trial.user_attrs.get(ATTEMPT, 1) + is_suspect
    attrs[STREAM] = stream_number(study, trial)
    fixed = trial.system_attrs.get("fixed_params", {})
    study.enqueue_trial(fixed | trial.params, user_attrs=attrs)


def enqueue_orphans(study: Study, *, is_alone: bool) -> int:
    """Queue the trials again whose workers died on this machine; return their number.

    A journal has no heartbeat: whether a worker lives is asked of the operating system, by its
    process id and start. Call it while no other process of this machine takes a trial.

    Args:
        study: The study.
        is_alone: Whether all its workers are on this machine; one that died before it could say
            who it was is then known to be dead.
    """
    num_enqueued = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is None and not is_alone:
            continue
        if worker is not None and (worker[0] != platform.node() or _is_alive(*worker[1:])):
            continue
        num_enqueued += _fail_and_enqueue(study, trial)
    # Of others that failed by no fault of theirs, whoever should have queued them was killed, too.
    for trial in last_attempts(study).values() if is_alone else ():
        if trial.state == TrialState.FAIL and not failed_by_values(trial):
            enqueue_again(study, trial)
            num_enqueued += 1
    return num_enqueued


def _fail_and_enqueue(study: Study, trial: FrozenTrial) -> bool:
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False  # another machine's heartbeat was quicker
    if failed_by_values(trial):
        return False
    enqueue_again(study, trial, is_suspect=_is_suspect(trial))
    return True


def _is_suspect(trial: FrozenTrial) -> bool:
    """Check whether only the worker died, its command lives: the kernel kills what is too large."""
    command = trial.user_attrs.get(COMMAND)
    return command is not None and _is_alive(*command)


def _begin(process: psutil.Process) -> tuple[float, float]:
    """Return when a process began, by the clock and since the machine started."""
    begun = psutil.Process(process.pid).create_time()  # which an object of before keeps
    return begun, begun - psutil.boot_time()


def _is_alive(pid: int, started: float, since_boot: float = -1.0) -> bool:
    """Check whether a process lives: a later one may have its number, and clocks are set."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        by_clock, by_boot = _begin(process)
    except psutil.NoSuchProcess:
        return False
    return abs(by_clock - started) < SAME_SECONDS or abs(by_boot - since_boot) < SAME_SECONDS
