"""Find the labels in a list: a column of numbers or names, or a column per class."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.class_names import (
    ClassLookup,
    as_integer,
    as_number,
    classes_of_columns,
    names_in,
)
from pipeline.data.init.user_lists import BETWEEN, ForeignList, Ids, LabelSets, find_label_sets
from pipeline.data.init.words import splits_named, words_of
from pipeline.data.label_lists import marked_columns
from pipeline.errors import DataError

LABEL_NAMES = (
    "label", "labels", "class", "class_id", "class_name", "label_id", "label_name", "target",
    "category", "category_id", "category_name", "breed", "species", "diagnosis", "y",
    "标签", "类别",
)  # fmt: skip
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
NO_LABEL = {"nan", "none", "null", "n/a", "na", "?", "unlabeled", "unlabelled"}
YES, NO = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f")
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

    @property
    def are_numbers(self) -> bool:
        """Whether the organiser numbers the classes, from 0."""
        return self.keys.get("values") == "index"


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


def read_columns(table: ForeignList, ids: Ids, asked: Asked) -> LabelSource:
    """Find the labels in a list that names images.

    Raises:
        DataError: It gives shares of classes instead of labels.
    """
    others = [number for number in range(table.num_columns) if number != ids.column]
    where = f"{table.name} names {ids.num_joined:,} training images"
    if not ids.has_header:
        return _in_lines(table, ids, others, f"{where}, without a header")
    header, rows = table.rows[0], table.rows[1:]
    keys = {"file": table.name, "id_column": header[ids.column], **table.form}
    called = _called(header, others, asked)
    marks = _mark_columns(table, others, asked)
    if marks and not set(called) - set(marks.columns):
        rest = [header[number] for number in others if number not in marks.columns]
        is_asked = {header[number] for number in marks.columns} <= set(asked.columns)
        return _with_marks(keys, where, marks, header, [] if is_asked else rest)
    plain = [
        number
        for number in others
        if _may_be_label(header[number]) and not _are_splits([row[number] for row in rows])
    ]
    column = _label_column(rows, plain or others, called)
    column, names = _with_partner(rows, others, column, asked)
    keys = {"source": "csv", **keys, "label_column": header[column]}
    why = f"{where}, by their column {header[ids.column]}"
    texts = [row[column] for row in rows]
    sets = None if names else _asked_sets(find_label_sets(texts, header[column]), texts, asked)
    if sets is None and not names:
        sets = _sets_in_rows([(row[ids.column], row[column]) for row in rows], asked)
    source = (
        _with_values(keys, why, texts, header[column])
        if sets is None
        else _with_sets(keys, why, sets, header[column])
    )
    tested = _of_test(header, rows)
    if tested:
        source = replace(source, why=f"{source.why}; {tested}", is_certain=False)
    if names:
        told = f"named as beside the numbers in {header[column]}"
        source = replace(source, classes=names, classes_why=told)
    args = header, rows, plain, column
    is_told = column in called or bool(names)
    places = _told_otherwise(*args, asked) if is_told else _other_places(*args)
    return with_doubt(source, [] if asked.columns == (header[column],) else places)


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
    asked: Asked,
) -> list[str]:
    """Say where labels may stand besides a column that is called so."""
    args = header, rows, plain, column
    is_answered = asked.holds(row[column] for row in rows)
    return _contradicting(*args) or ([] if is_answered else _rivals(*args))


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
        and not _are_numbers(own)
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


def _may_be_label(name: str) -> bool:
    is_other = name.lower() in OTHER_NAMES or bool(splits_named(name))
    return not is_other and SUBJECT_WORDS.isdisjoint(words_of(name))


def _in_lines(table: ForeignList, ids: Ids, others: list[int], why: str) -> LabelSource:
    column = _label_column(table.rows, others, [])
    varied = _varied(table.rows, others)
    roles = {number: f"column_{number + 1}" for number in varied}  # groups may refer to them
    roles |= {ids.column: "image", column: "label"}
    columns = [roles.get(number, "other") for number in range(table.num_columns)]
    keys: dict[str, Any] = {"source": "list_file", "file": table.name}
    keys["separator"] = table.separator
    if columns != ["image", "label"]:
        keys["columns"] = columns
    source = _with_values(keys, why, table.column(column), table.name)
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
    numbers = [n for n in (column, *partners) if _count_from_0([row[n] for row in rows])]
    names = [n for n in (column, *partners) if not _are_numbers([row[n] for row in rows])]
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


def _are_numbers(values: Iterable[str]) -> bool:
    return all(as_number(value) is not None for value in values if value)


def _count_from_0(values: Iterable[str]) -> bool:
    found = names_in(values)
    return list(found) == [str(number) for number in range(len(found))]


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


def _with_sets(keys: Mapping[str, Any], why: str, sets: LabelSets, where: str) -> LabelSource:
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


def _with_values(
    keys: Mapping[str, Any], why: str, labels: Sequence[str], where: str
) -> LabelSource:
    """Tell class numbers from names; numbers serve as names until the user writes better ones."""
    classes = names_in(labels)
    is_index = _count_from_0(labels)
    values = "index" if is_index else "name"
    told = f"{len(classes)} labels in {where}"
    told += ", numbers: write the classes' names here, in their order" if is_index else ""
    num_empty = sum(not label for label in labels)
    told += f"; {num_empty:,} rows have none" if num_empty else ""
    doubt = "; ".join(filter(None, (doubt_of(classes, len(labels) - num_empty), _zeros(labels))))
    told += f"; {doubt}" if doubt else ""
    return LabelSource(
        {**keys, "values": values}, why, classes, told, are_classes_certain=not doubt
    )


def doubt_of(classes: Sequence[str], num_labels: int) -> str:
    """Say what makes one doubt that these are the classes; nothing if nothing does."""
    alike = ClassLookup(classes).alike
    empty = [name for name in classes if name.casefold() in NO_LABEL]
    joined = _joined_names(classes)
    has_fractions = _are_numbers(classes) and None in map(as_integer, classes)
    doubts = {
        f"{_shown(alike)} differ in nothing but writing": bool(alike),
        f"{_shown(empty)} may mean that there is no label": bool(empty),
        "numbers with fractions may be measures": has_fractions,
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
