"""Predict how long trainings take: by a rehearsal, by what was measured before, by what they took.

The rehearsal runs in a process of its own (`rehearsal.py`), which imports torch while archives are
unpacked; it is killed when its time is up.
"""

import json
import queue
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from math import inf
from typing import Any, TypeGuard

from pipeline.config.experiment import Experiment
from pipeline.console import warn
from pipeline.errors import PipelineError
from pipeline.ladder.commands import Commands, kill
from pipeline.ladder.plan import Job
from pipeline.store.atomic import write_text
from pipeline.store.freshness import fingerprint
from pipeline.store.paths import Paths

MODULE = "pipeline.ladder.rehearsal"
# A measured pace that is further off is some accident's, or another training's features were there.
SLOWEST, FASTEST = 20.0, 0.5


@dataclass(frozen=True)
class Cost:
    """What a training takes on a machine.

    Attributes:
        start_seconds: Until the first image: the process, the network.
        shared_seconds: Once for all folds: features, working copies.
        fold_seconds: Of each fold.
        num_images: Train and test images that it was measured for.
        num_folds: Folds.
    """

    start_seconds: float
    shared_seconds: float
    fold_seconds: float
    num_images: int
    num_folds: int

    def predict(self, num_images: int, num_folds_left: int, num_folds: int) -> float:
        """Predict the seconds of what is left; what folds share is made with the first."""
        if num_folds_left == 0:
            return self.start_seconds
        is_begun = num_folds_left < num_folds
        shared = 0.0 if is_begun else self.shared_seconds
        scale = num_images / self.num_images
        return self.start_seconds + scale * (shared + num_folds_left * self.fold_seconds)

    def scaled(self, factor: float) -> "Cost":
        """Return the cost at another pace."""
        return replace(
            self,
            start_seconds=self.start_seconds * factor,
            shared_seconds=self.shared_seconds * factor,
            fold_seconds=self.fold_seconds * factor,
        )


@dataclass(frozen=True)
class Answer:
    """A rehearsal's: the cost, why the experiment can't be trained here, or what went wrong."""

    cost: Cost | None = None
    refused: str = ""
    fault: str = ""


class Rehearsal:
    """A process that tries a few batches of the experiments it is asked for.

    Attributes:
        seconds: How long it was busy with them.
    """

    def __init__(self, commands: Commands) -> None:
        self.seconds = 0.0
        self._answers: dict[str, Answer] = {}
        words = (commands.typed, str(commands.root))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = commands.start(MODULE, words, pipes)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._machine: dict[str, Any] | None = None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")  # it ended

    def _next(self, until: float) -> Any:
        """Return what it says next; None where it says nothing in time, or has ended."""
        with suppress(queue.Empty):
            while True:
                seconds = min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)
                line = self._lines.get(timeout=seconds)
                if not line:
                    return None
                with suppress(ValueError):  # a line that some library printed
                    return json.loads(line)
        return None

    def machine(self, until: float) -> dict[str, Any]:
        """Ask what kind of device computes here, and what the machine is known by.

        Args:
            until: When to give up; of `time.monotonic`.
        """
        self._machine = self._machine or self._next(until)
        if self._machine is None:
            self.close()  # else its late answer would be taken for another one's
            warn("run: the device can't be asked for, so it is taken for a CPU; see 'doctor'")
        return self._machine or {"device": "cpu", "machine": ""}

    def rehearse(self, job: Job, until: float) -> Answer:
        """Measure a training's cost, once, if it can be had in time."""
        begun = time.monotonic()
        if job.name in self._answers:
            return self._answers[job.name]
        answer = Answer()
        if begun < until and self._machine is not None and self._ask(job):
            reply = self._next(until)
            if isinstance(reply, dict):
                cost = reply.get("cost")
                cost = Cost(**cost) if cost else None
                answer = Answer(cost, reply.get("refused", ""), reply.get("fault", ""))
                self._answers[job.name] = answer
            else:
                self.close()  # else its late answer would be taken for the next one's
        self.seconds += time.monotonic() - begun
        return answer

    def _ask(self, job: Job) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job.experiment.as_given()) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended
            return False
        return True

    def close(self) -> None:
        """End it."""
        kill(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):
                    pipe.close()


class Rates:
    """What trainings of a competition cost on this machine, remembered for the next run.

    Another competition's images are of other sizes, its classes more or fewer: it is rehearsed.

    Args:
        paths: Where they are kept.
        machine: What it is known by.
    """

    def __init__(self, paths: Paths, machine: str) -> None:
        self._paths = paths
        self._machine = machine

    def get(self, experiment: Experiment) -> Cost | None:
        """Return what is known of an experiment."""
        known = self._load().get(self._machine, {}).get(_key(experiment))
        with suppress(TypeError):
            cost = Cost(**known) if _is_record(known) else None
            return cost if cost is not None and _is_possible(cost) else None
        return None

    def put(self, experiment: Experiment, cost: Cost) -> None:
        """Remember it; a disk that is full forgets."""
        rates = self._load()
        rates.setdefault(self._machine, {})[_key(experiment)] = asdict(cost)
        self._write(rates)

    def forget(self, experiment: Experiment) -> None:
        """Drop what turned out to be wrong: the next run rehearses it."""
        rates = self._load()
        if rates.get(self._machine, {}).pop(_key(experiment), None) is not None:
            self._write(rates)

    def _write(self, rates: dict[str, Any]) -> None:
        with suppress(PipelineError):
            write_text(self._paths.rates_json, json.dumps(rates, indent=1, sort_keys=True) + "\n")

    def _load(self) -> dict[str, Any]:
        try:
            rates = json.loads(self._paths.rates_json.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return rates if _is_record(rates) and all(map(_is_record, rates.values())) else {}


def _is_possible(cost: Cost) -> bool:
    """Whether what a file says of a cost are times and counts."""
    return all(0 <= value < inf for value in astuple(cost)) and cost.num_images > 0


def _is_record(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _key(experiment: Experiment) -> str:
    """Name an experiment by what decides its cost: its seed doesn't."""
    config = {
        key: value
        for key, value in experiment.as_given().items()
        if key not in ("name", "description", "seed")
    }
    return f"{experiment.model.name} {fingerprint(config)[:16]}"


def pace_of(real: float, predicted: float, *, several_jobs: bool = False) -> float | None:
    """Return how much slower than predicted a training was; None where that tells nothing.

    Args:
        real: Its seconds.
        predicted: What one device was predicted to take.
        several_jobs: Whether its folds were trained at once, on many devices perhaps.
    """
    pace = real / max(predicted, 1e-3)
    return min(SLOWEST, pace) if several_jobs or pace >= FASTEST else None
