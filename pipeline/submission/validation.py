"""Find everything that a judge could refuse a submission for, before the judge does.

Reads bytes with code of its own, not with what wrote them. A newline after the last line is
accepted and not demanded: no CSV reader sees a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config.competition import Competition
from pipeline.submission.answer_checks import IdCheck, LabelCheck, label_check
from pipeline.submission.faults import KAGGLE_TAKES, Fault, FaultKind, FaultLog, shown
from pipeline.submission.rows import Row, from_line, num_fields, read_rows


def find_faults(
    competition: Competition, content: bytes, expected_ids: Sequence[str]
) -> list[Fault]:
    """Compare a submission with what the judge wants.

    Args:
        competition: Says what the judge wants.
        content: The file.
        expected_ids: The judge's ids of all test images (see `writer.line_ids`), in the
            sample's order where that is demanded.

    Returns:
        Every kind of fault once, with its count and its first line; empty for a valid file.
    """
    return examine(competition, content, expected_ids).faults


@dataclass(frozen=True)
class Examination:
    """What a submission says, and what is wrong with it.

    Attributes:
        faults: Every kind of fault once.
        ids: The judge's ids that are answered, as they must be written, in the order of the file.
        answers: What stands after each id, in the order of the competition's columns.
    """

    faults: list[Fault]
    ids: list[str]
    answers: list[list[str]]


def refused(competition: Competition, faults: Sequence[Fault]) -> list[Fault]:
    """Choose the faults for which the judge refuses a file; Kaggle takes some of them."""
    taken = KAGGLE_TAKES if competition.is_kaggles else frozenset()
    return [fault for fault in faults if fault.kind not in taken]


def examine(competition: Competition, content: bytes, expected_ids: Sequence[str]) -> Examination:
    """Find the faults of a submission, and read it as far as it can be; see `find_faults`."""
    faults = FaultLog()
    rows = read_rows(competition.submission, content, faults)
    answers: dict[str, list[str]] = {}
    if rows:
        ids = IdCheck(competition.submission, expected_ids, faults)
        labels = label_check(competition)
        rows = _id_first(competition, rows)
        rows = _without_header(competition, rows, ids, labels, faults)
        rows = _fix_column_order(rows, len(competition.columns), ids, labels, faults)
        for row in rows:
            meant = _check_row(competition, row, ids, labels, faults)
            if meant is not None:
                answers.setdefault(meant, row.fields[1:])
        ids.finish()
    return Examination(faults.found(), list(answers), list(answers.values()))


def _id_first(competition: Competition, rows: list[Row]) -> list[Row]:
    """Take lines that the judge wants in another order for those that have the id first."""
    submission = competition.submission
    if submission.layout == ("id", "label"):
        return rows
    width = num_fields(submission, len(competition.columns))
    return [
        replace(row, fields=from_line(submission, row.fields))
        if len(row.fields) == width
        else replace(row, is_whole=False)
        for row in rows
    ]


def _check_row(
    competition: Competition, row: Row, ids: IdCheck, labels: LabelCheck, faults: FaultLog
) -> str | None:
    """Report what is wrong with a row; return the id that is meant, if the row can be read."""
    if not row.is_readable:
        ids.count_unreadable()
        return None
    if not row.is_whole or len(row.fields) != len(competition.columns):
        wanted = num_fields(competition.submission, len(competition.columns))
        found = f"{len(row.fields)} in {shown(' | '.join(row.fields))}"
        faults.add(FaultKind.COLUMNS, row.line, f"must be {wanted}, found {found}")
        ids.ignore_missing(row.fields)
        return None
    ids.check(row.line, row.fields[0])
    for kind, detail in labels.faults(row.fields[1:]):
        faults.add(kind, row.line, detail)
    return ids.meant(row.fields[0])


def _without_header(
    competition: Competition, rows: list[Row], ids: IdCheck, labels: LabelCheck, faults: FaultLog
) -> list[Row]:
    first, wanted = rows[0], list(competition.columns)
    separator, has_header = competition.submission.separator, competition.submission.has_header
    if has_header and first.fields == wanted:
        return rows[1:]
    found = shown(separator.join(first.fields))
    if has_header and _names_other_order(first.fields, wanted, rows[1:], ids):
        difference = _first_difference(first.fields, wanted)
        detail = f"must be {shown(separator.join(wanted))}, differs{difference}, found {found}"
        faults.add(FaultKind.COLUMN_ORDER, first.line, detail)
        places = [first.fields.index(name) for name in wanted]
        return [_rearranged(row, places) for row in rows[1:]]
    is_header = _is_header(first.fields, wanted, ids, labels)
    if has_header:
        state = f"differs{_first_difference(first.fields, wanted)}" if is_header else "is missing"
        detail = f"must be {shown(separator.join(wanted))}, {state}, found {found}"
        faults.add(FaultKind.HEADER, first.line, detail)
    elif is_header:
        faults.add(FaultKind.HEADER, first.line, f"the judge wants none, found {found}")
    return rows[1:] if is_header else rows


def _names_other_order(found: list[str], wanted: list[str], rows: list[Row], ids: IdCheck) -> bool:
    """Whether a header names the columns in another order, and the ids stand where it says."""
    if sorted(found) != sorted(wanted):
        return False
    place = found.index(wanted[0])
    stand = sum(ids.meant(row.fields[place]) is not None for row in rows if place < len(row.fields))
    return stand > len(rows) / 2


def _rearranged(row: Row, places: list[int]) -> Row:
    if len(row.fields) != len(places):
        return row
    return replace(row, fields=[row.fields[place] for place in places])


def _is_header(fields: list[str], wanted: list[str], ids: IdCheck, labels: LabelCheck) -> bool:
    """Whether no field is an id or a label, and they are names of columns or at least words."""
    if any(field in ids.expected or labels.fault_of(field) is None for field in fields):
        return fields == wanted
    if {field.strip().casefold() for field in fields} & {name.casefold() for name in wanted}:
        return True
    text = "".join(fields)
    return any(map(str.isalpha, text)) and not any(map(str.isdigit, text))


def _first_difference(found: list[str], wanted: list[str]) -> str:
    """Say where the headers part, if there are so many columns that it is hard to see."""
    if len(wanted) != len(found) or len(wanted) == 2:
        return ""
    columns = range(len(wanted))
    column = next(column for column in columns if found[column] != wanted[column])
    return f" at column {column + 1} ({shown(found[column])} for {shown(wanted[column])})"


def _fix_column_order(
    rows: list[Row], num_columns: int, ids: IdCheck, labels: LabelCheck, faults: FaultLog
) -> list[Row]:
    """Put the id first again where the file has it in another column."""
    whole = [row for row in rows if len(row.fields) == num_columns]

    def num_ids(column: int) -> int:
        return sum(row.fields[column] in ids.expected for row in whole)

    def num_good(column: int) -> int:
        return sum(
            row.fields[column] in ids.expected
            and all(labels.fault_of(field) is None for field in _others(row.fields, column))
            for row in whole
        )

    candidates = [column for column in range(num_columns) if num_ids(column) > len(rows) / 2]
    if candidates in ([], [0]):  # the labels of a hundred columns take their time to be checked
        return rows
    counts = {column: num_good(column) for column in candidates}
    column = max(counts, key=lambda column: counts[column])
    if counts[column] <= len(rows) / 2 or column == 0:
        return rows
    found = shown(" | ".join(whole[0].fields))
    detail = f"the id must come first, then the label, found {found}"
    faults.add(FaultKind.SWAPPED, whole[0].line, detail, counts[column])
    return [replace(row, fields=_with_first(row.fields, column)) for row in rows]


def _with_first(fields: list[str], column: int) -> list[str]:
    return [*fields[column : column + 1], *_others(fields, column)]


def _others(fields: list[str], column: int) -> list[str]:
    return fields[:column] + fields[column + 1 :]
