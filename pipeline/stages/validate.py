"""Check any CSV against a competition's format."""

from pathlib import Path

from pipeline import console
from pipeline.competition import Competition
from pipeline.errors import SubmissionError
from pipeline.judging.judge_ids import ordered_ids
from pipeline.paths import Paths
from pipeline.priors import warn_of_unreadable
from pipeline.scoring.answers import read_bytes
from pipeline.scoring.faults import summary
from pipeline.scoring.validation import find_faults
from pipeline.tables import load_test


def run(paths: Paths, competition: Competition, csv: Path) -> None:
    """Print every kind of fault of a submission with its count and its first line.

    Reads `csv` and data/COMPETITION/test.csv. Writes nothing.

    Raises:
        DataError: The test table is missing or its images can't be named as the judge wants.
        SubmissionError: The file is missing, unreadable or has any fault.
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
