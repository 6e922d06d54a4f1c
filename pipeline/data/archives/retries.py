"""Retry a download whose failure may pass, so often and with waits between."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline import console
from pipeline.errors import DownloadError


@dataclass(frozen=True)
class RetryPolicy:
    """Attempts, waits and timeouts; waits double up to the longest, unless the server names one."""

    attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0

    def wait_seconds(self, attempt: int, retry_after_seconds: float | None) -> float:
        """Time to wait after an attempt, counted from 1."""
        backoff = self.first_wait_seconds * 2 ** (attempt - 1)
        wait = backoff if retry_after_seconds is None else retry_after_seconds
        return min(max(wait, 0.0), self.longest_wait_seconds)


DEFAULT_RETRY_POLICY = RetryPolicy()


class InterruptionError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


def with_retries(receive: Callable[[], None], url: str, policy: RetryPolicy) -> None:
    """Call a function until it isn't interrupted any more, waiting in between.

    Raises:
        DownloadError: The last attempt was interrupted, too.
    """
    for attempt in range(1, policy.attempts + 1):
        try:
            receive()
            break
        except InterruptionError as interruption:
            if attempt == policy.attempts:
                raise DownloadError(
                    f"{url}: must be fetched within {attempt} attempts, the last: {interruption}"
                ) from interruption
            wait_seconds = policy.wait_seconds(attempt, interruption.retry_after_seconds)
            console.say(
                f"{url}: {interruption}; attempt {attempt + 1} of {policy.attempts} "
                f"in {wait_seconds:.0f} s"
            )
            time.sleep(wait_seconds)
