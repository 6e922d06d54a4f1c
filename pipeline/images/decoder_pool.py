"""Run work on images in processes of their own, which may crash on what they read."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

import cv2

from pipeline.errors import DataError, KilledError
from pipeline.machine import keep_freed_memory, num_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")

# An item that a process died of is tried again: where memory runs out, the kernel kills whichever
# process is largest.
MAX_ATTEMPTS = 2
# At shutdown a process may finish its item: it may be writing a file.
GRACE_SECONDS = 10.0
READY = "ready"


def map_in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    on_crash: Callable[[Item, str], Result] | None = None,
) -> Generator[Result, None, None]:
    """Call a function on items in several processes; yields results in the order of the items.

    A decoder that crashes takes its process along and nothing else: another one takes its place.

    Args:
        work: A function that other processes can import; what it raises is raised here.
        items: What to work on, one at a time per process.
        workers: Number of processes; None for one per core.
        on_crash: Makes the result of an item that MAX_ATTEMPTS processes died of, given the cause
            of the last death. Without it, that is an error.

    Raises:
        DataError: Processes died of an item, or can't be started.
    """
    pool = _Pool(work, items, on_crash)
    try:
        yield from pool.run(min(workers or num_cpus(), len(items)))
    finally:
        pool.shutdown()


class _Pool(Generic[Item, Result]):
    """The worker processes, the item that each works on, and the results."""

    def __init__(
        self,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        on_crash: Callable[[Item, str], Result] | None,
    ) -> None:
        self._work = work
        self._items = items
        self._on_crash = on_crash
        self._waiting = deque(range(len(items)))
        self._num_crashes = [0] * len(items)
        self._assigned: dict[_Worker, int] = {}
        self._done: dict[int, Result] = {}

    def run(self, num_workers: int) -> Iterator[Result]:
        for _ in range(num_workers):
            self._assign(_Worker(self._work))
        for number in range(len(self._items)):
            while number not in self._done:
                self._wait()
            yield self._done.pop(number)

    def shutdown(self) -> None:
        for worker in self._assigned:
            worker.close()
        for worker in self._assigned:
            worker.stop()

    def _assign(self, worker: "_Worker") -> None:
        """Give a worker its next item, if there is one."""
        if self._waiting:
            self._assigned[worker] = self._waiting.popleft()
            worker.send(self._items[self._assigned[worker]])
        else:
            self._assigned.pop(worker, None)
            worker.stop(after_seconds=0)

    def _wait(self) -> None:
        """Wait until a worker is done with its item, or dead."""
        by_connection = {worker.connection: worker for worker in self._assigned}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            number = self._assigned[worker]
            try:
                self._done[number] = worker.receive()
            except _CrashError as crash:
                del self._assigned[worker]
                self._record_crash(number, str(crash))
                if not self._waiting:
                    continue
                worker = _Worker(self._work)
            self._assign(worker)

    def _record_crash(self, number: int, cause: str) -> None:
        self._num_crashes[number] += 1
        if self._num_crashes[number] < MAX_ATTEMPTS:
            self._waiting.appendleft(number)
        elif self._on_crash is None:
            raise killed_worker(cause)
        else:
            self._done[number] = self._on_crash(self._items[number], cause)


class _CrashError(Exception):
    """A process died; the message says how."""


class _Worker:
    """A process that works on one item after the other."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        # Spawned, not forked: the same on every platform, and safe beside threads.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._is_started = False

    def send(self, item: Any) -> None:
        with suppress(OSError):  # it may be dead: `receive` raises then
            self.connection.send(item)

    def receive(self) -> Any:
        """Wait for what became of the item, and return or raise it.

        Raises:
            _CrashError: The process died of it.
            DataError: It died before it had begun.
        """
        try:
            if not self._is_started:
                self._is_started = self.connection.recv() == READY
            result, error = self.connection.recv()
        except (EOFError, OSError):
            cause = self._exit_cause()
            if not self._is_started:
                raise killed_worker(cause) from None  # no item can be blamed
            raise _CrashError(cause) from None
        if error is not None:
            raise error
        return result

    def _exit_cause(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        self.connection.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Let the process end when it is done with its item."""
        self.connection.close()

    def stop(self, after_seconds: float = GRACE_SECONDS) -> None:
        self._process.join(after_seconds)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(work: Callable[[Any], Any], connection: "Connection[Any, Any]") -> None:
    prepare_worker()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has hung up
        connection.send(READY)
        while True:
            item = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = work(item), None
            except Exception as error:
                if not isinstance(error, DataError):
                    error.add_note(traceback.format_exc())  # it happened in another process
                answer = None, error
            connection.send(answer)


def _end_with_parent() -> None:
    """Leave no orphan behind when the parent is killed, in the midst of an item."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def prepare_worker() -> None:
    """Set up a process: one thread, as the processes share the cores; Ctrl-C is the parent's."""
    cv2.setNumThreads(0)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


NTSTATUS = 0x8000_0000  # exit codes from here on are Windows's, for what crashed


def killed_worker(cause: str = "") -> KilledError:
    """Say that a process died; the kernel kills one where memory runs out."""
    told = f" ({cause})" if cause else ""
    code = cause.removeprefix("exit code ")
    if code != cause and int(code) < NTSTATUS:  # it ended by itself, for a reason that it printed
        how = f"one ended{told}; mend what it printed above and run the same command again"
    else:
        how = (
            f"one was killed{told}, most likely because memory ran out; free some and run the same "
            "command again"
        )
    return KilledError(f"reading images: every process must stay alive, {how}")
