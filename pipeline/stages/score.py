"""Note the judge's score of a file that was submitted."""

import hashlib
import math
from pathlib import Path

from pipeline import console
from pipeline.competition import Competition
from pipeline.errors import ConfigError, SubmissionError
from pipeline.paths import Paths
from pipeline.scoring.answers import read_bytes
from pipeline.submission_log import Entry, SubmissionLog, open_log


def run(
    paths: Paths,
    competition: Competition,
    csv: Path,
    public: float | None,
    private: float | None,
) -> None:
    """Write the judge's score of a file into submissions/COMPETITION/log.csv.

    The file is known by its content, under whatever name it was handed in.

    Raises:
        ConfigError: No score is given, or one that is no number.
        DataError: The log is damaged.
        SubmissionError: `submit` didn't write that file, or it was changed since.
    """
    given = [score for score in (public, private) if score is not None]
    if not given or not all(map(math.isfinite, given)):
        raise ConfigError(
            "score: must be given a number with --public, --private or both, is given "
            f"{', '.join(map(str, given)) or 'none'}"
        )
    content = read_bytes(csv, f"pipeline submit {competition.name}")
    sha256 = hashlib.sha256(content).hexdigest()
    with open_log(paths, f"score {competition.name}") as log:
        if not log.of(sha256):
            raise SubmissionError(_strange(paths, log, csv, sha256))
        log.change(sha256, public_score=public, private_score=private)
        for entry in log.of(sha256):
            console.result(_line(entry))


def _strange(paths: Paths, log: SubmissionLog, csv: Path, sha256: str) -> str:
    written = [entry for entry in log.entries if entry.file == csv.name]
    if written:
        return (
            f"{csv}: must be as 'pipeline submit' wrote it (sha256 {written[-1].sha256[:12]}...), "
            f"was changed since ({sha256[:12]}...); name the file that the judge was given"
        )
    return (
        f"{csv}: must be a file that 'pipeline submit' wrote, {paths.submission_log} knows none "
        f"of sha256 {sha256[:12]}...; name the file that the judge was given"
    )


def _line(entry: Entry) -> str:
    scores = {"OOF": entry.oof_score, "public": entry.public_score, "private": entry.private_score}
    told = ", ".join(f"{name} {score:g}" for name, score in scores.items() if score is not None)
    return f"{entry.experiment}, {entry.metric}: {told}"
