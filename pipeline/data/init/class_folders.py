"""Find the folders that are classes, among those of sessions, magnifications or parts of a set."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.config.class_names import ClassLookup, classes_of_columns, names_in
from pipeline.data.init.label_columns import Asked, LabelSource
from pipeline.data.init.words import splits_named
from pipeline.store.folders import same_form

# A session, a magnification, a part: `s1`, `40X`, `2020-01-31`, `batch_2`.
COUNTED = re.compile(r"[^\W\d]{0,12}[ _.-]*\d[\d _.-]*[^\W\d]{0,2}", re.IGNORECASE)
MOST_SHOWN = 3
MAX_STRAYS = 0.1  # share of the images that lie beside the folders of the others

Level = list[str]  # the name of each image's folder


def from_folders(image_ids: Sequence[str], asked: Asked) -> LabelSource | None:
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
    doubt = f"; classes may also be {' or '.join(map(_shown, others))}" if others else ""
    classes = names_in(chosen)
    return LabelSource(
        {"source": "folder"},
        why + doubt,
        classes,
        "the folders' names" + doubt,
        is_certain=is_told or not (others or num_strays),
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


def _shown(level: Level) -> str:
    names = sorted(set(level))
    return ", ".join(names[:MOST_SHOWN]) + ", ..." * (len(names) > MOST_SHOWN)
