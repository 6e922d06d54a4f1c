"""Tell what the labels in a column are: classes, by name or number, or several of an image."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.class_names import (
    NO_NUMBER,
    ClassLookup,
    as_integer,
    as_number,
    classes_of_columns,
    names_in,
)
from pipeline.data.init.words import words_of

LABEL_NAMES = (
    "label", "labels", "class", "class_id", "class_name", "label_id", "label_name", "target",
    "category", "category_id", "category_name", "breed", "species", "diagnosis", "y",
    "标签", "类别",
)  # fmt: skip
NO_LABEL = {*NO_NUMBER, "?", "unlabeled", "unlabelled"}
BETWEEN = (";", "|", ",", "+", " ")  # several labels of an image, from the surest sign to the least
FRACTION = re.compile(r"-?\d+(,\d+)?")  # a number as some countries write it
LABEL_SETS = {"labels", "tags", "classes", "categories", "attributes", "ids", "annotations", "标签"}
# What tables call amounts; of whole numbers, which may be classes, too, it is asked.
AMOUNTS = {
    "age", "amount", "angle", "area", "count", "distance", "height", "length", "percent",
    "percentage", "price", "rate", "rating", "ratio", "score", "speed", "temperature", "weight",
}  # fmt: skip
CALLED_CLASS = {"id", "ids", "class", "label", "category", "species", "type", "kind", "code"}
MIN_ORDERED = 3
MOST_STEPS = 20  # different numbers that are classes as a rule, as stages are
MOST_SHOWN = 3
MIN_SEVERAL = 0.1  # of the images; fewer that stand twice are mistakes


@dataclass(frozen=True)
class LabelSource:
    """The place where labels stand, and the classes.

    Attributes:
        keys: The table `[train] labels`; empty where no labels were found.
        why: What it was inferred from.
        classes: The class names, in order.
        classes_why: What they were read from.
        is_certain: Whether nothing else may hold them as well.
        are_classes_certain: Whether the names leave no doubt.
        images: image_ids that a list gives labels to; none where labels stand elsewhere.
        several_why: Why an image may have several labels; empty where it has one class.
        is_target_certain: Whether nothing speaks against that.
        left_out: Folders of images without labels among those of classes.
        number_why: Why the labels are numbers to be predicted; empty where they name classes. There
            are no classes then.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    classes: tuple[str, ...] = ()
    classes_why: str = ""
    is_certain: bool = True
    are_classes_certain: bool = True
    images: frozenset[str] = frozenset()
    several_why: str = ""
    is_target_certain: bool = True
    left_out: tuple[str, ...] = ()
    number_why: str = ""

    @property
    def are_numbers(self) -> bool:
        """Whether the organiser numbers the classes, from 0."""
        return self.keys.get("values") == "index"

    @property
    def may_be_ordered(self) -> bool:
        """Whether classes are a few whole numbers that a list doesn't call ids."""
        called = words_of(str(self.keys.get("label_column", "")))
        is_few = MIN_ORDERED <= len(self.classes) <= MOST_STEPS
        are_whole = are_numbers(self.classes) and not has_fractions(self.classes)
        is_listed = self.keys.get("source") in ("csv", "list_file")
        return is_few and are_whole and is_listed and "id" not in called


@dataclass(frozen=True)
class Asked:
    """The header and answers of the sample submission.

    Attributes:
        columns: Its header, without the id's column; what it calls its one answer, or the classes.
        values: The different answers, where one is asked for.
    """

    columns: tuple[str, ...] = ()
    values: frozenset[str] = frozenset()

    @property
    def names(self) -> Set[str]:
        """Names that a column of labels may have, in lower case."""
        asked = self.columns if len(self.columns) == 1 else ()
        return {*map(str.lower, asked), *LABEL_NAMES} - {""}

    def holds(self, labels: Iterable[str]) -> bool:
        """Tell whether the sample answers nothing but these labels, or has a column of each."""
        answers = self.values or ({*self.columns} if len(self.columns) > 1 else set())
        return bool(answers) and answers <= set(labels)


def with_doubt(source: LabelSource, places: Sequence[str]) -> LabelSource:
    """Add the places where the labels may stand, too."""
    if not places:
        return source
    why = f"{source.why}; labels may also stand {', '.join(places)}"
    return replace(source, why=why, is_certain=False)


@dataclass(frozen=True)
class LabelSets:
    """Labels of which an image has several.

    Attributes:
        separator: What stands between those of an image.
        names: The different labels, of all images.
        is_certain: Whether nothing else is likely to be meant.
        why: What says so, where it isn't what the texts are made of.
    """

    separator: str
    names: frozenset[str]
    is_certain: bool
    why: str = ""


def find_label_sets(texts: Iterable[str], header: str) -> LabelSets | None:
    """Tell whether a column holds several labels an image, by what its texts are made of.

    They are if the texts are made of fewer different parts than there are texts, not all of them
    of as many: names of two words each, as of a colour and a fruit, are names. As few parts will do
    where they are numbers, or the column is called after labels or tags.

    Args:
        texts: What stands in the column; empty ones say nothing.
        header: What the column is called.
    """
    different = set(texts) - {""}
    if all(map(FRACTION.fullmatch, different)):
        return None
    for separator in BETWEEN:
        cut = None if separator == " " else separator
        sets = [[one.strip() for one in text.split(cut)] for text in different]
        names = Counter(one for own in sets for one in own)
        num_again = sum(count > 1 for count in names.values())
        are_numbers = all(as_number(name) is not None for name in names)
        is_told = are_numbers or not LABEL_SETS.isdisjoint(words_of(header))
        are_parts = len(names) < len(sets) + is_told and num_again >= len(names) / 2
        are_sets = len(set(map(len, sets))) > 1 and all(len(own) == len({*own}) for own in sets)
        if are_parts and are_sets and "" not in names:
            return LabelSets(separator, frozenset(names), is_told or separator != " ")
    return None


def doubt_merged(labels: LabelSource, asked: Asked) -> LabelSource:
    """Doubt more than two classes where the sample answers one number from 0 to 1, as of two.

    One 0 or 1 throughout may be the place of a class, too, unless the classes have names.
    """
    numbers = list(map(as_number, asked.values))
    are_shares = bool(numbers) and all(one is not None and 0 <= one <= 1 for one in numbers)
    is_told = are_shares and (has_fractions(asked.values) or not are_numbers(labels.classes))
    if len(labels.classes) <= 2 or labels.several_why or len(asked.columns) > 1 or not is_told:
        return labels
    why = f"{labels.classes_why}; the sample answers {min(asked.values)}, maybe a probability of "
    why += "one of two classes: if several of these are one class, call them alike by labels.names"
    return replace(labels, classes_why=why, are_classes_certain=False)


def find_sets(pairs: Sequence[tuple[str, str]], header: str, asked: Asked) -> LabelSets | None:
    """Tell whether an image has several labels, in one text or in a row for each; None if not.

    Args:
        pairs: What the rows call the image, and the label.
        header: What the column of labels is called.
        asked: What the sample says.
    """
    texts = [label for _, label in pairs]
    return _asked_sets(find_label_sets(texts, header), texts, asked) or _sets_in_rows(pairs, asked)


def _asked_sets(sets: LabelSets | None, texts: Iterable[str], asked: Asked) -> LabelSets | None:
    """Believe that a column holds several labels an image, unless the sample asks for the texts."""
    if sets is None or len(asked.columns) < 2:
        return sets
    if classes_of_columns(asked.columns, names_in(texts)) is not None:
        return None
    is_asked = classes_of_columns(asked.columns, sorted(sets.names)) is not None
    return replace(sets, is_certain=sets.is_certain or is_asked)


def _sets_in_rows(pairs: Sequence[tuple[str, str]], asked: Asked) -> LabelSets | None:
    """Tell whether images stand in a row for each of several labels.

    Args:
        pairs: What the rows call the image, and the label.
        asked: What the sample says.
    """
    of_image: dict[str, set[str]] = {}
    for image, label in pairs:
        of_image.setdefault(image, set()).update({label} - {""})
    num_several = sum(len(labels) > 1 for labels in of_image.values())
    if num_several < MIN_SEVERAL * len(of_image):
        return None
    names = frozenset().union(*of_image.values())
    between = (one for one in (" ", *BETWEEN) if not any(one in name for name in names))
    is_told = any(len(sets := value.split()) > 1 and names >= {*sets} for value in asked.values)
    why = f"{num_several:,} of {len(of_image):,} images stand in several rows, with other labels"
    return LabelSets(next(between, "\t"), names, is_told, why)


def with_sets(keys: Mapping[str, Any], why: str, sets: LabelSets, where: str) -> LabelSource:
    """Describe a column of several labels an image."""
    if sets.separator != " ":
        keys = {**keys, "label_separator": sets.separator}
    classes = names_in(sets.names)
    made = f"texts in {where} are made of {len(classes)} labels with {sets.separator!r} between"
    several = sets.why or made
    several += "" if sets.is_certain else '; if an image has one class, "one_class"'
    return LabelSource(
        keys,
        why,
        classes,
        f"{len(classes)} labels in {where}",
        several_why=several,
        is_target_certain=sets.is_certain,
    )


def with_values(
    keys: Mapping[str, Any], why: str, labels: Sequence[str], where: str, asked: Asked
) -> LabelSource:
    """Tell numbers to be predicted, class numbers and names apart.

    Class numbers serve as names until the user writes better ones.
    """
    told_labels = {label for label in labels if label.casefold() not in {"", *NO_NUMBER}}
    number = _why_number(told_labels, where, asked)
    if number is not None:
        number_why, is_certain = number
        return LabelSource(keys, why, number_why=number_why, is_target_certain=is_certain)
    classes = names_in(labels)
    has_places = keys["source"] != "coco"  # there numbers are the ids of categories
    is_index = has_places and count_from_0(labels)
    values = {"values": "index" if is_index else "name"} if has_places else {}
    told = f"{len(classes)} labels in {where}"
    told += ", numbers: write the classes' names here, in their order" if is_index else ""
    num_empty = sum(not label for label in labels)
    told += f"; {num_empty:,} rows have none" if num_empty else ""
    doubts = [doubt_of(classes, len(labels) - num_empty), _zeros(labels)]
    doubts += _amounts(classes, where) if has_places else []
    doubt = "; ".join(filter(None, doubts))
    told += f"; {doubt}" if doubt else ""
    return LabelSource({**keys, **values}, why, classes, told, are_classes_certain=not doubt)


def _why_number(labels: Set[str], where: str, asked: Asked) -> tuple[str, bool] | None:
    """Say why labels are numbers to be predicted, and whether nothing else is likely; None if not.

    They are where the sample answers fractions that no label is, or where many different ones have
    fractions themselves. Of two whole numbers fractions are probabilities.
    """
    answers = asked.values
    if not are_numbers([*labels, *answers]) or len(asked.columns) > 1 or len(labels) <= 2:
        return None
    are_broken, are_asked = has_fractions(labels), has_fractions(answers) and not answers <= labels
    if not are_asked and not (are_broken and len(labels) > MOST_STEPS):
        return None
    what = f"{len(labels):,} different numbers in {where}" + ", with fractions" * are_broken
    what += ", and the sample answers others" * are_asked
    is_certain = are_asked and (are_broken or len(answers) > 1)
    doubt = '; if they name classes, "one_class" and classes = "from_labels"'
    return what + doubt * (not is_certain), is_certain


def has_fractions(numbers: Iterable[str]) -> bool:
    """Whether some number is no whole one."""
    return any(as_integer(number) is None for number in numbers)


def _amounts(classes: Sequence[str], where: str) -> list[str]:
    """Doubt whole numbers that are likely to be amounts, as ages are."""
    words = set(words_of(where))
    are_whole = are_numbers(classes) and not has_fractions(classes) and len(classes) > 2
    are_many = len(classes) > MOST_STEPS and not count_from_0(classes)
    if not are_whole or not (words & AMOUNTS or (are_many and not words & CALLED_CLASS)):
        return []
    return ['if they are amounts, target = "number" without classes, and metric = "rmse"']


def doubt_of(classes: Sequence[str], num_labels: int) -> str:
    """Say what makes one doubt that these are the classes; nothing if nothing does."""
    alike = ClassLookup(classes).alike
    empty = [name for name in classes if name.casefold() in NO_LABEL]
    joined = _joined_names(classes)
    are_measures = are_numbers(classes) and has_fractions(classes)
    has_commas = any("," in name for name in classes) and all(map(FRACTION.fullmatch, classes))
    doubts = {
        f"{_shown(alike)} differ in nothing but writing": bool(alike),
        f"{_shown(empty)} may mean that there is no label": bool(empty),
        'numbers with fractions may be measures, target = "number"': are_measures,
        'numbers with commas may be measures: write points, and target = "number"': has_commas,
        f"{_shown(joined)} may be several labels each": bool(joined),
        "more than half of the images have a label of their own": len(classes) > num_labels / 2 > 2,
    }
    return "; ".join(doubt for doubt, holds in doubts.items() if holds)


def _zeros(labels: Iterable[str]) -> str:
    """Say if labels differ in zeros alone, as `1` and `01`, which are one class here."""
    digits = {label for label in labels if label.isdigit()}
    zeros = sorted(label for label in digits if str(int(label)) in digits - {label})
    return f"{_shown(zeros)} are taken for the same without zeros before them" if zeros else ""


def _joined_names(classes: Sequence[str]) -> list[str]:
    """Find labels that are made of several others, with a separator between them."""
    for separator in BETWEEN:
        parts = {name: [one.strip() for one in name.split(separator)] for name in classes}
        known = {one for own in parts.values() for one in own if one}
        joined = [name for name, own in parts.items() if len(own) > 1 and set(own) & set(classes)]
        if joined and len(known) <= len(classes):
            return joined
    return []


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:MOST_SHOWN])


def are_numbers(values: Iterable[str]) -> bool:
    """Whether all values that are no gaps are numbers."""
    return all(as_number(value) is not None for value in values if value)


def count_from_0(values: Iterable[str]) -> bool:
    """Whether the different values are 0, 1, ... up to their number."""
    found = names_in(values)
    return list(found) == [str(number) for number in range(len(found))]
