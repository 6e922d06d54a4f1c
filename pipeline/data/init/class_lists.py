"""What numbered classes are called: told by a list that has a line for each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.config.class_names import as_integer, as_number
from pipeline.config.strict import is_plain
from pipeline.data.init.label_columns import Asked, LabelSource
from pipeline.data.init.user_lists import ForeignList


def with_class_names(
    labels: LabelSource, lists: Iterable[ForeignList], asked: Asked
) -> LabelSource:
    """Name the classes by the first list that does, where the labels are their numbers.

    Numbers that don't count from 0 are named only where the sample submission answers such names:
    else they are what the judge may want to read.

    Args:
        labels: What was found.
        lists: Any; such a list has a name per line, in the classes' order, or beside its number.
        asked: What the sample says.
    """
    numbers = [as_integer(name) for name in labels.classes]
    if None in numbers or not labels.keys:
        return labels
    for table in lists:
        names = _names(table, [number for number in numbers if number is not None])
        if not names:
            continue
        if labels.are_numbers:
            why = f"{table.name} names as many as there are numbers in the labels"
            return replace(labels, classes=names, classes_why=why)
        if {*asked.values, *asked.columns} & set(names):
            called = dict(zip(labels.classes, names, strict=True))
            why = f"{table.name} names the numbers in the labels, the sample has such names"
            keys = {**labels.keys, "names": called}
            return replace(labels, keys=keys, classes=names, classes_why=why)
    return labels


def _names(table: ForeignList, numbers: Sequence[int]) -> tuple[str, ...]:
    """Read the names off a list, in the order of the numbers; none where it is no such list."""
    count = len(numbers)
    rows = table.rows[len(table.rows) - count :] if len(table.rows) in (count, count + 1) else []
    columns = list(zip(*rows, strict=True))
    if len(columns) == 2:
        for key, value in (columns, columns[::-1]):
            name_of = dict(zip(map(as_integer, key), value, strict=True))
            if set(name_of) == set(numbers):
                return _if_names([name_of[number] for number in numbers])
    counts_from_0 = list(numbers) == list(range(count))
    is_bare = len(columns) == 1 and len(table.rows) == count and counts_from_0
    return _if_names(columns[0]) if is_bare else ()


def _if_names(names: Sequence[str]) -> tuple[str, ...]:
    are_names = all(is_plain(name) and as_number(name) is None for name in names)
    return tuple(names) if are_names and len(set(names)) == len(names) else ()
