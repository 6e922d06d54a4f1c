"""Valid bytes spoiled at random, and readers held to their own errors while they read them."""

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import PipelineError

Result = TypeVar("Result")

# What the process of a fuzzed reader may take beyond what it has when it begins, and what CPU time
# one input may take; a busy machine doesn't count.
MEMORY_BYTES = 3 << 30
CPU_SECONDS = 20
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


def hold(read: Callable[[bytes], object], inputs: Iterator[bytes]) -> Outcome:
    """Read every input; only errors of ours may come out, each of one line, and in time."""
    outcome = Outcome()
    signal.signal(signal.SIGPROF, _out_of_time)
    for number, content in enumerate(inputs):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            read(content)
            outcome.num_read += 1
        except PipelineError as error:
            outcome.num_refused += 1
            if "\n" in str(error) or not str(error):
                outcome.crashes.append(f"{number}: not one line: {error!r}")
        except Exception as error:
            outcome.crashes.append(f"{number}: {error!r:.300} <- {content[:60]!r}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome


def _out_of_time(*_: object) -> None:
    raise TimeoutError(f"more than {CPU_SECONDS} s of CPU time")


def in_limits(work: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process of its own, whose memory is limited."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_limited, work, *arguments).result()


def _limited(work: Callable[..., Result], *arguments: Any) -> Result:
    """Set the limit when all is imported: libraries of torch take gigabytes of addresses."""
    status = Path("/proc/self/statm")
    has = int(status.read_text().split()[0]) * resource.getpagesize() if status.exists() else 0
    resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY_BYTES, resource.RLIM_INFINITY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff tells there what is wrong, at length
    return work(*arguments)


def assert_held(outcomes: Mapping[str, Outcome], least: int) -> None:
    """Hold outcomes, by the kind of input, to no crash and to enough of each result."""
    crashes = [f"{name} {crash}" for name, one in outcomes.items() for crash in one.crashes]
    assert crashes == [], f"{len(crashes)}, the first: " + "\n".join(crashes[:5])
    assert sum(one.num_inputs for one in outcomes.values()) >= least
    idle = [name for name, one in outcomes.items() if not one.num_refused]
    assert idle == [], "nothing of these was ever refused"
