"""Find the labels of the training images, in lists, folders or file names, and the classes."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from pathlib import PurePosixPath

from pipeline.config.class_names import (
    ClassLookup,
    as_integer,
    as_number,
)
from pipeline.config.strict import is_plain
from pipeline.data.init.file_roles import is_likely_list
from pipeline.data.init.infer_splits import Split
from pipeline.data.init.label_columns import may_be_labels, read_categories, read_columns
from pipeline.data.init.label_values import Asked, LabelSource, are_numbers, with_doubt
from pipeline.data.init.labels_in_paths import (
    COUNTED,
    MIN_CLASSES,
    by_listed_folders,
    labels_in_folders,
    labels_in_names,
    shown,
)
from pipeline.data.init.user_lists import CATEGORY, ForeignList, Ids, find_ids, name_files
from pipeline.data.init.words import LIST_NAME, splits_named
from pipeline.data.joining import join_names

MIN_LISTED = 2  # a line for each image, as of boxes, is no list of labels
MIN_SHARE = 0.5  # of the images that the best list names

Named = tuple[ForeignList, Ids]


def find_labels(
    lists: Sequence[ForeignList], train: Split, asked: Asked, asked_for: Set[str] = frozenset()
) -> LabelSource:
    """Find the labels: in lists that have some, else in folders, else in file names.

    Args:
        lists: Those that may be label lists.
        train: The training images.
        asked: What the sample submission says of labels.
        asked_for: Those of the images that are to be predicted: what a list calls them is no label.
    """
    several = [
        f"in {table.name}, of several categories an image: if so, as CSV with a row for each"
        for table in lists
        if _have_several(table) and find_ids(table, train.join) is not None
    ]
    lists = [table for table in lists if not _are_boxes(table)]
    found = [
        (table, ids)
        for table in lists
        if table.num_columns > 1
        and (ids := find_ids(table, train.join)) is not None
        and ids.num_joined >= min(MIN_LISTED, len(train.ids))
    ]
    if not found:
        source = (
            labels_in_folders(train.ids, asked)
            or labels_in_names(train.ids, asked)
            or LabelSource()
        )
        source, lists = by_listed_folders(source, lists, train, asked)
        # A list that may hold labels and doesn't fit: what folders say may be something else.
        idle = [
            f"in {table.name}, which names other images"
            for table in lists
            if _is_table(table) and (source.keys or is_likely_list(table.name))
        ]
        return with_doubt(source, [*idle, *several])
    # A list of class numbers and names may know the images 1, 2 and 3, too.
    most = max(ids.num_joined for _, ids in found)
    found.sort(
        key=lambda one: (
            one[1].num_joined >= MIN_SHARE * most,
            *_likeliness(one[0], one[1], asked),
        ),
        reverse=True,
    )
    best, parts = found[0], _parts_of_one(found)
    ids, table = _ids_of_all(parts), _without(_joined(parts), parts[0][1], train, asked_for)
    read = read_categories if table.kind == "coco" else read_columns
    source = read(table, ids, asked)
    source = replace(source, images=ids.images - asked_for)
    in_paths, is_sure = _in_paths_instead(source, table, train, asked)
    if in_paths is not None and is_sure:
        return with_doubt(in_paths, several)
    if len(parts) > 1:
        names = sorted(table.name for table, _ in parts)
        source = replace(source, keys={**source.keys, "file": names})
    inner = [*best[1].doubts, *_in_pairs(best, train), *_in_rest(source, train, asked)]
    inner += [*_against_folders(source, table, ids, train), *_renumbered(parts, source)]
    inner += [f"in their paths: {shown(in_paths.classes)}"] if in_paths else []
    if ids.num_joined < MIN_SHARE * len(train.ids):
        inner.append(f"elsewhere: {len(train.ids) - ids.num_joined:,} images aren't named")
    source = with_doubt(source, inner)
    others = [table for table, _ in found[1:] if not any(table is part for part, _ in parts)]
    rest = [f"in {table.name}" for table in others if table is not best[0]]
    return with_doubt(source, [*rest, *several])


def _in_paths_instead(
    source: LabelSource, table: ForeignList, train: Split, asked: Asked
) -> tuple[LabelSource | None, bool]:
    """Find labels in folders or file names, where a list has none that are called or answered so.

    Returns:
        Them, None where there are none; and whether the list can't have any, as one of folds.
    """
    label = source.keys.get("label_column", "")
    is_told = label.lower() in asked.names or asked.holds(source.classes) or source.several_why
    if source.keys.get("source") != "csv" or is_told:
        return None, False
    found = labels_in_folders(train.ids, asked) or labels_in_names(train.ids, asked)
    if found is None or None not in map(ClassLookup(source.classes).find, found.classes):
        return None, False  # none, or the same
    if all(map(COUNTED.fullmatch, found.classes)):  # of sessions, magnifications, parts
        return None, False
    place = table.rows[0].index(label)
    return found, not may_be_labels(label, [row[place] for row in table.rows[1:]])


def _in_pairs(named: Named, train: Split) -> list[str]:
    """Name a column that names other images, so that a label may be of both."""
    table, ids = named
    own = join_names(table.column(ids.column), train.join).images
    for number in range(table.num_columns):
        names = table.column(number)
        if number == ids.column or not name_files(names[ids.has_header :]):
            continue
        other = join_names(names, train.join).images
        pairs = zip(table.column(ids.column), names, strict=True)
        num_others = sum(two in other and own.get(one) != other[two] for one, two in pairs)
        if num_others >= MIN_SHARE * ids.num_joined:
            return [f"for pairs of images: column {number + 1} names some, too"]
    return []


def _in_rest(source: LabelSource, train: Split, asked: Asked) -> list[str]:
    """Name the folders of the other images, where a list names few, as of a validation set."""
    rest = [one for one in train.ids if one not in source.images]
    folders = labels_in_folders(rest, asked) if len(rest) > MIN_SHARE * len(train.ids) else None
    return [f"in the folders of the {len(rest):,} others"] if folders is not None else []


def _against_folders(source: LabelSource, table: ForeignList, ids: Ids, train: Split) -> list[str]:
    """Name the folders if they are called after the classes, and a list says otherwise."""
    is_list = source.keys.get("source") == "list_file"
    columns = source.keys.get("columns", ["image", "label"] if is_list else table.rows[0])
    label = source.keys.get("label_column", CATEGORY if table.kind == "coco" else "label")
    if source.several_why or label not in columns:
        return []
    lookup = ClassLookup(source.classes)
    place_of = {one: lookup.find(PurePosixPath(one).parent.name) for one in train.ids}
    if None in place_of.values() or len(set(place_of.values())) < MIN_CLASSES:
        return []
    rows = table.rows[ids.has_header :]
    image_of = join_names(table.column(ids.column), train.join).images
    listed = [(image_of.get(row[ids.column]), row[columns.index(label)]) for row in rows]
    num_others = sum(
        one is not None and bool(name) and lookup.find(name) != place_of[one]
        for one, name in listed
    )
    return [f"in the folders, which call {num_others:,} of them otherwise"] if num_others else []


def _renumbered(parts: Sequence[Named], source: LabelSource) -> list[str]:
    """Say if files as COCO's call a number otherwise, where the numbers are the labels."""
    names: dict[str, str] = {}
    for table, _ in parts if source.keys.get("label") != "name" else []:
        for key, name in table.called.items():
            if names.setdefault(key, name) != name:
                return [f"in their names: '{key}' is '{names[key]}', and '{name}' in {table.name}"]
    return []


def _is_table(table: ForeignList) -> bool:
    return table.num_columns > 1 and len(table.rows) > 1


def _likeliness(table: ForeignList, ids: Ids, asked: Asked) -> tuple[int | bool, ...]:
    """Rank a list of training images by how much it looks like one of labels.

    Names that the sample answers tell most. Every file as COCO's calls its labels categories, which
    tells less than a column called as the sample's.
    """
    header = {name.lower() for name in table.rows[0]} if ids.has_header else set()
    is_called_so = len(asked.columns) == 1 and asked.columns[0].lower() in header
    are_names = not are_numbers(asked.values or asked.columns)
    has_answers = are_names and _holds_answers(table, ids, asked)
    is_list_called_so = bool(LIST_NAME.search(table.name))
    num_called = len(header & asked.names)
    return has_answers, is_called_so, num_called, is_list_called_so, ids.num_joined


def _holds_answers(table: ForeignList, ids: Ids, asked: Asked) -> bool:
    """Whether a column, the header or the names of categories hold what the sample answers."""
    others = [number for number in range(table.num_columns) if number != ids.column]
    columns = ({row[number] for row in table.rows[ids.has_header :]} for number in others)
    header = table.rows[0][: None if ids.has_header else 0]
    return any(map(asked.holds, (header, table.called.values(), *columns)))


def _are_boxes(table: ForeignList) -> bool:
    """Whether a JSON file as COCO's tells no class of an image: all have one, or most several."""
    if table.kind != "coco":
        return False
    place = table.rows[0].index(CATEGORY)
    rows = table.rows[1:]
    return len({row[place] for row in rows}) < MIN_CLASSES or _have_several(table)


def _have_several(table: ForeignList) -> bool:
    """Whether most images of a JSON file as COCO's have several categories."""
    if table.kind != "coco":
        return False
    place = table.rows[0].index(CATEGORY)
    kinds = Counter((*row[:place], *row[place + 1 :]) for row in {*map(tuple, table.rows[1:])})
    return sum(count > 1 for count in kinds.values()) > len(kinds) / 2


def _parts_of_one(found: Sequence[Named]) -> list[Named]:
    """Find the lists of the best one's form that name other images, as train and val lists do."""
    parts: list[Named] = [found[0]]
    for table, ids in found[1:]:
        is_called = LIST_NAME.search(table.name) or "train" in splits_named(table.name)
        is_of_form = _form(table, ids) == _form(*found[0])
        if (
            is_called
            and is_of_form
            and all(ids.images.isdisjoint(other.images) for _, other in parts)
        ):
            parts.append((table, ids))
    return parts


def _form(table: ForeignList, ids: Ids) -> tuple[object, ...]:
    header = tuple(table.rows[0]) if ids.has_header else ()
    return table.kind, table.separator, table.num_columns, ids.column, header


def _joined(parts: Sequence[Named]) -> ForeignList:
    """Take several lists of one form for one."""
    first, ids = parts[0]
    rows = [row for table, _ in parts for row in table.rows[ids.has_header :]]
    name = " and ".join(sorted(table.name for table, _ in parts))
    called = {key: one for table, _ in parts for key, one in table.called.items()}
    return replace(first, rows=[*first.rows[: ids.has_header], *rows], name=name, called=called)


def _without(table: ForeignList, ids: Ids, train: Split, left_out: Set[str]) -> ForeignList:
    """Leave out the rows of some images."""
    if not left_out:
        return table
    image_of = join_names(table.column(ids.column), train.join).images
    rows = [row for row in table.rows if image_of.get(row[ids.column]) not in left_out]
    return replace(table, rows=rows) if len(rows) > ids.has_header else table


def _ids_of_all(parts: Sequence[Named]) -> Ids:
    return replace(parts[0][1], images=frozenset().union(*(ids.images for _, ids in parts)))


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
        return _in_listed_order(labels, lists)
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


def _in_listed_order(labels: LabelSource, lists: Iterable[ForeignList]) -> LabelSource:
    """Put class names in the order of a list that holds all of them, as the judge may count."""
    for table in lists:
        names = _names(table, list(range(len(labels.classes))))
        if names and names != labels.classes and set(names) == set(labels.classes):
            why = f"{labels.classes_why}, in the order of {table.name}"
            return replace(labels, classes=names, classes_why=why)
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
