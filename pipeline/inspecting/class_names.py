"""What numbered classes are called: told by a list that has a line for each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.inspecting.labels import LabelSource
from pipeline.inspecting.lists import ForeignList
from pipeline.schema.table import is_plain


def with_class_names(labels: LabelSource, lists: Iterable[ForeignList]) -> LabelSource:
    """Name the classes by the first list that does, where the labels are their numbers.

    Args:
        labels: What was found.
        lists: Any; such a list has a name per line, in the classes' order, or beside its number.
    """
    if labels.keys.get("values") != "index":
        return labels
    for table in lists:
        names = _names(table, len(labels.classes))
        if names:
            why = f"{table.name} names as many as there are numbers in the labels"
            return replace(labels, classes=names, classes_why=why)
    return labels


def _names(table: ForeignList, count: int) -> tuple[str, ...]:
    """Read the names off a list; none where it isn't one of `count` classes."""
    rows = table.rows[len(table.rows) - count :] if len(table.rows) in (count, count + 1) else []
    columns = list(zip(*rows, strict=True))
    numbers = [str(number) for number in range(count)]
    if len(columns) == 2 and sorted(columns[0]) == sorted(numbers):
        name_of = dict(rows)
        return _if_names([name_of[number] for number in numbers])
    return _if_names(columns[0]) if len(columns) == 1 and len(table.rows) == count else ()


def _if_names(names: Sequence[str]) -> tuple[str, ...]:
    are_names = all(is_plain(name) and not name.isdigit() for name in names)
    return tuple(names) if are_names and len(set(names)) == len(names) else ()
