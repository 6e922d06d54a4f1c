"""List the training images whose label is probably wrong."""

import shlex
from pathlib import Path

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.console import result, say
from pipeline.data.corrections import DROP, RELABEL
from pipeline.errors import ArtifactError
from pipeline.scoring.oof import find_suspects
from pipeline.scoring.targets import class_indices
from pipeline.store.paths import Paths
from pipeline.store.results import load_probs
from pipeline.store.tables import (
    SUSPECT_COLUMNS,
    add_mark,
    held_out,
    load_folds,
    read_image_table,
    write_for_people,
)


def run(paths: Paths, competition: Competition, experiment: str, *, excel: bool = False) -> None:
    """List the labels that an experiment's OOF predictions contradict.

    Reads folds/COMPETITION.csv and artifacts/COMPETITION/EXPERIMENT/oof.npz.

    Writes suspects.csv beside it.

    Fails if images have not one class each (ConfigError), the predictions are missing or stale, or
    the list that is there has actions and would change (ArtifactError).
    """
    competition.check_by_class("suspects")
    title = f"suspects {competition.name} {experiment}"
    folds = held_out(load_folds(paths))
    image_ids = folds["image_id"].tolist()
    probs = load_probs(paths, competition, experiment, "oof", image_ids)
    found = find_suspects(probs, class_indices(competition, folds))
    table = pd.DataFrame(
        {
            "image_id": folds["image_id"].to_numpy()[found["row"]],
            "label": folds["label"].to_numpy()[found["row"]],
            "suggested": [competition.classes[index] for index in found["suggested"]],
            "prob_label": [f"{prob:.4f}" for prob in found["prob_label"]],
            "prob_suggested": [f"{prob:.4f}" for prob in found["prob_suggested"]],
            "action": "",
        },
        columns=SUSPECT_COLUMNS,
    )
    target = paths.experiment(experiment).suspects
    if _is_unchanged(target, table, competition.name):
        say(f"{title}: up to date")
        if excel:
            add_mark(target)
    else:
        write_for_people(table, target, excel=excel)
    result(f"{target}: {len(table):,} of {len(folds):,} training images")
    say(
        f"{title}: look at them, write '{DROP}' or '{RELABEL}' into the column action, then run "
        f"'pipeline folds {competition.name} --corrections {shlex.quote(str(target))}'"
    )


def _is_unchanged(target: Path, table: pd.DataFrame, competition: str) -> bool:
    """Check whether the same list is there already, whatever actions were added to it.

    Raises:
        ArtifactError: Another list is there, and actions were added to it.
    """
    if not target.is_file():
        return False
    command = f"pipeline suspects {competition}"
    existing = read_image_table(target, SUSPECT_COLUMNS, command, table["image_id"])
    if _content(existing) == _content(table):
        return True
    num_actions = int((existing["action"].str.strip() != "").sum())
    if num_actions:
        raise ArtifactError(
            f"{target}: must have no actions to be overwritten, has {num_actions:,}; move it away "
            f"and run 'pipeline suspects {competition}' again"
        )
    return False


def _content(table: pd.DataFrame) -> set[tuple[str, ...]]:
    """Return what a list says but the actions, as spreadsheets don't change it."""
    probs = table[["prob_label", "prob_suggested"]].map(_number)
    return set(
        table[["image_id", "label", "suggested"]].join(probs).itertuples(index=False, name=None)
    )


def _number(text: str) -> str:
    """Write a number in one way, whatever decimal sign and zeros it came with."""
    try:
        return f"{float(text.replace(',', '.')):.4f}"
    except ValueError:
        return text
