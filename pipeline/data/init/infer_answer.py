"""Infer the form of the answers from a sample submission: class, place or probability."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.config.class_names import (
    ClassLookup,
    as_integer,
    as_number,
    classes_of_columns,
    places_of_columns,
)
from pipeline.config.submission_table import LabelForm
from pipeline.data.init.label_values import BETWEEN, LabelSource
from pipeline.data.init.user_lists import ForeignList

MOST_SHOWN = 3
# How one spelling of names becomes another, where the sample shows some of them.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.lower, str.upper, str.capitalize, str.title, "{}.0".format,
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The form of the answer for each image.

    Attributes:
        label: Its form.
        is_certain: Whether the sample leaves no doubt.
        why: What it was inferred from.
        classes: The class names as they are to be answered; none where nothing says.
    """

    label: LabelForm
    is_certain: bool
    why: str
    classes: tuple[str, ...] = ()


def infer_answer(sample: ForeignList, rows: Sequence[Sequence[str]], labels: LabelSource) -> Answer:
    """Infer whether the sample answers names, places or probabilities.

    A number is written for a class only where it is the organiser's own, or marked as a guess.

    Args:
        sample: The sample, its id first.
        rows: Its rows without the header.
        labels: Where the labels stand, and which classes there are.
    """
    if labels.number_why:
        return Answer("number", labels.is_target_certain, labels.number_why)
    if sample.num_columns > 2:
        return _of_columns(sample, labels, has_header=len(rows) < len(sample.rows))
    values = {row[1] for row in rows if row[1]}
    why = f"{sample.name} answers {_shown(sorted(values)) or 'nothing'}"
    return (_of_sets if labels.several_why else _of_one)(values, why, labels)


def _of_one(values: set[str], why: str, labels: LabelSource) -> Answer:
    """Tell how the one class of an image is answered, or the likeliest ones."""
    if not values or not labels.classes:
        return Answer("name", is_certain=False, why=why, classes=labels.classes)
    lists = [value.split(" ") for value in values]
    if max(map(len, lists)) > 1 and {one for names in lists for one in names} <= {*labels.classes}:
        return Answer("names", is_certain=True, why=why, classes=labels.classes)
    return _of_values(values, why, labels)


def _of_columns(sample: ForeignList, labels: LabelSource, *, has_header: bool) -> Answer:
    classes, names = labels.classes, sample.rows[0][1:]
    why = f"{sample.name} has {len(names)} columns after the id's"
    if not has_header:
        doubt = "; without a header they are taken for the classes in their order"
    elif classes and len(names) != len(classes):
        doubt = f", {len(classes)} classes were found"
    elif not classes or classes_of_columns(names, classes) is not None:
        doubt = ""
    elif places_of_columns(names) is not None:
        doubt = "" if labels.are_numbers else ", numbered, taken for the places of the classes"
    else:
        doubt = ", not called as the classes, so taken for these in their order"
    return Answer("probabilities", not doubt, why + doubt, classes)


def _of_sets(values: set[str], why: str, labels: LabelSource) -> Answer:
    """Tell how several labels of an image are answered in one field."""
    classes = labels.classes
    for separator in BETWEEN[::-1]:
        names = {one.strip() for value in values for one in value.split(separator)} - {""}
        if names and names <= set(classes):
            is_written = separator == " " or not any(separator in value for value in values)
            doubt = "" if is_written else f"; not {separator!r} but spaces are written between them"
            return Answer("labels", is_certain=is_written, why=why + doubt, classes=classes)
    doubt = f"which none of the labels is: {_shown(classes)}" if values else "labels, if any"
    return Answer("labels", is_certain=False, why=f"{why}, {doubt}", classes=classes)


def _of_values(values: set[str], why: str, labels: LabelSource) -> Answer:
    classes = labels.classes
    places = [str(number) for number in range(len(classes))]
    is_named, is_placed = values <= set(classes), values <= set(places)
    has_fractions = any(as_integer(value) is None or "." in value for value in values)
    is_probability = len(classes) == 2 and all(map(_is_probability, values))
    if is_probability and has_fractions:
        is_certain = any(as_integer(value) is None for value in values)
        return Answer("probability", is_certain, why, classes)
    if is_named and (list(classes) == places or not is_placed):
        label: LabelForm = "name" if not is_placed else "index"
        answer = Answer(label, is_certain=True, why=why, classes=classes)
        return _unless_probability(answer, values)
    if is_placed:
        return _of_places(values, why, labels, is_named=is_named)
    return _respelled(values, why, classes)


def _of_places(values: set[str], why: str, labels: LabelSource, *, is_named: bool) -> Answer:
    """Tell what numbers mean that may be the places of the classes, and aren't their names."""
    classes = labels.classes
    if labels.are_numbers:
        answer = Answer("index", is_certain=True, why=why, classes=classes)
        return _unless_probability(answer, values)
    are_numbers = all(as_number(name) is not None for name in classes)
    if is_named:
        doubt = 'taken for the labels\' own numbers; if the judge counts classes from 0, "index"'
        return Answer("name", is_certain=False, why=f"{why}, {doubt}", classes=classes)
    if are_numbers and len(values) < len(classes):
        doubt = f'no label is: {_shown(classes)} are answered; if it counts from 0, "index"'
        return Answer("name", is_certain=False, why=f"{why}, {doubt}", classes=classes)
    doubt = "taken for the places of the classes: compare their order with the judge's numbers"
    answer = Answer("index", is_certain=False, why=f"{why}, {doubt}", classes=classes)
    return _unless_probability(answer, values)


def _unless_probability(answer: Answer, values: set[str]) -> Answer:
    """Doubt one 0 or 1 throughout, of two classes: it may stand for a probability."""
    if len(answer.classes) > 2 or len(values) > 1 or not all(map(_is_probability, values)):
        return answer
    why = f'{answer.why}; where a probability is wanted, "probability" and positive'
    return Answer(answer.label, is_certain=False, why=why, classes=answer.classes)


def _respelled(values: Iterable[str], why: str, classes: tuple[str, ...]) -> Answer:
    """Write the classes as the sample does, if it has the same ones in another way of writing."""
    lookup = ClassLookup(classes)
    found = {index: value for value in values if (index := lookup.find(value)) is not None}
    if len(found) < len(set(values)):
        doubt = f"which none of the labels is: {_shown(classes)}"
        return Answer("name", is_certain=False, why=f"{why}, {doubt}", classes=classes)
    if len(found) == len(classes):
        names = tuple(found[index] for index in range(len(classes)))
        why += ", as the labels, written otherwise"
        return Answer("name", is_certain=True, why=why, classes=names)
    for spell in SPELLINGS:
        names = tuple(map(spell, classes))
        if all(names[index] == value for index, value in found.items()):
            why += ": the other classes are written alike"
            return Answer("name", is_certain=False, why=why, classes=names)
    names = tuple(found.get(index, name) for index, name in enumerate(classes))
    doubt = "written otherwise than the labels: compare the other classes"
    return Answer("name", is_certain=False, why=f"{why}, {doubt}", classes=names)


def _is_probability(text: str) -> bool:
    number = as_number(text)
    return number is not None and 0 <= number <= 1


def _shown(values: Sequence[str]) -> str:
    return ", ".join(repr(value) for value in values[:MOST_SHOWN])
