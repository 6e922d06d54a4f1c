"""Fill in what a competition's file leaves to the data: class names and the submission's header.

`prepare` reads them and writes them down; every later stage gets them from there, so that all
of them see the same competition.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.competition import Competition
from pipeline.config.strict import StrictModel, parse
from pipeline.data.sample import Sample
from pipeline.errors import DataError
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths


class Resolution(StrictModel):
    """Content of `resolved.json`.

    Attributes:
        classes: The class names, in the order of their indices.
        columns: The header of the submission.
        has_sample: Whether the sample submission was there, and test.csv stands in its order.
        range: The least and the largest number, where the target is one.
    """

    classes: tuple[str, ...]
    columns: tuple[str, ...]
    has_sample: bool
    range: tuple[float, ...] = ()


def leaves_open(competition: Competition) -> bool:
    """Whether something of the competition is to be read from its data."""
    is_open = not competition.classes or (competition.is_number and not competition.range)
    return is_open or competition.submission.sample is not None


def resolved(
    competition: Competition,
    classes: tuple[str, ...],
    sample: Sample | None,
    numbers: Sequence[float] = (),
) -> Competition:
    """Fill in what was read from the data.

    Args:
        competition: As its file says.
        classes: The names in the training labels.
        sample: The sample submission.
        numbers: The numbers that the training labels tell, where the target is one.

    Raises:
        ConfigError: It doesn't fit the rest of the competition's file.
        DataError: The labels name fewer than two classes, or the sample has another number of
            columns than the competition's file says.
    """
    if not competition.classes and len(classes) < 2:
        found_names = f"only {classes[0]!r}" if classes else "none"
        raise DataError(
            f"{competition.name}: the training labels must name 2 classes or more, name "
            f"{found_names}; compare [train] labels in the competition's file"
        )
    found = Resolution(
        classes=classes,
        columns=(sample and sample.columns) or competition.submission.columns,
        has_sample=sample is not None,
        range=competition.range or _range_of(competition, numbers),
    )
    whole = _filled_in(competition, found)
    if sample is not None and sample.num_columns != len(whole.columns):
        raise DataError(
            f"{sample.path}: must have {len(whole.columns)} columns, as {competition.name}.toml "
            f"says, has {sample.num_columns}"
        )
    return whole


def _range_of(competition: Competition, numbers: Sequence[float]) -> tuple[float, ...]:
    if not competition.is_number:
        return ()
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    if low == high:
        raise DataError(
            f"{competition.name}: the training labels must be 2 different numbers or more, are "
            f"{low:g} throughout; compare [train] labels in the competition's file"
        )
    return low, high


def resolve(competition: Competition, paths: Paths) -> Competition:
    """Fill in what `prepare` has read; before `prepare`, return the competition as it is.

    Raises:
        DataError: The record is missing beside prepared tables, or damaged.
        ConfigError: The competition's file has changed and the record doesn't fit it any more.
    """
    path = paths.resolution_json
    if not leaves_open(competition) or not (path.exists() or paths.train_csv.exists()):
        return competition
    try:
        found = Resolution.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: must be as 'pipeline prepare' wrote it, cannot be read; "
            f"run 'pipeline prepare {competition.name}'"
        ) from error
    return _filled_in(competition, found)


def write_resolution(competition: Competition, path: Path) -> None:
    """Write down what was filled in."""
    found = Resolution(
        classes=competition.classes,
        columns=competition.submission.columns,
        has_sample=competition.submission.sample is not None,
        range=competition.range,
    )
    values = found.model_dump(mode="json", exclude=None if found.range else {"range"})
    text = json.dumps(values, indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def _filled_in(competition: Competition, found: Resolution) -> Competition:
    """Check the whole again: what was read may contradict what the file says."""
    values = competition.model_dump(mode="json")
    values["classes"] = list(competition.classes or found.classes)
    values["range"] = list(competition.range or found.range)
    values["submission"]["columns"] = list(found.columns)
    if not found.has_sample:
        values["submission"] |= {"sample": None, "sample_rows": "all"}
    return parse(Competition, values, f"{competition.name}.toml")
