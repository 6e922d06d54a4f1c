"""Find the labels in a list: a column of numbers or names, or a column per class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.class_names import ClassLookup, as_integer, as_number
from pipeline.data.init.label_values import (
    Asked,
    LabelSource,
    are_numbers,
    count_from_0,
    find_sets,
    with_doubt,
    with_sets,
    with_values,
)
from pipeline.data.init.user_lists import CATEGORY, ForeignList, Ids
from pipeline.data.init.words import splits_named, words_of
from pipeline.data.label_lists import marked_columns
from pipeline.errors import DataError

# What tables say of images beside their labels; believed only where nothing else is there.
OTHER_NAMES = {
    "fold", "split", "set", "subset", "usage", "partition", "mode", "width", "height",
    "size", "channels", "format", "ext",
}  # fmt: skip
# Of whom or by what images are; a label only where nothing else may be one.
SUBJECT_WORDS = {
    "patient", "subject", "driver", "camera", "participant", "volunteer", "scanner", "device",
    "hospital", "session", "sequence", "video", "visit",
}  # fmt: skip
SPLIT_NAMES = {"split", "set", "subset", "usage", "partition", "mode"}
YES, NO = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f")
MOST_SHOWN = 3


def read_columns(table: ForeignList, ids: Ids, asked: Asked) -> LabelSource:
    """Find the labels in a list that names images.

    Raises:
        DataError: It gives shares of classes instead of labels.
    """
    others = [number for number in range(table.num_columns) if number != ids.column]
    where = f"{table.name} names {ids.num_joined:,} training images"
    if not ids.has_header:
        return _in_lines(table, ids, others, asked, f"{where}, without a header")
    header, rows = table.rows[0], table.rows[1:]
    keys = {"file": table.name, "id_column": header[ids.column], **table.form}
    called = _called(header, others, asked)
    marks = _mark_columns(table, others, asked)
    if marks and not set(called) - set(marks.columns):
        rest = [header[number] for number in others if number not in marks.columns]
        is_asked = {header[number] for number in marks.columns} <= set(asked.columns)
        return _with_marks(keys, where, marks, header, [] if is_asked else rest)
    plain = [
        number for number in others if may_be_labels(header[number], [row[number] for row in rows])
    ]
    column = _label_column(rows, plain or others, called)
    column, names = _with_partner(rows, others, column, asked)
    keys = {"source": "csv", **keys, "label_column": header[column]}
    why = f"{where}, by their column {header[ids.column]}"
    pairs = [(row[ids.column], row[column]) for row in rows]
    sets = None if names else find_sets(pairs, header[column], asked)
    source = (
        with_values(keys, why, [label for _, label in pairs], header[column], asked)
        if sets is None
        else with_sets(keys, why, sets, header[column])
    )
    tested = _of_test(header, rows)
    if tested:
        source = replace(source, why=f"{source.why}; {tested}", is_certain=False)
    if names:
        told = f"named as beside the numbers in {header[column]}"
        source = replace(source, classes=names, classes_why=told)
    args = header, rows, plain, column
    is_told = column in called or bool(names)
    places = _told_otherwise(*args, called, asked) if is_told else _other_places(*args)
    return with_doubt(source, [] if asked.columns == (header[column],) else places)


def read_categories(table: ForeignList, ids: Ids, asked: Asked) -> LabelSource:
    """Find the labels in annotations as COCO's: ids of categories, or names if these are answered.

    Args:
        table: Its rows are of annotations.
        ids: How it names images.
        asked: What the sample says.
    """
    place = table.rows[0].index(CATEGORY)
    pairs = [(row[ids.column], row[place]) for row in table.rows[1:]]
    where = f"{table.name} names {ids.num_joined:,} training images, each with a category"
    own = {label for _, label in pairs}
    answers = asked.values or {*asked.columns}
    is_named = not answers <= own and bool(answers & {*table.called.values()})
    is_named = is_named and own <= {*table.called}
    keys = {"source": "coco", "file": table.name} | ({"label": "name"} if is_named else {})
    labels = [table.called[label] if is_named else label for _, label in pairs]
    source = with_values(keys, where, labels, f"the categories of {table.name}", Asked())
    kinds = Counter(image for image, _ in set(pairs))
    num_several = sum(count > 1 for count in kinds.values())
    doubts = [f"elsewhere: {num_several:,} images have several categories, and so none"]
    source = with_doubt(source, doubts if num_several else [])
    if not answers and table.called:
        return with_doubt(source, ['in their names, label = "name": no sample tells'])
    return source


def _called(header: Sequence[str], others: Iterable[int], asked: Asked) -> list[int]:
    """Find the column that is called as the sample's answer, else those called as labels are."""
    found = [number for number in others if header[number].lower() in asked.names]
    same = [number for number in found if asked.columns == (header[number],)]
    return same or found


def _other_places(
    header: Sequence[str], rows: Sequence[Sequence[str]], plain: list[int], column: int
) -> list[str]:
    """Say where labels may stand besides a column that isn't called so."""
    varied = [number for number in _varied(rows, plain) if header[number] and number != column]
    places = [f"in '{header[number]}'" for number in varied]
    # Ids of the images, of which another list tells more, look so.
    if len({row[column] for row in rows}) == len(rows) > MOST_SHOWN:
        places.append(f"in another list: each row has a value of its own in '{header[column]}'")
    return places


def _told_otherwise(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    plain: list[int],
    column: int,
    called: Sequence[int],
    asked: Asked,
) -> list[str]:
    """Say where labels may stand besides a column that is called so."""
    args = header, rows, plain, column
    found = _contradicting(*args)
    if found or asked.holds(row[column] for row in rows):
        return found
    # As a breed beside a species.
    others = [one for one in called if one != column and not _say_the_same(rows, column, one)]
    return list(dict.fromkeys([*_rivals(*args), *(f"in '{header[one]}'" for one in others)]))


def _contradicting(
    header: Sequence[str], rows: Sequence[Sequence[str]], plain: list[int], column: int
) -> list[str]:
    """Name the columns of the same names that call some images otherwise, as corrections do."""
    known = {row[column] for row in rows}
    values = {number: {row[number] for row in rows} - {""} for number in plain}
    others = [
        number
        for number, own in values.items()
        if own
        and own <= known
        and not are_numbers(own)
        and any(row[number] not in ("", row[column]) for row in rows)
    ]
    return [f"in '{header[number]}', which contradicts it" for number in others if header[number]]


def _rivals(
    header: Sequence[str], rows: Sequence[Sequence[str]], plain: list[int], column: int
) -> list[str]:
    """Name the columns of words that divide the images into a few other groups."""
    found = []
    for number in _varied(rows, plain):
        pairs = {(row[column], row[number]) for row in rows if row[number]}
        labels, own = ({pair[side] for pair in pairs} for side in (0, 1))
        is_other = len(pairs) > max(len(labels), len(own)) and not own <= labels
        if is_other and 2 * len(own) <= len(rows) and not any(map(as_number, own)):
            found.append(f"in '{header[number]}'")
    return found


def _with_marks(
    keys: Mapping[str, Any], where: str, marks: "_Marks", header: list[str], rest: list[str]
) -> LabelSource:
    """Describe a table with a column per class."""
    classes = tuple(header[number] for number in marks.columns)
    each = "any number of 1s" if marks.several else "one 1"
    source = LabelSource(
        {"source": "one_hot", **keys},
        f"{where}, each with {each} among 0s",
        classes,
        "the columns that hold them",
        several_why=marks.several,
        is_target_certain=marks.is_certain,
    )
    return with_doubt(source, [f"in '{name}'" for name in rest if name])


def _of_test(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Say if a column calls some of the images test images, which the labels make training ones."""
    for number, name in enumerate(header):
        values = [row[number].casefold() for row in rows]
        is_split = name.lower() in SPLIT_NAMES or _are_splits(values)
        count = sum("test" in splits_named(value) for value in values) if is_split else 0
        if set(values) <= {*YES, *NO}:  # of is_test or is_train
            answer = (
                YES if "test" in splits_named(name) else NO if "train" in words_of(name) else ()
            )
            count = sum(value in answer for value in values)
        if count:
            what = f"column '{name}' calls {count:,} of them test images"
            return f"but {what}: name those in [test] csv"
    return ""


def _are_splits(values: Sequence[str]) -> bool:
    """Whether a column holds nothing but names of splits."""
    different = set(values)
    return len(different) > 1 and all(map(splits_named, different))


def may_be_labels(name: str, values: Sequence[str]) -> bool:
    """Whether a column isn't called as what tables say beside labels, and holds no splits."""
    return _may_be_label(name) and not _are_splits(values)


def _may_be_label(name: str) -> bool:
    is_other = name.lower() in OTHER_NAMES or bool(splits_named(name))
    return not is_other and SUBJECT_WORDS.isdisjoint(words_of(name))


def _in_lines(
    table: ForeignList, ids: Ids, others: list[int], asked: Asked, why: str
) -> LabelSource:
    column = _label_column(table.rows, others, [])
    varied = _varied(table.rows, others)
    roles = {number: f"column_{number + 1}" for number in varied}  # groups may refer to them
    roles |= {ids.column: "image", column: "label"}
    columns = [roles.get(number, "other") for number in range(table.num_columns)]
    keys: dict[str, Any] = {"source": "list_file", "file": table.name}
    keys["separator"] = table.separator
    if columns != ["image", "label"]:
        keys["columns"] = columns
    source = with_values(keys, why, table.column(column), table.name, asked)
    return with_doubt(source, [f"in column {number + 1}" for number in varied if number != column])


@dataclass(frozen=True)
class _Marks:
    """Columns of 0 and 1, one per class.

    Attributes:
        columns: Their numbers.
        several: Why a row may mark any number of them; empty where each marks one.
        is_certain: Whether nothing speaks against that.
    """

    columns: list[int]
    several: str = ""
    is_certain: bool = True


def _mark_columns(table: ForeignList, others: list[int], asked: Asked) -> _Marks | None:
    """Find the columns of a table with one per class; None where it is no such table."""
    header, rows = table.rows[0], table.rows[1:]
    lookup = ClassLookup(header)
    wanted = [lookup.find(name) for name in asked.columns] if len(asked.columns) > 1 else []
    is_asked = bool(wanted) and None not in wanted
    marks = [one for one in wanted if one is not None] if is_asked else others
    marks = [number for number in marks if _are_marks([row[number] for row in rows])]
    counts = [len(marked_columns([row[n] for n in marks if row[n]]) or []) for row in rows]
    if len(marks) < 2 or (is_asked and len(marks) < len(wanted)):
        _refuse_shares(table, [one for one in wanted if one is not None] if is_asked else [])
        return None
    num_labelled = sum(any(row[number] for number in marks) for row in rows)
    if set(counts) <= {0, 1} and sum(counts) == num_labelled:
        return _Marks(marks)
    why = f"{sum(count > 1 for count in counts):,} of {num_labelled:,} rows of {table.name} mark"
    why += f" several of {len(marks)} columns" + f", {counts.count(0):,} none" * (0 in counts)
    if is_asked:
        return _Marks(marks, f"{why}, for which the sample asks", max(counts) > 1)
    return _unasked(why, [one for one in marks if _may_be_label(header[one])], header, asked)


def _refuse_shares(table: ForeignList, columns: Sequence[int]) -> None:
    """Refuse columns of probabilities or votes in the place of labels.

    Raises:
        DataError: They are such.
    """
    texts = [row[number] for row in table.rows[1:] for number in columns]
    numbers = [number for text in texts if (number := as_number(text)) is not None]
    if columns and len(numbers) == len(texts) and all(number >= 0 for number in numbers):
        odd = next(text for text in texts if as_integer(text) not in (0, 1))
        raise DataError(
            f"{table.path}: the columns of the {len(columns)} classes that the sample asks for "
            f"must mark them by 1 and 0, hold numbers as {odd}; write the likeliest class of each "
            "image into a list of its own, and name that by --labels"
        )


def _unasked(why: str, marks: list[int], header: Sequence[str], asked: Asked) -> _Marks | None:
    """Take columns for labels that the sample answers by their names, or where there is none."""
    sets = [set(value.split()) for value in asked.values]
    is_told = bool(sets) and all(own <= {header[number] for number in marks} for own in sets)
    if len(marks) < 2 or not (is_told or not asked.columns):
        return None
    return _Marks(marks, why + "; else one of them alone is the label" * (not is_told), is_told)


def _are_marks(column: Sequence[str]) -> bool:
    return any(column) and all(marked_columns([text]) is not None for text in column if text)


def _label_column(rows: Sequence[Sequence[str]], others: list[int], called: list[int]) -> int:
    """Choose a column called like one of labels, else that with the fewest values."""
    likely = called or _varied(rows, others) or others
    return min(likely, key=lambda one: len({row[one] for row in rows}))


def _varied(rows: Sequence[Sequence[str]], columns: Iterable[int]) -> list[int]:
    """Keep the columns that tell some images apart, but not every one from all others."""
    return [number for number in columns if 1 < len({row[number] for row in rows}) < len(rows)]


def _with_partner(
    rows: Sequence[Sequence[str]], others: list[int], column: int, asked: Asked
) -> tuple[int, tuple[str, ...]]:
    """Choose between a column of numbers and one of names that say the same, by the sample.

    Returns:
        The column, and the names of the classes in the order of its numbers where these count
        from 0; none where there are no such two columns.
    """
    partners = [n for n in others if n != column and _say_the_same(rows, column, n)]
    numbers = [n for n in (column, *partners) if count_from_0([row[n] for row in rows])]
    names = [n for n in (column, *partners) if not are_numbers([row[n] for row in rows])]
    if numbers and names:
        pairs = {(as_integer(row[numbers[0]]) or 0, row[names[0]]) for row in rows}
        return numbers[0], tuple(name for _, name in sorted(pairs) if name)
    answered = [
        n
        for n in (column, *partners, *_varied(rows, others))
        if asked.values and asked.values <= {row[n] for row in rows}
    ]
    is_number = all(as_number(value) is not None for value in asked.values)
    # A number may stand for nothing, and in many columns; a name in another one is no accident.
    if answered and (not is_number or answered[0] in (column, *partners)):
        return answered[0], ()
    return column, ()


def _say_the_same(rows: Sequence[Sequence[str]], one: int, other: int) -> bool:
    pairs = {(row[one], row[other]) for row in rows}
    num = {len({pair[side] for pair in pairs}) for side in (0, 1)}
    return num == {len(pairs)} and 1 < len(pairs) < len(rows)
