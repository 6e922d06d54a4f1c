"""What became of a study's trials, and what a dead worker's become."""

import os
import platform
from typing import Any

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

# Attributes of a trial.
WORKER = "worker"
REASON = "reason"
ATTEMPT = "attempt"
FOLD_SCORES = "fold_scores"
SECONDS = "seconds"

# A trial whose workers were killed so often is to blame itself: it takes too much memory.
MAX_ATTEMPTS = 3


def num_taken(study: Study) -> int:
    """Count the trials that ended or are being run.

    One that failed counts if its values are to blame; if its worker was killed or stopped, they
    are tried again.
    """
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return sum(
        trial.state in ended or (trial.state == TrialState.FAIL and is_to_blame(trial))
        for trial in study.get_trials(deepcopy=False)
    )


def is_to_blame(trial: FrozenTrial) -> bool:
    """Whether a trial failed for its values: it said why, or every worker that took it died."""
    return REASON in trial.user_attrs or trial.user_attrs.get(ATTEMPT, 1) >= MAX_ATTEMPTS


def reason_of(trial: FrozenTrial) -> str:
    """Tell why a trial didn't go through all folds; empty for one that did, or hasn't ended."""
    if REASON in trial.user_attrs:
        return str(trial.user_attrs[REASON])
    if trial.state != TrialState.FAIL:
        return ""
    if is_to_blame(trial):
        return f"its worker was killed {MAX_ATTEMPTS} times, for want of memory perhaps"
    return "its worker was killed or stopped; tried again"


def completed(study: Study) -> list[FrozenTrial]:
    """List the trials that went through all folds."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def claim(trial: Trial) -> None:
    """Note who runs a trial."""
    process = psutil.Process()
    trial.set_user_attr(WORKER, [platform.node(), process.pid, process.create_time()])


def try_again(study: Study, trial: FrozenTrial) -> None:
    """Put a trial's values in the queue once more; those it hadn't drawn yet are drawn then."""
    kept = {ATTEMPT, REASON, WORKER, FOLD_SCORES, SECONDS}
    attrs: dict[str, Any] = {k: v for k, v in trial.user_attrs.items() if k not in kept}
    attempt = trial.user_attrs.get(ATTEMPT, 1) + 1
    fixed = trial.system_attrs.get("fixed_params", {})
    study.enqueue_trial(fixed | trial.params, user_attrs=attrs | {ATTEMPT: attempt})


def recover(study: Study, *, is_alone: bool) -> int:
    """Try the trials of workers again that died on this machine; returns their number.

    A journal has no heartbeat: whether a worker lives is asked of the operating system, by its
    number and start. Call it while no other process of this machine takes a trial.

    Args:
        study: The study.
        is_alone: Whether all its workers are on this machine; one that died before it could say
            who it was is then known to be dead.
    """
    num_recovered = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER)
        if worker is None and not is_alone:
            continue
        if worker is not None and (worker[0] != platform.node() or _is_alive(*worker[1:])):
            continue
        num_recovered += _give_up(study, trial)
    return num_recovered


def _give_up(study: Study, trial: FrozenTrial) -> bool:
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False  # another machine's heartbeat was quicker
    if is_to_blame(trial):
        return False
    try_again(study, trial)
    return True


def _is_alive(pid: int, started: float) -> bool:
    if pid == os.getpid():
        return True
    try:
        process = psutil.Process(pid)
        # A zombie is dead; a later process may have the number.
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() == started
    except psutil.NoSuchProcess:
        return False
