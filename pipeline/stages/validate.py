"""Check any CSV against a competition's form of submission."""

from pathlib import Path

from pipeline import console
from pipeline.config.competition import Competition
from pipeline.data.training_table import warn_of_unreadable
from pipeline.errors import SubmissionError
from pipeline.store.paths import Paths
from pipeline.store.tables import answered_ids, load_test
from pipeline.submission.answers import answers_of, read_bytes, remarks
from pipeline.submission.faults import summary
from pipeline.submission.validation import examine, refused
from pipeline.submission.writer import line_ids


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
    expected_ids = line_ids(competition, answered_ids(test))
    read = examine(competition, content, expected_ids)
    faults = refused(competition, read.faults)
    for fault in faults:
        console.result(str(fault))
    for fault in read.faults:
        if fault not in faults:
            console.result(f"Kaggle takes it all the same: {fault}")
    if faults:
        raise SubmissionError(
            f"{csv}: must be what the judge wants, has {summary(faults)}; compare the format in "
            f"{competition.name}.toml or run 'pipeline submit {competition.name}'"
        )
    for remark in remarks(competition, answers_of(competition, read)):
        console.result(f"remark: {remark}")
    console.result(f"valid: {len(read.ids) + competition.submission.has_header:,} lines")
