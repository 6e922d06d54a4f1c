"""Run other commands as processes, which can be ended for certain.

A training asked to stop saves and ends; one that doesn't, whatever it hangs in, is killed: every
command leaves complete files alone and goes on from them.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf, isinf
from pathlib import Path
from typing import Any

import psutil

from pipeline.console import RUN_VIEW
from pipeline.errors import StoppedError
from pipeline.machine import PARENT

FOREVER = inf
# How long a command may save when Ctrl-C asks for it.
SAVING_SECONDS = 60.0


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Its exit code, negative for a signal.
        seconds: How long it took.
        was_stopped: Whether it was asked to stop, or killed.
    """

    code: int
    seconds: float
    was_stopped: bool

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked for."""
        return self.code == 0


@dataclass(frozen=True)
class Commands:
    """The commands about one competition.

    Attributes:
        typed: The competition as the user named it.
        root: Folder of all outputs.
        devices: Options of `train` that say what several jobs at once run on.
    """

    typed: str
    root: Path
    devices: tuple[str, ...] = ()

    def start(
        self, module: str, words: Sequence[str], pipes: Mapping[str, int], view: str = ""
    ) -> "subprocess.Popen[str]":
        """Start a module of this package, in a group of its own: Ctrl-C is passed on, once."""
        variables = {PARENT: str(os.getpid())} | ({RUN_VIEW: view} if view else {})
        arguments: dict[str, Any] = {"stdin": subprocess.DEVNULL, **pipes}
        if os.name == "posix":
            arguments["process_group"] = 0
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env=os.environ | variables,
            text=True,
            **arguments,
        )

    def run(
        self,
        command: str,
        *options: str,
        stop_at: float = FOREVER,
        kill_at: float = FOREVER,
        view: str = "",
        is_quiet: bool = False,
    ) -> Ending:
        """Run a command until it ends, or is ended.

        Args:
            command: Its name.
            options: What it is given besides competition and root.
            stop_at: When it is asked to stop, as by Ctrl-C; of `time.monotonic`.
            kill_at: When it is killed, with its workers.
            view: What its bars show of the run, see `console`.
            is_quiet: Whether its tables are wanted nowhere.

        Raises:
            StoppedError: Ctrl-C; it has saved what it had.
        """
        words = [command, self.typed, "--root", str(self.root), *options]
        pipes = {"stdout": subprocess.DEVNULL} if is_quiet else {}
        begun = time.monotonic()
        process = self.start("pipeline", words, pipes, view)
        try:
            was_stopped = attend(process, stop_at, kill_at)
        except KeyboardInterrupt as interrupt:
            attend(process, time.monotonic(), time.monotonic() + SAVING_SECONDS)
            raise StoppedError(
                f"run {self.typed}: stopped by Ctrl-C during '{command}', what was done is saved; "
                "the same command goes on from there"
            ) from interrupt
        finally:
            kill(process)
        return Ending(process.returncode, time.monotonic() - begun, was_stopped)


def attend(process: "subprocess.Popen[str]", stop_at: float, kill_at: float) -> bool:
    """Wait until a process ends, asking it to stop, then killing it when it is time.

    Returns:
        Whether it was asked or killed.
    """
    was_stopped = False
    for moment, end in ((stop_at, _ask_to_stop), (kill_at, kill)):
        if moment > kill_at:
            continue
        with suppress(subprocess.TimeoutExpired):
            process.wait(None if isinf(moment) else max(0.0, moment - time.monotonic()))
            return was_stopped
        end(process)
        was_stopped = True
    return was_stopped


def _ask_to_stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all that came of it; one that ended is left alone."""
    if process.poll() is not None:
        return
    with suppress(psutil.NoSuchProcess):
        command = psutil.Process(process.pid)
        for member in (*command.children(recursive=True), command):
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()
