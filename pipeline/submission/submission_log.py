"""Keep `submissions/<competition>/log.csv`: every file that `submit` wrote, and its scores."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.errors import DataError
from pipeline.store.atomic import write_text
from pipeline.store.locks import held
from pipeline.store.paths import Paths


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


Score = Annotated[float | None, BeforeValidator(_none_if_empty)]
Moment = Annotated[AwareDatetime | None, BeforeValidator(_none_if_empty)]


class Entry(BaseModel):
    """One file: a row of the log. Scores are of the competition's metric at the time.

    Attributes:
        time: When it was written, UTC.
        experiment: Whose predictions it holds.
        metric: What the scores measure.
        oof_score: The experiment's out-of-fold score.
        sha256: Of the file's content, by which it is known from then on.
        commit: Of the code that wrote it, with "+" if that was changed since; empty if unknown.
        file: Its name.
        sent: When it was sent to the judge, UTC; empty if by hand or never.
        public_score: The judge's score on the part of the test images that is scored at once.
        private_score: The judge's score on the rest, revealed at the end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    time: AwareDatetime
    experiment: str
    metric: str
    oof_score: Score
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    commit: str
    file: str
    sent: Moment = None
    public_score: Score = None
    private_score: Score = None


COLUMNS = tuple(Entry.model_fields)


class SubmissionLog:
    """The entries, oldest first; each change is on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = load_log(path)

    def add(self, entry: Entry) -> None:
        """Note a file, unless it is what was last noted of its experiment."""
        earlier = [one for one in self.entries if one.experiment == entry.experiment]
        if not earlier or earlier[-1].sha256 != entry.sha256:
            self._replace([*self.entries, entry])

    def of(self, sha256: str) -> list[Entry]:
        """List the entries of one content."""
        return [entry for entry in self.entries if entry.sha256 == sha256]

    def change(self, sha256: str, **known: float | datetime | None) -> None:
        """Note what became known of a content; what is None stays as it was."""
        news = {key: value for key, value in known.items() if value is not None}
        self._replace(
            [
                entry.model_copy(update=news) if entry.sha256 == sha256 else entry
                for entry in self.entries
            ]
        )

    def _replace(self, entries: list[Entry]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(entry.model_dump(mode="json") for entry in entries)
        write_text(self._path, text.getvalue())
        self.entries = entries


@contextmanager
def open_log(paths: Paths, what: str) -> Iterator[SubmissionLog]:
    """Hold the competition's log, so that no other process writes a file or a score meanwhile.

    Args:
        paths: The competition's files.
        what: Who wants it, e.g. "submit cat-12".

    Raises:
        DataError: The log is damaged.
    """
    with held(paths.submission_lock, what):
        yield SubmissionLog(paths.submission_log)


def load_log(path: Path) -> list[Entry]:
    """Read a log; there may be none yet.

    Raises:
        DataError: It isn't as it was written. It is left as it is: judges' scores stand nowhere
            else.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if tuple(header) != COLUMNS or not text.endswith("\n"):
            raise ValueError(
                f"must begin with the line {','.join(COLUMNS)} and end with a line end"
            )
        return [_entry(row, rows.line_num) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path}: damaged: {error}; mend it with a text editor, or move it away to begin anew"
        ) from error


def now() -> datetime:
    """Return the time in whole seconds, UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def _entry(row: list[str], line: int) -> Entry:
    if len(row) != len(COLUMNS):
        raise ValueError(f"line {line} must have {len(COLUMNS)} fields, has {len(row)}")
    try:
        return Entry.model_validate(dict(zip(COLUMNS, row, strict=True)))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"line {line}, {first['loc'][0]}: {first['msg']}, is {first['input']!r}"
        ) from error
