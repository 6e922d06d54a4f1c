"""Keep `submissions/<competition>/log.csv`: every file that `submit` wrote, and its scores."""

import csv
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.config.submission_table import LOG_LOSSES, OF_NUMBERS
from pipeline.errors import DataError
from pipeline.store.atomic import write_text
from pipeline.store.foreign import saved_tables
from pipeline.store.locks import held
from pipeline.store.paths import Paths

# How spreadsheets write a moment; those that begin with a month or a day and a slash could be two.
SPREADSHEET_TIMES = tuple(
    f"{day} {clock}"
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y")
    for clock in ("%H:%M:%S", "%H:%M")
)


def _score(value: Any) -> Any:
    """Read a number with a decimal comma, too; None for an empty one and for what is no number."""
    text = str(value).strip().casefold().lstrip("+-")
    if text in ("", "none", "nan", "inf", "infinity"):
        return None
    return value.replace(",", ".") if isinstance(value, str) else value


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for form in SPREADSHEET_TIMES:
        with suppress(ValueError):
            return datetime.strptime(value.strip(), form).replace(tzinfo=UTC)
    return value or None


Score = Annotated[float | None, BeforeValidator(_score)]
Moment = Annotated[AwareDatetime | None, BeforeValidator(_moment)]


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

    time: Annotated[AwareDatetime, BeforeValidator(_moment)]
    experiment: str
    metric: str
    oof_score: Score
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    commit: str
    file: str
    sent: Moment = None
    public_score: Score = None
    private_score: Score = None
    others: dict[str, str] = Field(default_factory=dict, exclude=True)


COLUMNS = tuple(name for name in Entry.model_fields if name != "others")


class SubmissionLog:
    """The entries, oldest first; each change is on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        """Note what became known of a content; what is None, or no number, stays as it was."""
        news = {
            key: value
            for key, value in known.items()
            if isinstance(value, datetime) or (value is not None and math.isfinite(value))
        }
        self._replace(
            [
                entry.model_copy(update=news) if entry.sha256 == sha256 else entry
                for entry in self.entries
            ]
        )

    def _replace(self, entries: list[Entry]) -> None:
        text = io.StringIO(newline="")
        added = dict.fromkeys(name for entry in entries for name in entry.others)
        writer = csv.DictWriter(text, [*COLUMNS, *added], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(entry.model_dump(mode="json") | entry.others for entry in entries)
        write_text(self.path, text.getvalue())
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
    """Read a log, as it was written or as a spreadsheet has saved it since; there may be none yet.

    Raises:
        DataError: It is neither. It is left as it is: judges' scores stand nowhere else.
    """
    if not path.exists():
        return []
    try:
        if not path.read_bytes().endswith((b"\n", b"\n\0", b"\r")):
            raise ValueError("must end with a line end")
        for table in saved_tables(path, COLUMNS):
            return [_entry(table.header, fields, line) for line, fields in table.rows[1:]]
        raise ValueError(f"must begin with the line {','.join(COLUMNS)}")
    except (OSError, ValueError, csv.Error, DataError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise DataError(
            f"{path}: damaged: {reason}; mend it with a text editor, or move it away to begin anew"
        ) from error


def now() -> datetime:
    """Return the time in whole seconds, UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def _entry(header: list[str], row: list[str], line: int) -> Entry:
    if len(row) != len(header):
        raise ValueError(f"line {line} must have {len(header)} fields, has {len(row)}")
    fields = dict(zip(header, row, strict=True))
    known = {name: fields.pop(name) for name in COLUMNS}
    others = {name: text for name, text in fields.items() if name}
    try:
        entry = Entry.model_validate({**known, "others": others})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"line {line}, {first['loc'][0]}: {first['msg']}, is {first['input']!r}"
        ) from error
    # Where the decimal sign is a comma, a spreadsheet takes 0.987 for 987.
    if entry.metric not in (*LOG_LOSSES, *OF_NUMBERS) and (entry.oof_score or 0) > 1:
        raise ValueError(f"line {line}, oof_score: must be at most 1, is {known['oof_score']!r}")
    return entry
