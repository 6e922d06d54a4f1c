"""Everything that a judge could refuse a submission for, found before the judge does.

Reads bytes with code of its own, not with what wrote them. A newline after the last line is
accepted and not demanded: no CSV reader sees a difference.
"""

from collections.abc import Sequence

from pipeline.competition import Competition, SubmissionFormat
from pipeline.scoring.faults import Fault, FaultKind, FaultLog, shown
from pipeline.scoring.fields import LABEL_CHECKS, IdCheck, LabelCheck
from pipeline.scoring.rows import Row, read_rows


def find_faults(
    competition: Competition, content: bytes, expected_ids: Sequence[str]
) -> list[Fault]:
    """Compare a submission with what the judge wants.

    Args:
        competition: Says what the judge wants.
        content: The file.
        expected_ids: The judge's ids of all test images (see `submission.sorted_ids`).

    Returns:
        Every kind of fault once, with its count and its first line; empty for a valid file.
    """
    faults = FaultLog()
    rows = read_rows(competition.submission, content, faults)
    if rows:
        ids = IdCheck(competition.submission, expected_ids, faults)
        check_label = LABEL_CHECKS[competition.submission.label](competition)
        rows = _without_header(competition.submission, rows, ids, check_label, faults)
        rows = _unswapped(rows, ids, check_label, faults)
        for row in rows:
            _check_row(row, ids, check_label, faults)
        ids.finish()
    return faults.found()


def _check_row(row: Row, ids: IdCheck, check_label: LabelCheck, faults: FaultLog) -> None:
    if len(row.fields) != 2:
        found = f"{len(row.fields)} in {shown(' | '.join(row.fields))}"
        faults.add(FaultKind.COLUMNS, row.line, f"must be 2, found {found}")
        ids.excuse(row.fields)
        return
    judge_id, label = row.fields
    ids.check(row.line, judge_id)
    fault = check_label(label)
    if fault:
        faults.add(fault[0], row.line, fault[1])


def _without_header(
    submission: SubmissionFormat,
    rows: list[Row],
    ids: IdCheck,
    check_label: LabelCheck,
    faults: FaultLog,
) -> list[Row]:
    first, wanted = rows[0], list(submission.columns)
    if submission.has_header and first.fields == wanted:
        return rows[1:]
    is_header = first.fields == wanted or _looks_like_header(first.fields, ids, check_label)
    found = shown(submission.separator.join(first.fields))
    if submission.has_header:
        state = "differs" if is_header else "is missing"
        detail = f"must be {submission.separator.join(wanted)!r}, {state}, found {found}"
        faults.add(FaultKind.HEADER, first.line, detail)
    elif is_header:
        faults.add(FaultKind.HEADER, first.line, f"the judge wants none, found {found}")
    return rows[1:] if is_header else rows


def _looks_like_header(fields: list[str], ids: IdCheck, check_label: LabelCheck) -> bool:
    """Whether no field is an id or a label, and they are words rather than numbers."""
    if any(field in ids.expected or check_label(field) is None for field in fields):
        return False
    text = "".join(fields)
    return any(map(str.isalpha, text)) and not any(map(str.isdigit, text))


def _unswapped(
    rows: list[Row], ids: IdCheck, check_label: LabelCheck, faults: FaultLog
) -> list[Row]:
    """Put the id first again where the file has the label first."""
    pairs = [row.fields for row in rows if len(row.fields) == 2]

    def num_good(id_column: int) -> int:
        return sum(
            pair[id_column] in ids.expected and check_label(pair[1 - id_column]) is None
            for pair in pairs
        )

    num_swapped = num_good(id_column=1)
    if num_swapped <= len(rows) / 2 or num_good(id_column=0) >= num_swapped:
        return rows
    line = next(row.line for row in rows if len(row.fields) == 2)
    found = shown(" | ".join(pairs[0]))
    detail = f"the id must come first, then the label, found {found}"
    faults.add(FaultKind.SWAPPED, line, detail, num_swapped)
    return [Row(row.line, row.fields[::-1]) for row in rows]
