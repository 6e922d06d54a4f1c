"""Predictions written batch by batch, as CSV, JSON or Parquet; whole or not at all."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.files.atomic import atomic_path

Row = Mapping[str, Any]
Write = Callable[[list[Row]], None]


@contextmanager
def prediction_file(path: Path, class_names: list[str]) -> Iterator[Write]:
    """Open a file of predictions; yields what appends rows to it.

    Args:
        path: Its suffix decides: .csv, .json (a list, one object a line) or .parquet.
        class_names: K names; a row has `image`, `label`, `prob_<name>` of each and `error`.

    Raises:
        ConfigError: The suffix is another one, or Parquet's library isn't installed.
    """
    writers = {".csv": _csv, ".json": _json, ".parquet": _parquet}
    if path.suffix not in writers:
        raise ConfigError(f"--out {path}: must end in {', '.join(writers)}, ends in {path.suffix}")
    columns = ["image", "label", *(f"prob_{name}" for name in class_names), "error"]
    with atomic_path(path) as partial, writers[path.suffix](partial, columns) as write:
        yield write


@contextmanager
def _csv(path: Path, columns: list[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        yield writer.writerows


@contextmanager
def _json(path: Path, columns: list[str]) -> Iterator[Write]:  # noqa: ARG001
    separator = "[\n"

    def write(rows: list[Row]) -> None:
        nonlocal separator
        for row in rows:
            file.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"

    with path.open("w", encoding="utf-8") as file:
        yield write
        file.write("\n]\n")


@contextmanager
def _parquet(path: Path, columns: list[str]) -> Iterator[Write]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            "--out: Parquet needs pyarrow, which isn't installed; run "
            "\"pip install 'pipeline[parquet]'\", or write .csv or .json"
        ) from error
    texts = ("image", "label", "error")
    schema = pa.schema([(one, pa.string() if one in texts else pa.float32()) for one in columns])
    with parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema=schema))
