"""Find the ids of a sample submission: in which column, and which list says whose they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.submission_table import LineField, SubmissionFormat
from pipeline.data.init.user_lists import MIN_JOINED, ForeignList, Ids, find_ids
from pipeline.data.joining import NameJoin, join_names, names_beside
from pipeline.errors import DataError
from pipeline.submission.rows import FIRST_ROW, from_line

UNNAMED = {"", "unnamed: 0"}  # what pandas calls the column of its row numbers


@dataclass(frozen=True)
class ArrangedSample:
    """A sample submission with its id first, whatever the order of its columns.

    Attributes:
        table: The sample, its id in the first column, row numbers left out.
        layout: What stands in its lines.
        row_column: What it calls its row numbers.
    """

    table: ForeignList
    layout: tuple[LineField, ...] = ("id", "label")
    row_column: str = ""


def arrange_sample(sample: ForeignList, images: NameJoin) -> ArrangedSample:
    """Find the column of ids, and put it first.

    Args:
        sample: As it came.
        images: The test images.

    Raises:
        DataError: It has one column, or the id stands where none can be written.
    """
    if sample.num_columns < 2:
        raise DataError(f"{sample.path}: a sample must have an id and an answer, has one column")
    ids = find_ids(sample, images)
    has_rows = _first_row(sample.column(0)) is not None
    is_unnamed = sample.rows[0][0].lower() in UNNAMED
    usual = int(sample.num_columns > 2 and has_rows and is_unnamed)
    layout = _layout(sample, usual if ids is None else ids.column)
    if layout == ("id", "label"):
        return ArrangedSample(sample)
    form = SubmissionFormat(id="stem", layout=layout)
    rows = [from_line(form, row) for row in sample.rows]
    has_number = layout[0] in FIRST_ROW
    return ArrangedSample(
        replace(sample, rows=rows), layout, sample.rows[0][0] if has_number else ""
    )


def _layout(sample: ForeignList, column: int) -> tuple[LineField, ...]:
    """Name what stands in a line of which the id stands in a column."""
    first = _first_row(sample.column(0)) if column > 0 and sample.num_columns > 2 else None
    number: tuple[LineField, ...] = () if first is None else (first,)
    if column == len(number):
        return (*number, "id", "label")
    if column == sample.num_columns - 1:
        return (*number, "label", "id")
    raise DataError(
        f"{sample.path}: the id must be in the first or the last column, stands in column "
        f"{column + 1} of {sample.num_columns}; write the competition's file by hand"
    )


def _first_row(column: Sequence[str]) -> LineField | None:
    """Tell from which number rows are counted; None where a column holds something else."""
    for name, first in FIRST_ROW.items():
        for rows in (column, column[1:]):
            if rows and list(rows) == [str(number + first) for number in range(len(rows))]:
                return "row_from_0" if name == "row_from_0" else "row_from_1"
    return None


# A list that says which file an id is of.


@dataclass(frozen=True)
class IdList:
    """A list that says of which images the sample's ids are.

    Attributes:
        keys: The table `[test] csv`.
        why: What it was inferred from.
    """

    keys: Mapping[str, Any]
    why: str


def find_id_list(
    tables: Iterable[ForeignList], asked: Sequence[str], images: NameJoin
) -> IdList | None:
    """Find a list with ids in one column and files in another, where the ids aren't the files'.

    Args:
        tables: All lists but samples.
        asked: The sample's ids.
        images: The test images.
    """
    direct = join_names(asked, images).images
    for table in tables:
        files = find_ids(table, images) if table.num_columns > 1 else None
        if files is None:
            continue
        names = names_beside(images, table.folder, table.column(files.column))
        image_of = join_names(names, images).images
        for column in range(table.num_columns):
            ids = table.column(column)
            is_key = column != files.column and len(set(ids)) == len(ids)
            known = set(asked) & set(ids) if is_key else set()
            if len(known) < MIN_JOINED * len(asked) or not known:
                continue
            found = {one: image_of.get(name) for one, name in zip(ids, names, strict=True)}
            if any(found[one] != direct.get(one) for one in known):
                why = (
                    f"it says of which file {len(known):,} of {len(asked):,} ids of the sample are"
                )
                return IdList(_keys(table, files, column), why)
    return None


def _keys(table: ForeignList, files: Ids, column: int) -> dict[str, Any]:
    header = table.rows[0]
    if files.has_header:
        columns = {"id_column": header[column], "image_column": header[files.column]}
        return {"file": table.name, **columns, **table.form}
    roles = {column: "id", files.column: "image"}
    width = max(roles) + 1
    return {
        "file": table.name,
        "columns": [roles.get(number, "other") for number in range(width)],
        **table.form,
    }
