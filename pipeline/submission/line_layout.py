"""Order the fields of a submission's lines: id first inside, as the judge wants them outside."""

from collections.abc import Sequence

from pipeline.config.submission_table import SubmissionFormat

FIRST_ROW = {"row_from_0": 0, "row_from_1": 1}


def to_line(submission: SubmissionFormat, fields: Sequence[str], row: int | None) -> list[str]:
    """Order fields as the judge wants them.

    Args:
        submission: Says how.
        fields: The id, then the labels.
        row: Number of the line, from 0; None for the header.
    """
    line: list[str] = []
    for part in submission.layout:
        if part == "id":
            line.append(fields[0])
        elif part == "label":
            line += fields[1:]
        else:
            line.append(submission.row_column if row is None else str(row + FIRST_ROW[part]))
    return line


def from_line(submission: SubmissionFormat, line: Sequence[str]) -> list[str]:
    """Put the id first, then the labels; the number of a line says nothing and goes."""
    num_before = submission.layout.index("label")
    num_after = len(submission.layout) - num_before - 1
    labels = line[num_before : len(line) - num_after]
    others = [*line[:num_before], *line[len(line) - num_after :]]
    names = [part for part in submission.layout if part != "label"]
    return [others[names.index("id")], *labels]


def num_fields(submission: SubmissionFormat, num_columns: int) -> int:
    """Count the fields of a line, of which `num_columns` are the id's and the labels'."""
    return num_columns + len(submission.layout) - 2
