"""Valid bytes spoiled at random, and readers held to their own errors while they read them."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unicodedata import category

from pipeline.errors import PipelineError

Result = TypeVar("Result")

# What one input may take of memory, beyond what the process has, and of CPU time; a busy machine
# doesn't count.
MEMORY_BYTES = 3 << 30
CPU_SECONDS = 20
READ, REFUSED = "read", "refused"
STATUS = Path("/proc/self/status")
ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass
class Outcome:
    """What became of the inputs of one reader.

    Attributes:
        num_read: Inputs that were read as if nothing was wrong.
        num_refused: Inputs that were refused by an error of ours.
        crashes: What else came out, with the input's number, to be made again by its seed.
    """

    num_read: int = 0
    num_refused: int = 0
    crashes: list[str] = field(default_factory=list)

    @property
    def num_inputs(self) -> int:
        return self.num_read + self.num_refused + len(self.crashes)


def mutants(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Spoil each of some valid files in turn, in one to four places."""
    rng = random.Random(seed)
    for number in range(count):
        content = bytearray(seeds[number % len(seeds)])
        for _ in range(rng.randint(1, 4)):
            rng.choice(MUTATIONS)(content, rng, seeds)
        yield bytes(content)


def _flip(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _flip_early(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    """Headers are where the decisions are."""
    if content:
        content[rng.randrange(min(len(content), 128))] = rng.randrange(256)


def _odd_number(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice(ODD_NUMBERS) & (256**width - 1)
    at = rng.randrange(len(content) + 1)
    content[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))


def _truncate(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _splice(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    start = rng.randrange(len(other) + 1)
    at = rng.randrange(len(content) + 1)
    content[at : at + rng.randrange(64)] = other[start : start + rng.randrange(64)]


def _repeat(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(content) + 1)
    content[at:at] = bytes(content[at : at + rng.randrange(32)]) * rng.randrange(8)


def _delete(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(content) + 1)
    del content[at : at + rng.randrange(32)]


MUTATIONS = (_flip, _flip_early, _odd_number, _truncate, _splice, _repeat, _delete)


class OutOfTimeError(BaseException):
    """No error that a reader may take for damage, as it may a TimeoutError."""


def attempt(read: Callable[[], object], cpu_seconds: float = CPU_SECONDS) -> str:
    """Have one input read.

    Returns:
        READ, REFUSED, or what came out that mustn't: another error, an error of ours that isn't one
        printable line, too much time, too much memory. A reader that caught the error of a limit
        has exceeded it all the same.
    """
    with _measured(cpu_seconds) as excess:
        try:
            read()
            result = READ
        except PipelineError as error:
            text = str(error)
            is_line = text and all(one.isprintable() or category(one) == "Zs" for one in text)
            result = REFUSED if is_line else f"not one printable line: {error!r}"
        except (Exception, OutOfTimeError) as error:
            result = f"{error!r:.300}"
    return excess() or result


@contextmanager
def _measured(cpu_seconds: float) -> Iterator[Callable[[], str]]:
    """Measure what is done in the context; returns what tells afterwards whether it was too much.

    Both limits are enforced, too, at some distance, so that a machine survives what exceeds them.
    """
    has, began = _peak_bytes(is_new=True), time.process_time()
    handler = signal.signal(signal.SIGPROF, _out_of_time)
    memory = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + 4 * MEMORY_BYTES, memory[1]))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)

    def excess() -> str:
        seconds, num_bytes = time.process_time() - began, _peak_bytes() - has
        if seconds > cpu_seconds:
            return f"{seconds:.0f} s of CPU time"
        return f"{num_bytes:,} bytes of memory" if num_bytes > MEMORY_BYTES else ""

    try:
        yield excess
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGPROF, handler)


def _peak_bytes(*, is_new: bool = False) -> int:
    """Return the most memory that this process has had, or has from now on; 0 but on Linux."""
    if not STATUS.exists():
        return 0
    if is_new:
        STATUS.with_name("clear_refs").write_text("5", encoding="ascii")
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _address_bytes() -> int:
    """Libraries of torch take gigabytes of addresses."""
    pages = STATUS.with_name("statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _out_of_time(*_: object) -> None:
    raise OutOfTimeError("too many s of CPU time")


def hold(read: Callable[[bytes], object], inputs: Iterator[bytes]) -> Outcome:
    """Read every input in the limits; only errors of ours may come out, each of one line."""
    outcome = Outcome()
    for number, content in enumerate(inputs):
        result = attempt(partial(read, content))
        if result == READ:
            outcome.num_read += 1
        elif result == REFUSED:
            outcome.num_refused += 1
        else:
            outcome.crashes.append(f"{number}: {result} <- {content[:60]!r}")
    return outcome


def in_own_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process of its own, which may die of what it reads."""
    with ProcessPoolExecutor(1, get_context("spawn"), _silence) as pool:
        return pool.submit(work, *arguments).result()


def _silence() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff tells there what is wrong, at length


def assert_held(outcomes: Mapping[str, Outcome], least: int) -> None:
    """Hold outcomes, by the kind of input, to no crash and to enough of each result."""
    crashes = [f"{name} {crash}" for name, one in outcomes.items() for crash in one.crashes]
    assert crashes == [], f"{len(crashes)}, the first: " + "\n".join(crashes[:5])
    assert sum(one.num_inputs for one in outcomes.values()) >= least
    idle = [name for name, one in outcomes.items() if not one.num_refused]
    assert idle == [], "nothing of these was ever refused"
