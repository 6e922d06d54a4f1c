"""Write an experiment's test probabilities as the CSV that the judge wants, and send it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.data.training_table import warn_of_unreadable
from pipeline.errors import ConfigError, SubmissionError
from pipeline.reproducibility import commit
from pipeline.scoring.oof import best_decisions
from pipeline.scoring.probability_measures import HALF
from pipeline.scoring.targets import pooled
from pipeline.store.atomic import atomic_path, write_bytes
from pipeline.store.paths import Paths
from pipeline.store.predictions import AnyProbs
from pipeline.store.results import is_scored_by, load_any_probs, load_result
from pipeline.store.tables import load_test
from pipeline.submission.answers import answers_of, remarks
from pipeline.submission.faults import summary
from pipeline.submission.kaggle import Kaggle, mark_of, note_verdict
from pipeline.submission.submission_log import Entry, SubmissionLog, now, open_log
from pipeline.submission.validation import examine, find_faults
from pipeline.submission.writer import encode, line_ids, submission_table

VERDICT_SECONDS = 120
MOST_CLASSES = 20  # whose shares are printed


def run(
    paths: Paths,
    competition: Competition,
    experiment: str,
    *,
    to_kaggle: bool = False,
    message: str = "",
) -> None:
    """Write the submission of an experiment or ensemble, after checking it, and log it.

    Of several labels an image those above a threshold are answered, the one that scores best on
    oof.npz; ordered classes are likewise told apart by thresholds of their mean place. Images that
    are answered together are pooled.

    Reads data/COMPETITION/test.csv and artifacts/COMPETITION/EXPERIMENT/test.npz.

    Writes submissions/COMPETITION/EXPERIMENT.csv, the same under the name that the judge wants, and
    log.csv beside it; sends the file to Kaggle where that is asked for.

    Fails if the file can't be sent for want of a competition, client or credentials (ConfigError),
    the test table is missing, its images can't be named as the judge wants or the log is damaged
    (DataError), the predictions are missing or of other data (ArtifactError), or the file would be
    invalid, was sent before or is refused by Kaggle (SubmissionError); an older file stays.

    Args:
        paths: The competition's files.
        competition: Its form of submission.
        experiment: The experiment or ensemble whose predictions to submit.
        to_kaggle: Whether to send the file to Kaggle.
        message: Its description there; empty for the experiment's name.
    """
    if message and not to_kaggle:
        raise ConfigError("--message: must come with a file that is sent, none is; add --to-kaggle")
    kaggle = _kaggle(competition) if to_kaggle else None
    target = paths.submission(experiment)
    if target in (paths.submission_log, paths.submission("run")):
        raise ConfigError(
            f"{target}: must not be the log of submissions or the file of 'run'; give the "
            "experiment another name"
        )
    test = load_test(paths)
    image_ids = test["image_id"].tolist()
    probs = load_any_probs(paths, competition, experiment, "test", image_ids)
    warn_of_unreadable(test)
    answers, probs = pooled(competition, test, probs)
    if competition.submission.label == "labels" or competition.is_ordered:
        probs = _decided(paths, competition, experiment, probs)
    answer_ids = answers["image_id"].tolist()
    content = encode(competition, submission_table(competition, answer_ids, probs))
    expected_ids = line_ids(competition, answer_ids)
    entry = _entry(paths, competition, experiment, content)
    with open_log(paths, f"submit {competition.name}") as log:
        _write(competition, content, target, expected_ids)
        log.add(entry)
        console.result(
            f"{target}: {len(content.splitlines()):,} lines, valid, sha256 {entry.sha256}"
        )
        _write_under_judges_name(competition, content, target)
        console.result(_class_shares(competition, probs))
        read = examine(competition, content, expected_ids)
        for remark in remarks(competition, answers_of(competition, read)):
            console.warn(f"{target}: {remark}")
        if kaggle is not None:
            number = _send(kaggle, log, target, entry.sha256, message or experiment)
    if kaggle is not None:
        note_verdict(kaggle, paths, target, entry.sha256, number, VERDICT_SECONDS)


def _decided(paths: Paths, competition: Competition, experiment: str, probs: AnyProbs) -> AnyProbs:
    """Decide which labels or classes to answer, by thresholds that score best out of fold."""
    decisions = best_decisions(paths, competition, experiment)
    console.say(f"submit {competition.name}: answers {decisions}, which scores best out of fold")
    return decisions.apply(probs)


def _kaggle(competition: Competition) -> Kaggle:
    if competition.kaggle is None:
        raise ConfigError(
            f"{competition.name}.toml: must have a key 'kaggle' for --to-kaggle, the competition's "
            "name in its URL on kaggle.com, has none; add it, or leave --to-kaggle out"
        )
    return Kaggle(competition.kaggle)


def _entry(paths: Paths, competition: Competition, experiment: str, content: bytes) -> Entry:
    result = load_result(paths.experiment(experiment))
    is_scored = is_scored_by(result, competition)
    return Entry(
        time=now(),
        experiment=experiment,
        metric=competition.metric,
        oof_score=result.metrics.get("oof_score") if is_scored else None,
        sha256=hashlib.sha256(content).hexdigest(),
        commit=commit() or "",
        file=paths.submission(experiment).name,
    )


def _write(
    competition: Competition, content: bytes, target: Path, expected_ids: Sequence[str]
) -> None:
    _refuse_faulty(competition, content, target, expected_ids)
    if target.is_file() and target.read_bytes() == content:
        console.say(f"submit {competition.name}: up to date, {target}")
        return
    with atomic_path(target, len(content)) as partial:
        partial.write_bytes(content)
        written = partial.read_bytes()
        if written != content:
            raise SubmissionError(
                f"{target}: must read back as written ({len(content):,} bytes), reads back as "
                f"{len(written):,} other bytes; the disk may be failing"
            )
        _refuse_faulty(competition, written, target, expected_ids)


def _write_under_judges_name(competition: Competition, content: bytes, target: Path) -> None:
    """Write the same file beside it as the judge wants it called; the last one submitted stands."""
    name = competition.submission.file_name
    if name is None:
        return
    named = target.with_name(name)
    if not named.is_file() or named.read_bytes() != content:
        write_bytes(named, content)
    console.result(f"{named}: the same file, under the name that the judge wants")


def _refuse_faulty(
    competition: Competition, content: bytes, target: Path, expected_ids: Sequence[str]
) -> None:
    faults = find_faults(competition, content, expected_ids)
    if faults:
        listed = "; ".join(map(str, faults))
        raise SubmissionError(
            f"{target}: must be valid to be written, would have {summary(faults)}: {listed}"
        )


def _class_shares(competition: Competition, probs: AnyProbs) -> str:
    """Format the share of images that each class is predicted for, the largest first."""
    if competition.is_number:
        low, middle, high = np.quantile(probs, [0, 0.5, 1])
        return f"numbers: from {low:g} to {high:g}, half of them below {middle:g}"
    counts = np.bincount(probs.argmax(axis=1), minlength=competition.num_classes)
    if competition.has_several:
        counts = np.count_nonzero(probs > HALF, axis=0)
    order = np.argsort(-counts, kind="stable")
    shares = [(competition.classes[i], counts[i] / len(probs)) for i in order if counts[i]]
    told = [f"{name} {share:.1%}" for name, share in shares[:MOST_CLASSES]]
    if others := len(shares) - len(told):
        told.append(f"and {others:,} more classes")
    return "classes: " + ", ".join(told)


def _send(kaggle: Kaggle, log: SubmissionLog, csv: Path, sha256: str, message: str) -> int:
    """Send a valid file, once and never again; return the number that Kaggle gave it.

    The log tells what was sent from here; what Kaggle has from anywhere is known by a mark in its
    description.
    """
    sent = next((entry for entry in log.of(sha256) if entry.sent is not None), None)
    mark = mark_of(sha256)
    number = kaggle.find(mark)
    if number is not None:  # sent before, maybe from another machine or with its answer lost
        console.say(f"not sent, as Kaggle has this file as submission {number}")
    elif sent is not None:
        raise SubmissionError(
            f"{csv}: must not be sent twice, was sent as {sent.file} at "
            f"{sent.sent:%Y-%m-%d %H:%M} UTC, though Kaggle's list doesn't name it; if it was "
            f"withdrawn there, empty the column 'sent' of {log.path}"
        )
    else:
        number = kaggle.send(csv, message, mark)
        console.say(f"sent to Kaggle as submission {number}, waiting for its verdict")
    if sent is None:
        log.change(sha256, sent=now())
    return number
