"""Log the judge's score of a submitted file."""

import hashlib
import math
from pathlib import Path

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.errors import ConfigError, SubmissionError
from pipeline.store.paths import Paths, competitions_with_log
from pipeline.submission.answers import read_bytes
from pipeline.submission.kaggle import Kaggle, mark_of, note_verdict
from pipeline.submission.submission_log import Entry, load_log, open_log


def run(
    root: Path,
    csv: Path,
    public: float | None,
    private: float | None,
    from_kaggle: Competition | None = None,
) -> None:
    """Write the judge's score of a file into the log of its competition.

    The file is known by its content, under whatever name it was handed in, and by that its
    competition, too.

    Reads `csv` and the logs below the root; Kaggle's list of submissions to `from_kaggle`, if one
    is given.

    Writes the scores into submissions/COMPETITION/log.csv; prints them.

    Fails if no score is given or one is no number (ConfigError), a log is damaged (DataError), or
    `submit` didn't write that file, it was changed since, several competitions have it, or Kaggle
    doesn't (SubmissionError).
    """
    given = [score for score in (public, private) if score is not None]
    if from_kaggle is not None:
        if given:
            raise ConfigError(
                "--from-kaggle: asks for the scores; leave --public and --private out"
            )
        _ask_kaggle(root, csv, from_kaggle)
        return
    if not given or not all(map(math.isfinite, given)):
        raise ConfigError(
            "log-score: must be given a number with --public, --private or both, is given "
            f"{', '.join(map(str, given)) or 'none'}"
        )
    sha256 = hashlib.sha256(read_bytes(csv, "pipeline submit COMPETITION")).hexdigest()
    paths = _owner(root, csv, sha256)
    with open_log(paths, f"log-score {paths.competition}") as log:
        log.change(sha256, public_score=public, private_score=private)
        for entry in log.of(sha256):
            console.result(_format_scores(entry))


def _ask_kaggle(root: Path, csv: Path, competition: Competition) -> None:
    """Note the scores that Kaggle tells by now, of a file that `submit --to-kaggle` sent."""
    if competition.kaggle is None:
        raise ConfigError(
            f"{competition.name}.toml: must have a key 'kaggle' for --from-kaggle, has none"
        )
    sha256 = hashlib.sha256(read_bytes(csv, f"pipeline submit {competition.name}")).hexdigest()
    paths = _owner(root, csv, sha256)
    kaggle = Kaggle(competition.kaggle, "--from-kaggle")
    number = kaggle.find(mark_of(sha256))
    if number is None:
        raise SubmissionError(
            f"{csv}: must have been sent with 'submit --to-kaggle', Kaggle's list doesn't name it; "
            "note its score with --public"
        )
    note_verdict(kaggle, paths, csv, sha256, number, patience_seconds=0)


def _owner(root: Path, csv: Path, sha256: str) -> Paths:
    """Find the competition whose log has the content; of several, that in whose folder it is."""
    logs = {paths: load_log(paths.submission_log) for paths in competitions_with_log(root)}
    known = [paths for paths, log in logs.items() if any(one.sha256 == sha256 for one in log)]
    here = [one for one in known if one.submission_log.parent.resolve() == csv.resolve().parent]
    owners = here or known
    if len(owners) > 1:
        names = " and ".join(paths.competition for paths in owners)
        raise SubmissionError(
            f"{csv}: must be of one competition, {names} have such a file; name the one in "
            f"{owners[0].submission_log.parent.parent}"
        )
    if owners:
        return owners[0]
    written = [one for log in logs.values() for one in log if one.file == csv.name]
    if written:
        raise SubmissionError(
            f"{csv}: must be as 'pipeline submit' wrote it (sha256 {written[-1].sha256[:12]}...), "
            f"was changed since ({sha256[:12]}...); name the file that the judge was given"
        )
    raise SubmissionError(
        f"{csv}: must be a file that 'pipeline submit' wrote, no log in {root / 'submissions'} "
        f"knows sha256 {sha256[:12]}...; name the file that the judge was given, or the --root"
    )


def _format_scores(entry: Entry) -> str:
    scores = {"OOF": entry.oof_score, "public": entry.public_score, "private": entry.private_score}
    known = ", ".join(f"{name} {score:g}" for name, score in scores.items() if score is not None)
    return f"{entry.experiment}, {entry.metric}: {known}"
