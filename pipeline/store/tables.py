"""Read and write the CSV tables between stages, checked when read and whole when written.

All are UTF-8, comma-separated, with a header and LF line ends; ids are text and stay as they
are (`007`, `NA`).
"""

import csv
import io
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError
from pipeline.store.atomic import write_bytes, write_text
from pipeline.store.foreign import saved_tables
from pipeline.store.paths import Paths

TEST_COLUMNS = ["image_id", "path", "group", "width", "height", "format", "sha256"]
TRAIN_COLUMNS = ["image_id", "path", "label", *TEST_COLUMNS[2:]]
FOLD_COLUMNS = ["image_id", "label", "group", "fold"]
GIVEN_FOLD_COLUMNS = ["image_id", "fold"]
AUDIT_COLUMNS = ["finding", "split", "image_id", "detail"]
SUSPECT_COLUMNS = [
    "image_id",
    "label",
    "suggested",
    "prob_label",
    "prob_suggested",
    "action",
]
OVERLAP_COLUMNS = ["image_id", "kind", "other", "correlation"]
TRUTH_COLUMNS = ["image_id", "label"]
ANSWER = "answer"  # a last column, where several images are answered together
ALWAYS_LEARNED = -1  # the fold of an image that is never held out
INTEGER_COLUMNS = {"width", "height", "fold"}
# People open these with a spreadsheet, and give one of them back.
COLUMNS_FOR_PEOPLE = (AUDIT_COLUMNS, SUSPECT_COLUMNS, OVERLAP_COLUMNS)


def read_table(
    path: Path, columns: list[str], next_command: str, known: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table of ours; one for people as whatever program has saved it since.

    Args:
        path: The CSV.
        columns: The columns it must have, in order; those of a table for people in any order,
            others may stand between.
        next_command: The command that makes the table, for the error.
        known: Ids, labels and so on that may stand in it, by which one of several readings is
            known.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: must exist, is missing; run '{next_command}'")
    try:
        table = _read_as_written(path, columns)
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        saved = _read_as_saved(path, columns, known) if columns in COLUMNS_FOR_PEOPLE else None
        if saved is None:
            reason = " ".join(str(error).split())
            raise DataError(f"{path}: damaged: {reason}; run '{next_command}'") from error
        table = saved
    return table.map(_as_it_was) if columns in COLUMNS_FOR_PEOPLE else table


def _read_as_written(path: Path, columns: list[str]) -> pd.DataFrame:
    # utf-8-sig: people edit tables with programs that write a byte order mark
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if list(table.columns) not in (columns, [*columns, ANSWER] if "group" in columns else columns):
        raise ValueError(f"columns must be {columns}, are {list(table.columns)}")
    if not isinstance(table.index, pd.RangeIndex):  # then pandas takes the first column for names
        raise ValueError(f"rows must have {len(columns)} fields, have more")
    return table.fillna("").astype({name: "int64" for name in columns if name in INTEGER_COLUMNS})


def _read_as_saved(path: Path, columns: list[str], known: Collection[str]) -> pd.DataFrame | None:
    """Read a table that another program saved, in the way most of it is known; None if none."""
    known = set(known)
    try:
        readings = [table.columns(columns) for table in saved_tables(path, columns)]
    except csv.Error:
        return None
    if not readings:
        return None
    # Ids alone don't tell code pages apart where they are of English letters, as labels needn't be.
    rows = max(readings, key=lambda rows: sum(field in known for _, row in rows for field in row))
    return pd.DataFrame([fields for _, fields in rows], columns=pd.Index(columns), dtype=str)


def read_image_table(
    path: Path, columns: list[str], next_command: str, known: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table with one row per image; see `read_table`.

    Raises:
        DataError: The file is missing or damaged, or an image_id is empty or stands twice.
    """
    table = read_table(path, columns, next_command, known)
    repeated = table["image_id"][table["image_id"].duplicated() | (table["image_id"] == "")]
    if len(repeated):
        raise DataError(
            f"{path}: image_id must be unique and not empty, {len(repeated)} rows repeat one or "
            f"have none, the first '{repeated.iloc[0]}'; run '{next_command}'"
        )
    return table


def load_record(path: Path) -> pd.DataFrame:
    """Read a record of training or tuning: its columns depend on what was done, at least one row.

    Raises:
        DataError: The file is missing, damaged or empty.
    """
    try:
        table = pd.read_csv(path)
        if table.empty:
            raise ValueError("it has no rows")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read ({error}); train again") from error
    return table


def load_train(paths: Paths) -> pd.DataFrame:
    """Read `train.csv`, one row per readable labelled image; columns as TRAIN_COLUMNS."""
    return read_image_table(paths.train_csv, TRAIN_COLUMNS, f"pipeline prepare {paths.competition}")


def load_test(paths: Paths) -> pd.DataFrame:
    """Read `test.csv`, one row per test image; unreadable ones have width and height 0."""
    return read_image_table(paths.test_csv, TEST_COLUMNS, f"pipeline prepare {paths.competition}")


def load_folds(paths: Paths) -> pd.DataFrame:
    """Read the fold table; columns image_id, label, group and fold, folds counted from 0.

    Images that are learned from in every fold have the fold ALWAYS_LEARNED; see `held_out`.
    """
    return read_image_table(paths.folds_csv, FOLD_COLUMNS, f"pipeline folds {paths.competition}")


def with_answers(columns: list[str], table: pd.DataFrame) -> list[str]:
    """Add the column of answers to those of a table of images, where there is one."""
    return [*columns, ANSWER] if ANSWER in table else columns


def answered_ids(test: pd.DataFrame) -> list[str]:
    """List what must be answered: the test images, or what several of them are of, in their order.

    Args:
        test: Rows of `test.csv`.
    """
    ids: list[str] = test[ANSWER if ANSWER in test else "image_id"].unique().tolist()
    return ids


def held_out(folds: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of a fold table that some fold holds out: what out-of-fold predictions have."""
    return folds[folds["fold"] != ALWAYS_LEARNED].reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table for later stages, whole or not at all."""
    write_text(path, to_text(table))


def to_text(table: pd.DataFrame) -> str:
    """Return a table as the text of its file."""
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


# What a spreadsheet takes for a formula at the begin of a cell, or of what its separator makes one.
CELL_BEGIN = r"(?:^|(?<=[;\t\n]))"
FORMULA_BEGIN = r"('*[=+\-@\uff1d\uff0b\uff0d\uff20])"
NUMBER = re.compile(r"[+-]?[0-9.,]+")


def write_for_people(table: pd.DataFrame, path: Path, *, excel: bool = False) -> None:
    """Write a table of ours that people open with a spreadsheet.

    Args:
        table: Its text may hold what a spreadsheet would run as a formula, as file names may; an
            apostrophe before it, which `read_table` takes away again, makes it text.
        path: The file.
        excel: Whether to begin with a byte order mark, by which Excel knows UTF-8.
    """
    text = to_text(table.map(harmless))
    write_bytes(path, text.encode("utf-8-sig" if excel else "utf-8"))


def add_mark(path: Path) -> None:
    """Put a byte order mark before a text in UTF-8, if it has none."""
    content = path.read_bytes()
    try:
        write_bytes(path, content.decode("utf-8-sig").encode("utf-8-sig"))
    except UnicodeDecodeError:
        return  # somebody saved it in the code page that his spreadsheet reads


def harmless(value: object) -> object:
    """Put an apostrophe before what a spreadsheet would take for a formula; numbers are none."""
    if not isinstance(value, str) or NUMBER.fullmatch(value):
        return value
    return re.sub(CELL_BEGIN + FORMULA_BEGIN, r"'\1", value)


def _as_it_was(value: object) -> object:
    if not isinstance(value, str):
        return value
    return re.sub(f"{CELL_BEGIN}'{FORMULA_BEGIN}", r"\1", value)
