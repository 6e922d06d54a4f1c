"""Send files to Kaggle, read its scores and fetch its data."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.errors import DownloadError, SubmissionError
from pipeline.store.paths import Paths
from pipeline.submission.kaggle_client import CALL_SECONDS, KaggleClient, LostAnswerError
from pipeline.submission.submission_log import open_log

SLOW_BYTES_PER_SECOND = 20_000  # a line that is slower isn't waited for
IDLE_SECONDS = 90.0  # in which a download must go on
PAUSE_SECONDS = 5.0
NUM_TRIES = 3  # to find a file whose answer was lost
PAGE_SIZE = 100
MOST_PAGES = 50


@dataclass(frozen=True)
class Verdict:
    """Kaggle's answer about a file that it took.

    Attributes:
        is_final: Whether it has been judged, which happens a while after it was taken.
        refusal: Why the file got no score; empty if it got one.
        public_score: On the part of the test images that is scored at once.
        private_score: On the rest, told when the competition is over.
        remark: What Kaggle says in the place of a score; empty if it says a number or nothing.
    """

    is_final: bool
    refusal: str = ""
    public_score: float | None = None
    private_score: float | None = None
    remark: str = ""


PENDING = Verdict(is_final=False)


def mark_of(sha256: str) -> str:
    """Return what ends the description of a file, by which it is known on Kaggle."""
    return f"[{sha256[:12]}]"


class Kaggle:
    """A competition on kaggle.com.

    Args:
        slug: The competition's name in its URL.
        asker: Who needs it, for the errors.

    Raises:
        ConfigError: The client isn't installed, or finds no credentials.
        SubmissionError: Kaggle doesn't answer whether they are good.
    """

    def __init__(self, slug: str, asker: str = "--to-kaggle") -> None:
        self.slug = slug
        self._client = KaggleClient(slug, asker)

    def send(self, csv: Path, message: str, mark: str) -> int:
        """Send a file.

        Args:
            csv: The file.
            message: Describes it on Kaggle.
            mark: By which it can be found there; ends the description.

        Returns:
            The number that Kaggle gave it.

        Raises:
            SubmissionError: Kaggle doesn't take it, with its reason; or it isn't known whether it
                did.
        """
        described = str(csv), f"{message} {mark}", self.slug
        submit = partial(self._client.api.competition_submit, *described, quiet=True)
        seconds = CALL_SECONDS + csv.stat().st_size / SLOW_BYTES_PER_SECOND
        try:
            response = self._client.ask(f"{csv}: wasn't taken by Kaggle", submit, seconds)
        except LostAnswerError as error:
            return self._find_lost(csv, mark, str(error).partition(": ")[2])
        if response.message == self._client.api.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
            raise SubmissionError(
                f"{csv}: wasn't taken by Kaggle, which broke off its upload; "
                "run the same command again"
            )
        return int(response.ref or self._find_lost(csv, mark, "its answer has no number"))

    def _find_lost(self, csv: Path, mark: str, reason: str) -> int:
        """Look whether a file was taken whose answer was lost."""
        again = "run the same command again, which asks before it sends"
        for _ in range(NUM_TRIES):
            try:
                number = self.find(mark)
            except SubmissionError as error:
                raise SubmissionError(
                    f"{csv}: it isn't known whether Kaggle took it, as its answer was lost "
                    f"({reason}); {again}"
                ) from error
            if number is not None:
                return number
            time.sleep(PAUSE_SECONDS)
        raise SubmissionError(
            f"{csv}: wasn't taken by Kaggle, as its list doesn't name it; its answer was lost "
            f"({reason}); {again}"
        )

    def find(self, mark: str) -> int | None:
        """Find the number of an earlier submission by the mark in its description.

        Raises:
            SubmissionError: Kaggle doesn't answer.
        """
        what = "Kaggle doesn't say what it was sent before, so nothing was sent"
        listed = self._listed(what)
        return next((int(one.ref) for one in listed if mark in (one.description or "")), None)

    def verdict(
        self, number: int, patience_seconds: float, pause_seconds: float = PAUSE_SECONDS
    ) -> Verdict:
        """Ask what became of a file until that is known or the patience has run out.

        Raises:
            SubmissionError: Kaggle doesn't answer.
        """
        what = f"submission {number}: Kaggle has it, but doesn't say what became of it"
        end = time.monotonic() + patience_seconds
        while True:
            is_last = time.monotonic() + pause_seconds > end
            try:
                ours = next((one for one in self._listed(what) if one.ref == number), None)
                verdict = PENDING if ours is None else _read(ours)
            except LostAnswerError:
                if is_last:
                    raise
                verdict = PENDING
            if verdict.is_final or is_last:
                return verdict
            time.sleep(pause_seconds)

    def download(self, folder: Path) -> Path:
        """Fetch all of the competition's data in one zip; go on where an earlier call stopped.

        Raises:
            DownloadError: Kaggle doesn't give it, or stops giving.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fetch = partial(
            self._client.api.competition_download_files, self.slug, str(folder), quiet=True
        )
        what = f"{self.slug}: wasn't given by Kaggle"

        def num_bytes() -> int:
            return sum(path.stat().st_size for path in folder.iterdir())

        try:
            self._client.ask(what, fetch, IDLE_SECONDS, num_bytes)
        except SubmissionError as error:
            raise DownloadError(str(error)) from error
        return folder / f"{self.slug}.zip"

    def _listed(self, what: str) -> Iterator[Any]:
        """List all submissions to the competition, the newest first."""
        seen: set[int] = set()
        for page in range(1, MOST_PAGES + 1):
            paging = {"page_size": PAGE_SIZE} | ({"page_number": page} if page > 1 else {})
            ask = partial(self._client.api.competition_submissions, self.slug, **paging)
            found = [one for one in self._client.ask(what, ask) or [] if one is not None]
            new = [one for one in found if one.ref not in seen]
            yield from new
            seen.update(one.ref for one in new)
            if len(found) < PAGE_SIZE or not new:
                return


def _read(submission: Any) -> Verdict:
    status = submission.status.name
    if status == "ERROR":
        return Verdict(is_final=True, refusal=submission.error_description or "it gives no reason")
    if status != "COMPLETE":
        return PENDING
    told = {"public": submission.public_score, "private": submission.private_score}
    scores = {part: _score(text) for part, text in told.items()}
    odd = [f"{part} score {text!r}" for part, text in told.items() if text and scores[part] is None]
    return Verdict(
        is_final=True,
        public_score=scores["public"],
        private_score=scores["private"],
        remark=" and ".join(odd),
    )


def _score(text: str | None) -> float | None:
    """Read a score; None where there is none, or no number."""
    with contextlib.suppress(ValueError):
        score = float(text or "nan")
        return score if math.isfinite(score) else None
    return None


def note_verdict(
    kaggle: Kaggle, paths: Paths, csv: Path, sha256: str, number: int, patience_seconds: float
) -> None:
    """Wait for the verdict on a file, while others may use the log; log and print its scores.

    They are of the content that was sent, whatever stands there by now.

    Raises:
        SubmissionError: Kaggle refuses the file, or doesn't answer.
    """
    verdict = kaggle.verdict(number, patience_seconds)
    if verdict.refusal:
        raise SubmissionError(f"{csv}: must be accepted by Kaggle, is refused: {verdict.refusal}")
    told = {"public": verdict.public_score, "private": verdict.private_score}
    scores = {part: score for part, score in told.items() if score is not None}
    with open_log(paths, f"Kaggle's verdict on {csv.name}") as log:
        log.change(sha256, **{f"{part}_score": score for part, score in scores.items()})
    for part, score in scores.items():
        console.result(f"Kaggle's {part} score: {score}")
    if verdict.remark:
        console.warn(f"Kaggle's {verdict.remark} is no number and wasn't noted")
    elif not scores:
        console.result("Kaggle has no score yet; the same command again asks for it")
