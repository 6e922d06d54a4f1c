"""Read the sample submission, which decides on ids, their order and the header."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.class_names import (
    as_integer,
    classes_of_columns,
    places_of_columns,
    split_row_id,
)
from pipeline.config.competition import Competition
from pipeline.data.labels import find_listing
from pipeline.data.split_folders import ImageFile
from pipeline.errors import DataError
from pipeline.store.folders import find_file
from pipeline.store.foreign import read_foreign_csv
from pipeline.submission.rows import from_line, num_fields

MOST_SHOWN = 3
AGAIN = "; take the competition's own sample again, as it came"


@dataclass(frozen=True)
class Sample:
    """Header, ids and kind of answer of a sample submission; which image has which says nothing.

    Attributes:
        path: The file.
        columns: The header; empty where the judge wants none.
        num_columns: The id's and those of the labels.
        ids: The judge's ids of all test images, in order.
        answers: The different labels that it gives, where it has one column of them.
    """

    path: Path
    columns: tuple[str, ...]
    num_columns: int
    ids: list[str]
    answers: frozenset[str] = frozenset()


def load_sample(
    competition: Competition, source_dirs: Sequence[Path], known: str = ""
) -> Sample | None:
    """Read the sample submission, if the competition has one.

    Args:
        competition: Its name and form.
        source_dirs: Folders that may hold it, searched in order.
        known: Names of images, by which its encoding is told, see `unusual_names`.

    Returns:
        The sample; None where the competition names none, or one that may be absent and is.

    Raises:
        DataError: It is missing, or doesn't look as the competition's file says.
    """
    name = competition.submission.sample
    if name is None:
        return None
    is_optional = any(one.name == name and one.optional for one in competition.archives)
    if is_optional and find_file(name, source_dirs) is None:
        return None
    path = find_listing(competition, name, source_dirs)
    table = read_foreign_csv(path, competition.submission.separator, known)
    columns: tuple[str, ...] = ()
    rows = table.rows
    width = len(table.header)
    submission = competition.submission
    _check_rows(table.path, rows, max(width, num_fields(submission, 2)))
    rows = [(line, from_line(submission, fields)) for line, fields in rows]
    if submission.has_header:
        columns, rows = tuple(rows[0][1]) if rows else (), rows[1:]
        _check_columns(competition, path, columns)
    num_columns = width - num_fields(submission, 0)
    _check_ids(table.path, rows)
    answers = {fields[1] for _, fields in rows} - {""} if num_columns == 2 else set()
    if submission.label in ("names", "labels"):
        answers = {name for answer in answers for name in answer.split(" ")}
    ids = [fields[0] for _, fields in rows]
    if submission.has_label_rows:
        ids = _image_ids(competition, path, ids)
    return Sample(path, columns, num_columns, ids, frozenset(answers))


def _image_ids(competition: Competition, path: Path, ids: Sequence[str]) -> list[str]:
    """List the images that lines of an image and a label each are of.

    Raises:
        DataError: A line is of no label, or one of an image's is missing where all must be there.
    """
    template, labels_of = competition.submission.row_id, dict[str, set[int]]()
    for row_id in ids:
        found = split_row_id(template, row_id, competition.classes)
        if found is None:
            raise DataError(
                f"{path}: ids must be of an image and a class, as '{template}', '{row_id}' isn't; "
                "compare classes and [submission] row_id"
            )
        labels_of.setdefault(found[0], set()).add(found[1])
    wanted = competition.num_classes
    if competition.submission.is_ordered_by_sample:
        few = [one for one, found in labels_of.items() if len(found) < wanted]
        if few:
            raise DataError(
                f"{path}: must have {wanted} lines per image, has {len(labels_of[few[0]])} of "
                f"'{few[0]}'; if it is an example of a few rows, set [submission] sample_rows = "
                '"some"'
            )
    return list(labels_of)


def _check_columns(competition: Competition, path: Path, columns: tuple[str, ...]) -> None:
    declared = competition.submission.columns
    if declared and declared != columns[: len(declared)]:
        raise DataError(
            f"{path}: the header must begin with {','.join(declared)}, as {competition.name}.toml "
            f"says, is {','.join(columns)}; correct one of the two"
        )


def _check_rows(path: Path, rows: list[tuple[int, list[str]]], width: int) -> None:
    for line, fields in rows:
        if len(fields) != width:
            raise DataError(
                f"{path}: line {line} must have {width} columns, has {len(fields)}{AGAIN}"
            )


def _check_ids(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    seen: set[str] = set()
    for line, fields in rows:
        at = f"{path}: line {line}"
        if not fields[0] or fields[0] in seen:
            raise DataError(f"{at} must hold an id of its own, holds {fields[0]!r}{AGAIN}")
        seen.add(fields[0])
    if not rows:
        raise DataError(f"{path}: must hold a line per test image, holds none{AGAIN}")


def find_doubts(competition: Competition, sample: Sample | None) -> list[str]:
    """Compare the answers that will be written with the class names and the sample.

    Args:
        competition: With its classes and columns filled in.
        sample: Its sample, if there is one.
    """
    found = [_of_places(competition)]
    if sample is not None:
        of_answers = competition.submission.label != "probabilities"
        found.append((_of_answers if of_answers else _of_columns)(competition, sample))
    return [doubt for doubt in found if doubt]


def _of_places(competition: Competition) -> str:
    """Doubt that classes which are numbers are answered by other numbers, their places."""
    numbers = [as_integer(name) for name in competition.classes]
    are_places = numbers == list(range(len(numbers)))
    if competition.submission.label != "index" or None in numbers or are_places:
        return ""
    return (
        f"the classes are the numbers {_shown(competition.classes)}, the submission will answer "
        "their places, counted from 0; if the judge wants the numbers, set [submission] label = "
        '"name"'
    )


def _of_columns(competition: Competition, sample: Sample) -> str:
    names, classes = sample.columns[1:], competition.classes
    if classes_of_columns(names, classes) or places_of_columns(names) or not names:
        return ""
    pairs = [f"'{name}' for {label}" for name, label in zip(names, classes, strict=True)]
    return (
        f"{sample.path}: the columns aren't called as the classes and are taken in their order, "
        f"{', '.join(pairs[:MOST_SHOWN])}; compare the order of classes"
    )


def _of_answers(competition: Competition, sample: Sample) -> str:
    label, classes = competition.submission.label, competition.classes
    places = {str(number) for number in range(len(classes))}
    if competition.is_number:
        return ""
    odd = sorted(sample.answers - (places if label == "index" else set(classes)))
    if competition.submission.has_probabilities or not odd:
        return ""
    wanted = f"places of classes, as 0 for {classes[0]}" if label == "index" else "class names"
    return (
        f"{sample.path}: answers {_shown(odd)}, the submission will answer {wanted}"
        f"{'' if label == 'index' else f', as {_shown(classes)}'}; compare [submission] label"
    )


def doubt_about_rows(sample: Sample, num_asked: int, unlisted: Sequence[ImageFile]) -> list[str]:
    """Say if a sample leaves test images out: it may be an example of a few rows.

    Args:
        sample: The sample.
        num_asked: How many images it asks for.
        unlisted: The test images that it doesn't ask for, and that have no label either.
    """
    if not unlisted:
        return []
    return [
        f"{sample.path}: asks for {num_asked:,} images, not for {len(unlisted):,} more in the test "
        f"folders, as '{unlisted[0].image_id}'; if it is an example of a few rows, set "
        '[submission] sample_rows = "some"'
    ]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:MOST_SHOWN])) + ", ..." * (len(names) > MOST_SHOWN)
