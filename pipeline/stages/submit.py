"""From an experiment's test probabilities to the CSV that the judge wants."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import console
from pipeline.atomic import atomic_path
from pipeline.competition import Competition
from pipeline.errors import SubmissionError
from pipeline.judge_ids import ordered_ids
from pipeline.paths import Paths
from pipeline.predictions import FloatArray
from pipeline.priors import warn_of_unreadable
from pipeline.results import load_probs
from pipeline.scoring.faults import summary
from pipeline.scoring.submission import encode, submission_table
from pipeline.scoring.validation import find_faults
from pipeline.tables import load_test


def run(paths: Paths, competition: Competition, experiment: str) -> None:
    """Write the submission of an experiment or ensemble, after checking it.

    Reads data/COMPETITION/test.csv and artifacts/COMPETITION/EXPERIMENT/test.npz. Writes
    submissions/COMPETITION/EXPERIMENT.csv.

    Raises:
        DataError: The test table is missing or its images can't be named as the judge wants.
        ArtifactError: The predictions are missing or were made from something else.
        SubmissionError: The file would be invalid; an older one stays as it was.
    """
    test = load_test(paths)
    image_ids = test["image_id"].tolist()
    probs = load_probs(paths, competition, experiment, "test", image_ids)
    warn_of_unreadable(test)
    target = paths.submission(experiment)
    content = encode(competition, submission_table(competition, image_ids, probs))
    _write(competition, content, target, ordered_ids(competition.submission, image_ids))
    sha256 = hashlib.sha256(content).hexdigest()
    console.result(f"{target}: {len(content.splitlines()):,} lines, valid, sha256 {sha256}")
    if competition.submission.file_name is not None:
        console.result(f"the judge wants it under the name {competition.submission.file_name}")
    console.result(_class_shares(competition, probs))


def _write(
    competition: Competition, content: bytes, target: Path, expected_ids: Sequence[str]
) -> None:
    _refuse_faulty(competition, content, target, expected_ids)
    if target.is_file() and target.read_bytes() == content:
        console.say(f"submit {competition.name}: up to date, {target}")
        return
    with atomic_path(target) as partial:
        partial.write_bytes(content)
        written = partial.read_bytes()
        if written != content:
            raise SubmissionError(
                f"{target}: must read back as written ({len(content):,} bytes), reads back as "
                f"{len(written):,} other bytes; the disk may be failing"
            )
        _refuse_faulty(competition, written, target, expected_ids)


def _refuse_faulty(
    competition: Competition, content: bytes, target: Path, expected_ids: Sequence[str]
) -> None:
    faults = find_faults(competition, content, expected_ids)
    if faults:
        listed = "; ".join(map(str, faults))
        raise SubmissionError(
            f"{target}: not written, it must be valid and would have {summary(faults)}: {listed}"
        )


def _class_shares(competition: Competition, probs: FloatArray) -> str:
    """Say for which share of the images each class is the most probable, the largest first."""
    counts = np.bincount(probs.argmax(axis=1), minlength=competition.num_classes)
    order = np.argsort(-counts, kind="stable")
    shares = [(competition.classes[index], counts[index] / len(probs)) for index in order]
    return "classes: " + ", ".join(f"{name} {share:.1%}" for name, share in shares if share)
