"""Check any CSV against a competition's form of submission."""

from pathlib import Path

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.data.priors import warn_of_unreadable
from pipeline.errors import SubmissionError
from pipeline.store.paths import Paths
from pipeline.store.tables import load_test
from pipeline.submission.answers import read_bytes
from pipeline.submission.faults import summary
from pipeline.submission.judge_ids import ordered_ids
from pipeline.submission.validation import find_faults


def run(paths: Paths, competition: Competition, csv: Path) -> None:
    """Print every kind of fault of a submission with its count and its first line.

    Reads `csv` and data/COMPETITION/test.csv.

    Writes nothing.

    Fails if the test table is missing or its images can't be named as the judge wants (DataError),
    or the file is missing, unreadable or has any fault (SubmissionError).
    """
    content = read_bytes(csv, f"pipeline submit {competition.name}")
    test = load_test(paths)
    warn_of_unreadable(test)
    expected_ids = ordered_ids(competition.submission, test["image_id"].tolist())
    faults = find_faults(competition, content, expected_ids)
    for fault in faults:
        console.result(str(fault))
    if faults:
        raise SubmissionError(
            f"{csv}: must be what the judge wants, has {summary(faults)}; compare the format in "
            f"{competition.name}.toml or run 'pipeline submit {competition.name}'"
        )
    console.result(f"valid: {len(content.splitlines()):,} lines")
