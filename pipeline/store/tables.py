"""Read and write the CSV tables between stages, checked when read and whole when written.

All are UTF-8, comma-separated, with a header and LF line ends; ids are text and stay as they
are (`007`, `NA`).
"""

import io
from pathlib import Path

import pandas as pd

from pipeline.errors import DataError
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths

TEST_COLUMNS = ["image_id", "path", "group", "width", "height", "format", "sha256"]
TRAIN_COLUMNS = ["image_id", "path", "label", *TEST_COLUMNS[2:]]
FOLD_COLUMNS = ["image_id", "label", "group", "fold"]
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
INTEGER_COLUMNS = {"width", "height", "fold"}


def read_table(path: Path, columns: list[str], next_command: str) -> pd.DataFrame:
    """Read a table that a stage has written.

    Args:
        path: The CSV.
        columns: The columns it must have, in order.
        next_command: The command that makes the table, for the error.

    Raises:
        DataError: The file is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: must exist, is missing; run '{next_command}'")
    try:
        # utf-8-sig: people edit tables with programs that write a byte order mark
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        if list(table.columns) != columns:
            raise ValueError(f"columns must be {columns}, are {list(table.columns)}")
        table = table.astype({name: "int64" for name in columns if name in INTEGER_COLUMNS})
    except (ValueError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged: {reason}; run '{next_command}'") from error
    return table


def read_image_table(path: Path, columns: list[str], next_command: str) -> pd.DataFrame:
    """Read a table with one row per image; see `read_table`.

    Raises:
        DataError: The file is missing or damaged, or an image_id is empty or stands twice.
    """
    table = read_table(path, columns, next_command)
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
    """Read the fold table; columns image_id, label, group and fold, folds counted from 0."""
    return read_image_table(paths.folds_csv, FOLD_COLUMNS, f"pipeline folds {paths.competition}")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table for later stages, whole or not at all."""
    write_text(path, to_text(table))


def to_text(table: pd.DataFrame) -> str:
    """Return a table as the text of its file."""
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()
