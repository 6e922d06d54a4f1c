"""Send a file to Kaggle and ask for its verdict, by its official client.

The client is optional (the extra `kaggle`). It looks for credentials when it is imported and talks
on stdout, so it is imported inside the functions, and what it says is kept for the errors.
"""

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, SubmissionError
from pipeline.machine import is_installed

NUM_LISTED = 100  # submissions that are looked through
CREDENTIALS = "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json"


@dataclass(frozen=True)
class Verdict:
    """Kaggle's verdict on a file that it took.

    Attributes:
        is_final: Whether it has judged; it does so a while after it took the file.
        refusal: Why the file got no score; empty if it got one.
        public_score: On the part of the test images that is scored at once.
        private_score: On the rest, revealed when the competition is over.
    """

    is_final: bool
    refusal: str = ""
    public_score: float | None = None
    private_score: float | None = None


PENDING = Verdict(is_final=False)


class Kaggle:
    """A competition on kaggle.com.

    Args:
        slug: The competition's name in its URL.

    Raises:
        ConfigError: The client isn't installed, or finds no credentials.
    """

    def __init__(self, slug: str) -> None:
        if not is_installed("kaggle"):
            raise ConfigError(
                "--to-kaggle: needs the package kaggle (the extra 'kaggle'), which isn't "
                f"installed; run '{sys.executable} -m pip install kaggle'"
            )
        self.slug = slug
        with contextlib.redirect_stdout(io.StringIO()):  # a page of help if there are none
            try:
                from kaggle.api.kaggle_api_extended import KaggleApi

                self._api: Any = KaggleApi()
                self._api.authenticate()
            except (SystemExit, OSError, ValueError) as error:
                raise ConfigError(
                    f"--to-kaggle: must find credentials in {CREDENTIALS}, finds none that serve; "
                    "make a token on kaggle.com, Settings, API"
                ) from error

    def send(self, csv: Path, message: str) -> int:
        """Send a file.

        Returns:
            The number that Kaggle gave it.

        Raises:
            SubmissionError: Kaggle doesn't take it; the message tells its reason.
        """
        with self._explained(f"{csv}: wasn't taken by Kaggle"):
            response = self._api.competition_submit(str(csv), message, self.slug, quiet=True)
            if response.message == self._api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
                raise SubmissionError(
                    f"{csv}: wasn't taken by Kaggle, which broke off its upload; "
                    "run the same command again"
                )
        return int(response.ref)

    def find(self, mark: str) -> int | None:
        """Find the number of an earlier submission by what its description ends with.

        Raises:
            SubmissionError: Kaggle doesn't answer.
        """
        with self._explained("Kaggle doesn't say what it was sent before, so nothing was sent"):
            submissions = self._api.competition_submissions(self.slug, page_size=NUM_LISTED)
        marked = [one for one in submissions or [] if (one.description or "").endswith(mark)]
        return int(marked[0].ref) if marked else None

    def verdict(self, number: int, patience_seconds: float, pause_seconds: float = 5) -> Verdict:
        """Ask what became of a file until that is known or the time is over.

        Raises:
            SubmissionError: Kaggle doesn't answer.
        """
        end = time.monotonic() + patience_seconds
        while True:
            with self._explained(f"submission {number}: Kaggle doesn't say what became of it"):
                submissions = self._api.competition_submissions(self.slug)
            ours = [one for one in submissions or [] if one.ref == number]
            verdict = _read(ours[0]) if ours else PENDING
            if verdict.is_final or time.monotonic() + pause_seconds > end:
                return verdict
            time.sleep(pause_seconds)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from requests.exceptions import RequestException

        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                yield
        except RequestException as error:
            reason = " ".join(f"{_reason(error)} {said.getvalue()}".split())
            raise SubmissionError(
                f"{what}: {reason}; see https://www.kaggle.com/c/{self.slug}/submissions"
            ) from error


def _reason(error: Any) -> str:
    """Find what the service said; the client keeps it where the answer has a "code" in it."""
    with contextlib.suppress(AttributeError, ValueError, KeyError, TypeError):
        return str(error.response.json()["message"])
    return str(error)


def _read(submission: Any) -> Verdict:
    status = submission.status.name
    if status == "ERROR":
        return Verdict(is_final=True, refusal=submission.error_description or "it gives no reason")
    if status != "COMPLETE":
        return PENDING
    return Verdict(
        is_final=True,
        public_score=_score(submission.public_score),
        private_score=_score(submission.private_score),
    )


def _score(text: str | None) -> float | None:
    return float(text) if text else None
