"""Match the ways in which files write classes: `1` for `1.0`, `Brown Spot` for `brown_spot`."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
BETWEEN_WORDS = re.compile(r"[\s_./-]+")
MOST_DIGITS = 40
NO_NUMBER = {"nan", "na", "n/a", "none", "null"}  # what programs write where there is none


def as_number(text: str) -> Decimal | None:
    """Read a number as every reader of numbers would; None for what is none."""
    is_number = len(text) <= MOST_DIGITS and NUMBER.fullmatch(text) is not None
    return Decimal(text) if is_number else None


def as_integer(text: str) -> int | None:
    """Read an integer, written as a float or not; None for what is none."""
    number = as_number(text)
    return None if number is None or number != int(number) else int(number)


def sort_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names, as numbers where all of them are."""
    ordered = sorted(set(names))
    numbers = {name: number for name in ordered if (number := as_number(name)) is not None}
    if len(numbers) < len(ordered):
        return tuple(ordered)
    return tuple(sorted(ordered, key=lambda name: numbers[name]))


def names_in(labels: Iterable[str]) -> tuple[str, ...]:
    """List the classes that labels name, sorted; empty labels name none.

    Integers that are written as floats (`3.0`, `1.000000e+00`), and those that are written in
    several ways, count as the plain integers that they are.
    """
    names = {label for label in labels if label}
    integers = {name: number for name in names if (number := as_integer(name)) is not None}
    if len(integers) < len(names):
        return sort_names(names)
    are_written_alike = all(name.lstrip("-").isdigit() for name in names)
    if are_written_alike and len(set(integers.values())) == len(names):
        return sort_names(names)
    return tuple(map(str, sorted(set(integers.values()))))


class ClassLookup:
    """Finds the class that a file means.

    A name stands for the class that is written so, else for that of the same number, else for that
    of the same letters, whatever their case, form of Unicode and what stands between words. It
    stands for none where several classes fit.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._exact = {name: index for index, name in enumerate(classes)}
        self._alike: dict[object, list[int]] = {}
        for index, name in enumerate(classes):
            self._alike.setdefault(_form(name), []).append(index)

    @property
    def alike(self) -> list[str]:
        """The classes that differ from others in the way of writing alone."""
        names = list(self._exact)
        return [names[index] for found in self._alike.values() if len(found) > 1 for index in found]

    def find(self, written: str) -> int | None:
        """Return the index of the class that is meant, if there is exactly one."""
        if written in self._exact:
            return self._exact[written]
        found = self._alike.get(_form(written), [])
        return found[0] if len(found) == 1 else None


def _form(name: str) -> object:
    """Make equal what is one class in two ways of writing."""
    number = as_number(name)
    if number is not None:
        return number
    text = unicodedata.normalize("NFC", name).casefold()
    letters = BETWEEN_WORDS.sub("", text)
    return letters if letters and as_number(letters) is None else text


# The columns of a file that has one per class.


def classes_of_columns(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...] | None:
    """Find the class after which each column is named, whatever all names begin and end with.

    Returns:
        Class indices, one per column, all different; None where not all columns are so named.
    """
    lookup = ClassLookup(classes)
    for form in (list, _without_affixes):
        found = tuple(index for name in form(names) if (index := lookup.find(name)) is not None)
        if len(set(found)) == len(names):
            return found
    return None


def places_of_columns(names: Sequence[str]) -> tuple[int, ...] | None:
    """Read columns that are numbered, in any order, as `p_2,p_0,p_1`: from 0 or from 1.

    Returns:
        Their numbers, from 0; None where they aren't so numbered.
    """
    numbers = [as_integer(name) for name in _without_affixes(names)]
    for first in (0, 1):
        if sorted(map(str, numbers)) == sorted(map(str, range(first, first + len(names)))):
            return tuple(number - first for number in numbers if number is not None)
    return None


def _without_affixes(names: Sequence[str]) -> list[str]:
    """Take away what all names begin and end with, by whole words and numbers."""
    begin, end = _shared_begin(names), _shared_begin([name[::-1] for name in names])
    bare = [name[len(begin) : len(name) - len(end)] for name in names]
    return bare if all(bare) else list(names)


def _shared_begin(names: Sequence[str]) -> str:
    """Find what all names begin with, up to where a word or a number ends in every one."""
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    shared = first[: next((at for at, (one, other) in pairs if one != other), len(first))]
    while shared and not all(_ends_word(shared, name) for name in names):
        shared = shared[:-1]
    return shared


def _ends_word(shared: str, name: str) -> bool:
    last, following = shared[-1], name[len(shared) : len(shared) + 1]
    return not last.isalnum() or (last.isalpha() and following.isdigit())


# Labels of an image that may have several, in one text: `|oak|elm|`, and `|` where it has none.
BETWEEN_LABELS = "|"


def join_labels(names: Iterable[str]) -> str:
    """Write labels as one text, which is never empty."""
    return BETWEEN_LABELS + "".join(f"{name}{BETWEEN_LABELS}" for name in names)


def split_labels(text: str) -> tuple[str, ...]:
    """Read what `join_labels` wrote."""
    return tuple(filter(None, text.split(BETWEEN_LABELS)))


# The ids of lines that are of an image and a label each.


def check_row_id(template: str) -> str:
    """Check what makes the id of such a line."""
    if template.count("{id}") != 1 or template.count("{label}") != 1:
        raise ValueError("must hold {id} and {label} once each")
    return template


def row_ids(template: str, image_id: str, classes: Sequence[str]) -> list[str]:
    """Form the ids of an image's lines, one per class."""
    return [template.replace("{label}", name).replace("{id}", image_id) for name in classes]


def split_row_id(template: str, row_id: str, classes: Sequence[str]) -> tuple[str, int] | None:
    """Tell the image's id and the class's index from a line's id; None where it is of no class.

    Of `a_bacterial_pneumonia` the class is the longest that there is.
    """
    pattern = re.escape(template).replace(r"\{id\}", "(?P<id>.+?)")
    names = "|".join(map(re.escape, sorted(classes, key=len, reverse=True)))
    found = re.fullmatch(pattern.replace(r"\{label\}", f"(?P<label>{names})"), row_id)
    return (found["id"], classes.index(found["label"])) if found else None


# The key `classes` of a competition's file.

FROM_LABELS = "from_labels"
ONE_NUMBER = ("number",)  # the only "class" where the target is a number


def _empty_if_read(classes: Any) -> Any:
    if classes == FROM_LABELS:
        return ()
    if isinstance(classes, list | tuple) and tuple(classes) == ONE_NUMBER:
        return ONE_NUMBER
    if not isinstance(classes, list | tuple) or len(classes) < 2:
        raise ValueError(f"must be a list of 2 names or more, or '{FROM_LABELS}'")
    return tuple(classes)


def _empty_range_if_read(values: Any) -> Any:
    if values == FROM_LABELS or (isinstance(values, list | tuple) and not values):
        return ()
    is_pair = isinstance(values, list | tuple) and len(values) == 2
    if not is_pair or not all(type(one) in (int, float) for one in values):
        raise ValueError(f"must be two numbers, or '{FROM_LABELS}'")
    if not values[0] < values[1]:
        raise ValueError(f"must ascend, is {list(values)}")
    return tuple(map(float, values))


Range = Annotated[
    tuple[float, ...],
    BeforeValidator(_empty_range_if_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                {"const": FROM_LABELS},
            ]
        }
    ),
]

Classes = Annotated[
    tuple[str, ...],
    BeforeValidator(_empty_if_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 2},
                {"const": FROM_LABELS},
            ]
        }
    ),
]
