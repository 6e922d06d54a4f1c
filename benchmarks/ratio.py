"""Time two ways of doing one thing, in turns."""

import statistics
import time
from collections.abc import Callable

from pipeline.console import result

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(title: str, ours: Work, other: Work, rounds: int = 7) -> float:
    """Print and return how many times faster `ours` is than `other`: the median over rounds.

    Args:
        title: What is compared, for the printed line.
        ours: Called once per round, after one call to warm up.
        other: The same work done the other way.
        rounds: How often each side is timed.
    """
    ours(), other()
    ratios = [seconds(other) / seconds(ours) for _ in range(rounds)]
    low, high = min(ratios), max(ratios)
    middle = statistics.median(ratios)
    result(f"{title}: {middle:.2f} x (min {low:.2f}, max {high:.2f}, {rounds} rounds)")
    return middle
