"""Read labels that a person wrote: class names, places or marks, in one way throughout a file."""

from collections.abc import Callable, Collection
from pathlib import Path

from pipeline.config.class_names import (
    BETWEEN_LABELS,
    ClassLookup,
    as_integer,
    as_number,
    split_row_id,
)
from pipeline.config.competition import Competition
from pipeline.config.labels_table import CsvLabels, LabelRowLabels
from pipeline.console import warn
from pipeline.errors import DataError
from pipeline.submission.faults import shown

MARKS = {**dict.fromkeys(("true", "wahr"), 1), **dict.fromkeys(("false", "falsch"), 0)}
Reading = tuple[str, Callable[[str], int | None]]


def mark(text: str) -> int | None:
    """Read a mark, 1 or 0 or a truth value; None for what is no integer."""
    return MARKS.get(text.casefold(), as_integer(text))


def readings(competition: Competition) -> list[Reading]:
    """List the ways to read a label as a class index, that of the judge first."""
    submission = competition.submission

    def place(text: str) -> int | None:
        number = as_integer(text)
        return number if number is not None and 0 <= number < competition.num_classes else None

    def answer(text: str) -> int | None:
        found = mark(text)
        positive = competition.classes.index(str(submission.positive))
        return None if found not in (0, 1) else positive if found else 1 - positive

    names, places = ("class names", class_finder(competition)), ("places, counted from 0", place)
    if submission.label == "probability":
        return [(f"1 for {submission.positive}, 0 for the other", answer), names, places]
    return [places, names] if submission.label == "index" else [names, places]


def is_label(competition: Competition, text: str) -> bool:
    """Whether a text is a label in any way, or empty."""
    if competition.is_number:
        return not text or as_number(text) is not None
    if competition.has_several:
        return any(read(text) is not None for read in _set_readings(competition))
    return not text or any(read(text) is not None for _, read in readings(competition))


def class_finder(competition: Competition) -> Callable[[str], int | None]:
    """Make what finds the class that a name means, also one that the training labels use for it."""
    lookup, names = ClassLookup(competition.classes), competition.train.labels.names
    written, called = ClassLookup(list(names)), list(names.values())

    def find(text: str) -> int | None:
        found = lookup.find(text)
        place = written.find(text) if found is None else None
        return found if place is None else lookup.find(called[place])

    return find


def _set_readings(competition: Competition) -> list[Callable[[str], frozenset[int] | None]]:
    """List the ways to read the labels of an image, by what stands between them.

    That of the training labels comes first, then `|oak|elm|`, spaces and what people write.
    """
    labels, find = competition.train.labels, class_finder(competition)
    own = [labels.label_separator] if isinstance(labels, CsvLabels) else []

    def reading(separator: str) -> Callable[[str], frozenset[int] | None]:
        def read(text: str) -> frozenset[int] | None:
            parts = [] if text.strip() == BETWEEN_LABELS else text.split(separator)
            found = [find(name) for part in parts if (name := part.strip())]
            known = frozenset(place for place in found if place is not None)
            return None if None in found else known

        return read

    return [reading(one) for one in dict.fromkeys([*own, BETWEEN_LABELS, " ", ",", ";"])]


def read_numbers(path: Path, texts: Collection[str]) -> dict[str, tuple[float, ...]]:
    """Read true numbers, by text.

    Raises:
        DataError: One of them is no number.
    """
    numbers = {text: as_number(text) for text in texts}
    refuse(path, [text for text in texts if numbers[text] is None], "labels must be numbers")
    return {text: (float(number),) for text, number in numbers.items() if number is not None}


def read_label_sets(
    path: Path, competition: Competition, texts: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Read labels of images that may have several.

    Returns:
        By text, 1 for each class that it names and 0 for the others, K of them.

    Raises:
        DataError: One of them is no class.
    """
    ways = [{text: read(text) for text in texts} for read in _set_readings(competition)]
    sets = next((way for way in ways if None not in way.values()), None)
    if sets is None:
        odd = [text for text in texts if all(way[text] is None for way in ways)]
        forms = "with spaces between them, as |one|two| or as in training"
        refuse(path, odd, f"labels must be class names, {forms}")
        refuse(path, list(texts), "labels must have the same between them in all lines")
    numbers = range(competition.num_classes)
    found = {text: one or frozenset() for text, one in (sets or {}).items()}
    return {text: tuple(int(place in one) for place in numbers) for text, one in found.items()}


def gather_label_rows(
    path: Path, competition: Competition, rows: list[list[str]]
) -> list[list[str]]:
    """Turn lines of an image and a class each, as of the judge or in training, into columns.

    Args:
        path: The file, for errors.
        competition: Its classes, and how it forms the ids of lines.
        rows: The fields of all lines.

    Returns:
        A header and a line per image, with 1 or 0 in each class's column; the rows as they are
        where they have no such ids.

    Raises:
        DataError: A line has no such id or mark, or one of an image's lines is missing or repeated.
    """
    classes = competition.classes
    template = _row_template(competition)
    if template is None or not rows or len(rows[0]) < 2:
        return rows
    id_name, mark_name = (name.casefold() for name in competition.columns)
    header = [name.casefold() for name in rows[0]]
    is_named = id_name in header and mark_name in header
    key, value = (header.index(id_name), header.index(mark_name)) if is_named else (0, 1)
    found = [split_row_id(template, row[key], classes) for row in rows]
    if not any(found):
        return rows
    # A header of other names than the submission's has neither such an id nor a mark.
    has_header = is_named or (found[0] is None and mark(rows[0][value]) is None)
    marks_of: dict[str, dict[int, str]] = {}
    for row, pair in list(zip(rows, found, strict=True))[has_header:]:
        refuse(path, [row[key]] * (pair is None), "ids must be of an image and a class")
        refuse(path, [row[value]] * (mark(row[value]) not in (0, 1)), "labels must be 1 or 0")
        if pair is not None:
            marks = marks_of.setdefault(pair[0], {})
            refuse(path, [row[key]] * (pair[1] in marks), "every line must stand once")
            marks[pair[1]] = row[value]
    few = [image_id for image_id, marks in marks_of.items() if len(marks) < len(classes)]
    refuse(path, few, f"each image must have {len(classes)} lines")
    lines = [
        [image_id, *(marks[place] for place in range(len(classes)))]
        for image_id, marks in marks_of.items()
    ]
    return [[competition.columns[0], *classes], *lines]


def _row_template(competition: Competition) -> str | None:
    """Return how ids of lines of an image and a class are formed; None where there are none."""
    labels = competition.train.labels
    if competition.submission.has_label_rows:
        return competition.submission.row_id
    return labels.row_id if isinstance(labels, LabelRowLabels) else None


def read_labels_alike(
    path: Path, competition: Competition, labels: Collection[str]
) -> dict[str, int]:
    """Read all labels of a file in one way; of several, in that of the judge, with a warning.

    Returns:
        Class index by label.

    Raises:
        DataError: A label is none, or no way fits them all.
    """
    found = {
        way: {label: index for label in labels if (index := read(label)) is not None}
        for way, read in readings(competition)
    }
    fitting = {way: classes for way, classes in found.items() if len(classes) == len(labels)}
    if not fitting:
        odd = [label for label in labels if not any(label in one for one in found.values())]
        rule = f"labels must be an index below {competition.num_classes} or a class name"
        refuse(path, odd, rule)
        raise DataError(
            f"{path}: labels must be read in one way throughout, none of {', '.join(found)} fits "
            f"them all: {shown(', '.join(sorted(labels)))}; write class names"
        )
    chosen, *others = fitting
    doubt = next((way for way in others if fitting[way] != fitting[chosen]), None)
    if doubt is not None:
        warn(
            f"{path}: labels are read as {chosen}, but could be {doubt}; write class names if that "
            "is wrong"
        )
    return fitting[chosen]


def refuse(path: Path, offenders: Collection[str], rule: str) -> None:
    """Raise an error that names the rule and the first offender, if there is any.

    Raises:
        DataError: There is one.
    """
    if offenders:
        first = shown(next(iter(offenders)))
        raise DataError(f"{path}: {rule}, found {len(offenders):,} otherwise, the first is {first}")
