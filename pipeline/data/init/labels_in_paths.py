"""Find labels in the paths of images: in their folders, as a list may call them, or their names."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from pipeline.config.class_names import ClassLookup, classes_of_columns, names_in
from pipeline.config.strict import is_plain
from pipeline.data.init.infer_splits import Split
from pipeline.data.init.label_values import Asked, LabelSource, doubt_of, with_doubt
from pipeline.data.init.user_lists import ForeignList
from pipeline.data.init.words import is_camera_name, is_unlabeled, splits_named
from pipeline.store.folders import same_form

PATTERNS = {
    r"(?:^|/)(?P<label>[^/]*[^/\d._ ()-])[._ (-]*\d+\)?\.[^./]+$": "a label, then a number",
    r"(?:^|/)\d+[._ -]+(?P<label>[^/]*[^/\d._ -])\.[^./]+$": "a number, then a label",
}
# Of such labels that are words themselves, as of `indoor_cat_1.jpg`.
WORD_PATTERNS = {
    r"(?P<label>[^\W\d_]+)[._ (-]*(?:\d+\)?)?\.[^./]+$": "labelled by the last word",
    r"(?:^|/)[\d._ -]*(?P<label>[^\W\d_]+)[^/]*$": "labelled by the first word",
}
MIN_MATCHED = 0.99
MIN_CLASSES = 2
# A session, a magnification, a part: `s1`, `40X`, `2020-01-31`, `batch_2`.
COUNTED = re.compile(r"[^\W\d]{0,12}[ _.-]*\d[\d _.-]*[^\W\d]{0,2}", re.IGNORECASE)
MOST_SHOWN = 3
MAX_STRAYS = 0.1  # share of the images that lie beside the folders of the others

Level = list[str]  # the name of each image's folder


def by_listed_folders(
    source: LabelSource, lists: Sequence[ForeignList], train: Split, asked: Asked
) -> tuple[LabelSource, Sequence[ForeignList]]:
    """Call the folders of the training images as a list calls them, if one does.

    A list that gives several folders one class says the classes; one that gives each folder a name
    of its own does where the sample answers such names.

    Returns:
        The labels, and the lists that may hold others.
    """
    folders = [[same_form(part) for part in PurePosixPath(one).parent.parts] for one in train.ids]
    for level in _levels([parts for parts in folders if parts]):
        for table in lists:
            found = _named_folders(table, set(level), asked)
            if found is None or _asked_for([level], asked):
                continue
            named, is_called_so = found
            rest = [one for one in lists if one is not table]
            classes = names_in(named.values())
            is_told = is_called_so or bool({*asked.values, *asked.columns} & {*classes})
            are_numbered = all(map(COUNTED.fullmatch, named)) or all(one.isdigit() for one in named)
            if not is_told and (len(classes) == len(named) or not are_numbered):
                doubt = f"; {table.name} calls them otherwise: {shown(list(named.values()))}"
                told = source.classes_why + doubt
                return replace(source, classes_why=told, are_classes_certain=False), rest
            keys = {"source": "folder", "names": named}
            why = f"{table.name} names the classes of {len(named):,} folders of training images"
            told = f"{len(classes)} labels in {table.name}"
            return LabelSource(keys, why, classes, told, is_certain=is_told), rest
    return source, lists


def _named_folders(
    table: ForeignList, level: set[str], asked: Asked
) -> tuple[dict[str, str], bool] | None:
    """Read what a list calls each folder; None where it doesn't list all of them, each once.

    Also tells whether the column is called as one of labels is.
    """
    if table.num_columns < 2 or len(level) < 2:
        return None
    for number in range(table.num_columns):
        rows = {same_form(PurePosixPath(row[number]).name): row for row in table.rows}
        if not level <= set(rows) or sum(row[number] in level for row in table.rows) > len(level):
            continue
        others = [one for one in range(table.num_columns) if one != number]
        header = {table.rows[0][one].lower(): one for one in others}
        called = [header[name] for name in header if name in asked.names]
        likely = called or [one for one in others if len({rows[name][one] for name in level}) > 1]
        if not likely:
            return None
        column = min(likely, key=lambda one: len({rows[name][one] for name in level}))
        named = {name: rows[name][column] for name in sorted(level)}
        return (named, bool(called)) if all(map(is_plain, named.values())) else None
    return None


def labels_in_folders(image_ids: Sequence[str], asked: Asked) -> LabelSource | None:
    """Find the classes among the folders of the training images; None where there are none.

    Args:
        image_ids: Paths of the images below the folder that holds all of them.
        asked: What the sample submission says of labels.
    """
    folders = [[same_form(part) for part in PurePosixPath(one).parent.parts] for one in image_ids]
    if folders and all(parts and splits_named(parts[0]) for parts in folders):
        folders = [parts[1:] for parts in folders]  # of train and val: no classes
    inside = [parts for parts in folders if parts]
    if len(inside) < (1 - MAX_STRAYS) * max(1, len(folders)):
        return None
    levels = _levels(inside)
    varied = [level for level in levels if len(set(level)) > 1]
    if not varied:
        return None
    chosen = _asked_for(varied, asked) or _likely(varied)
    others = [level for level in varied if level is not chosen]
    is_told = _asked_for(varied, asked) is not None
    num_strays = len(folders) - len(inside)
    why = f"{len(inside):,} training images lie in {len(set(chosen)):,} folders"
    why += f", {num_strays:,} beside them" * bool(num_strays)
    doubt = f"; classes may also be {' or '.join(map(shown, others))}" if others else ""
    deeper = [parts for parts in inside if len(parts) > len(levels)]
    doubt += f"; some lie deeper, as in {'/'.join(deeper[0])}" if deeper else ""
    classes = names_in(chosen)
    answers = {*asked.columns, *asked.values}
    unlabeled = tuple(name for name in classes if is_unlabeled(name) and name not in answers)
    classes = tuple(name for name in classes if name not in unlabeled)
    if len(classes) < MIN_CLASSES:
        return None
    return LabelSource(
        {"source": "folder"},
        why + doubt,
        classes,
        "; ".join(filter(None, ("the folders' names" + doubt, doubt_of(classes, len(inside))))),
        is_certain=is_told or not (others or num_strays or deeper),
        are_classes_certain=not doubt_of(classes, len(inside)),
        left_out=unlabeled,
    )


def _levels(folders: Sequence[list[str]]) -> list[Level]:
    """List the folders by how deep they lie; where depths differ, the outermost alone."""
    depths = {len(parts) for parts in folders}
    depth = min(depths) if len(depths) == 1 else 1
    return [[parts[level] for parts in folders] for level in range(depth)]


def _asked_for(levels: Sequence[Level], asked: Asked) -> Level | None:
    """Find the level of which the sample names the classes."""
    for level in levels:
        names = names_in(level)
        lookup = ClassLookup(names)
        are_answers = bool(asked.values) and all(
            lookup.find(one) is not None and not one.isdigit() for one in asked.values
        )
        are_columns = len(asked.columns) == len(names) > 1
        if are_answers or (are_columns and classes_of_columns(asked.columns, names) is not None):
            return level
    return None


def _likely(levels: Sequence[Level]) -> Level:
    """Choose the level of classes: not one of numbers, not one that repeats below each other."""
    named = [level for level in levels if not all(map(COUNTED.fullmatch, set(level)))]
    levels = named or levels
    outer, inner = levels[0], levels[-1]
    # Names that stand below one folder alone divide it further: breeds of a species.
    is_finer = len(set(zip(outer, inner, strict=True))) == len(set(inner))
    return inner if is_finer else outer


def labels_in_names(image_ids: Sequence[str], asked: Asked) -> LabelSource | None:
    """Find labels in the file names: all words there, or the one that the sample answers."""
    tried = (_by_pattern(image_ids, *one) for one in PATTERNS.items())
    source = next(filter(None, tried), None)
    if source is None:
        return None
    tried = (_by_pattern(image_ids, *one) for one in WORD_PATTERNS.items())
    words = [one for one in tried if one is not None and len(one.classes) < len(source.classes)]
    answers = set(map(str.casefold, asked.values or asked.columns))
    fitting = [one for one in (source, *words) if answers <= set(map(str.casefold, one.classes))]
    if answers and fitting:
        return fitting[0]
    is_grid = bool(words) and _are_combined(source.classes)
    doubt = " or ".join(shown(one.classes) for one in words)
    return with_doubt(source, [f"in a word of them: {doubt}"] if is_grid else [])


def _are_combined(labels: Sequence[str]) -> bool:
    """Whether most labels share their first word with some, and their last one with others."""
    words = [re.split(r"[._ -]+", label.casefold()) for label in labels]
    firsts, lasts = (Counter(own[end] for own in words) for end in (0, -1))
    return sum(firsts[own[0]] > 1 < lasts[own[-1]] for own in words) > len(words) / 2


def _by_pattern(image_ids: Sequence[str], pattern: str, form: str) -> LabelSource | None:
    matches = [re.search(pattern, image_id) for image_id in image_ids]
    labels = {match["label"].casefold(): match["label"] for match in matches if match}
    num_matched = sum(match is not None for match in matches)
    is_label = 2 <= len(labels) <= len(image_ids) / 2
    is_label = is_label and not all(map(is_camera_name, labels))
    if not is_label or num_matched < MIN_MATCHED * len(image_ids):
        return None
    why = f"{num_matched:,} of {len(image_ids):,} names are {form}"
    classes = names_in(labels.values())
    doubt = doubt_of(classes, num_matched)
    told = "; ".join(filter(None, ("the file names", doubt)))
    keys = {"source": "file_name", "pattern": pattern}
    return LabelSource(keys, why, classes, told, are_classes_certain=not doubt)


def shown(level: Sequence[str]) -> str:
    """Show the first few different names."""
    names = sorted(set(level))
    return ", ".join(names[:MOST_SHOWN]) + ", ..." * (len(names) > MOST_SHOWN)
