"""Commands of `pipeline` as processes that can be killed, started without the wait for imports.

Importing torch takes seconds, in which a kill hits nothing of interest. So one process imports all
stages and forks itself for every command: `python -m tests.faults.commands` is that process.
Everything else is as with `python -m pipeline`: a process group of its own, workers that it
starts, its exit code.
"""

import atexit
import codecs
import gc
import json
import os
import pkgutil
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import psutil

PATIENCE_SECONDS = 300
MARK = "STARTED_BY_FAULTS_COMMANDS"  # a variable that names the folder of a server's logs


class Command:
    """A command that runs, and all the processes that come of it."""

    def __init__(self, server: "subprocess.Popen[str]", pid: int, log: Path) -> None:
        self._server = server
        self._log = log
        self.pid = pid

    @property
    def told(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float) -> int | None:
        """Wait until it ends, at most so long; returns its exit code, negative for a signal."""
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], max(0.0, seconds))[0]:
            return None
        return int(self._server.stdout.readline())

    def finish(self) -> str:
        """Wait until it has succeeded; returns what it printed."""
        assert self.wait(PATIENCE_SECONDS) == 0, self.told
        return self.told

    def kill(self) -> bool:
        """Kill the whole group; returns whether that ended the command."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    def living(self) -> list[psutil.Process]:
        """List the processes that came of the command and are alive.

        They are known by the variable that their server was started with: whoever begins a session
        or a group of its own, moves elsewhere or loses its parent keeps it.
        """
        return [process for process in psutil.process_iter() if self._is_mine(process)]

    def _is_mine(self, process: psutil.Process) -> bool:
        try:
            is_zombie = process.status() == psutil.STATUS_ZOMBIE  # dead; nobody has asked how yet
            if is_zombie or process.pid == self._server.pid:
                return False
            return process.environ().get(MARK) == str(self._log.parent)
        except (OSError, psutil.Error):  # it ended meanwhile
            return False

    def wait_until_gone(self, seconds: float) -> list[psutil.Process]:
        """Wait until none of the processes is left, at most so long; returns those that are."""
        end = time.monotonic() + seconds
        while (living := self.living()) and time.monotonic() < end:
            time.sleep(0.02)
        return living


class Commands:
    """Starts commands one after the other.

    Attributes:
        environment: The variables of every command.
    """

    def __init__(
        self, server: "subprocess.Popen[str]", folder: Path, environment: dict[str, str]
    ) -> None:
        self._server = server
        self._folder = folder
        self._number = 0
        self.environment = environment

    def start(
        self,
        arguments: Sequence[str | Path],
        root: Path,
        *,
        file_bytes: int | None = None,
        user: int | None = None,
    ) -> Command:
        """Start a command in `root`, which it works on.

        Args:
            arguments: As on the command line.
            root: Its working directory.
            file_bytes: No file that it writes may be larger, as `ulimit -f` has it.
            user: Who runs it; this user, if None.
        """
        self._number += 1
        log = self._folder / f"{self._number}.log"
        log.touch()
        order = {
            "arguments": [*map(str, arguments)],
            "cwd": str(root),
            "log": str(log),
            "file_bytes": file_bytes,
            "user": user,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return Command(self._server, int(self._server.stdout.readline()), log)

    def run(self, arguments: Sequence[str | Path], root: Path) -> str:
        """Run a command to its good end; returns what it printed."""
        return self.start(arguments, root).finish()


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[Commands]:
    """Have the process that has imported all stages, for as long as the context lasts.

    Args:
        folder: Where logs and temporary files go.
        environment: Variables of every command.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    own = {"TMPDIR": str(temporary), MARK: str(folder)}
    all_variables = os.environ | own | environment
    server = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=all_variables,
    )
    with server:
        yield Commands(server, folder, all_variables)
        assert server.stdin is not None
        server.stdin.close()
        server.wait(PATIENCE_SECONDS)


def _serve() -> None:
    import pipeline.stages
    from pipeline.cli import main
    from pipeline.training import finetune, probe  # noqa: F401  # what stages import when needed

    for module in pkgutil.iter_modules(pipeline.stages.__path__):
        import_module(f"pipeline.stages.{module.name}")
    for encoding in ("utf-8-sig", "cp437"):  # another user may not read the interpreter's files
        codecs.lookup(encoding)
    gc.freeze()  # else a command's end would look at all that was imported
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order, main)
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # whoever is first: it must be so before anyone is told the number
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


def _become(order: dict[str, Any], main: Callable[[], None]) -> NoReturn:
    """Be the command, from its first line to its end, the tearing down of modules left out."""
    os.setpgid(0, 0)
    os.chdir(order["cwd"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    if order["file_bytes"] is not None:  # what it prints goes through a pipe, which has no limit
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert writer.stdin is not None
        log = writer.stdin.fileno()
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], resource.RLIM_INFINITY))
    for descriptor, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(descriptor, stream)
    for number, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", buffering=1, closefd=False))
    if order["user"] is not None:
        os.setgroups([])
        os.setgid(order["user"])
        os.setuid(order["user"])
    sys.argv = ["pipeline", *order["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
