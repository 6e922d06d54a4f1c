"""Apply what a person decided on training labels: images are dropped, relabelled or kept.

They are written into `suspects.csv`, or any table of its form, and given to `pipeline folds`, which
keeps them in the stamp of the fold table: they stay in effect until others or none are asked for.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.competition import Competition
from pipeline.data.joining import NameJoin
from pipeline.errors import DataError
from pipeline.store.freshness import file_sha256, read_stamp
from pipeline.store.paths import Paths
from pipeline.store.tables import SUSPECT_COLUMNS, read_image_table

DROP, RELABEL, KEEP = "drop", "relabel", "keep"
ACTIONS = (KEEP, DROP, RELABEL)
TRUTH_WORDS = {
    **dict.fromkeys(("wahr", "vrai", "verdadero", "vero", "истина"), "true"),
    **dict.fromkeys(("falsch", "faux", "falso", "ложь"), "false"),
}
MOST_NAMES = 5


@dataclass(frozen=True)
class Corrections:
    """Training images to drop or to relabel, and those whose label is known to be right.

    Attributes:
        file: Name of the table that said so.
        sha256: Of its content.
        drop: Ids of the images that are left out.
        relabel: image_id → the label that replaces the given one.
        keep: Ids of the images that were looked at; they stay as they are, and the report asks for
            them no more.
    """

    file: str
    sha256: str
    drop: list[str]
    relabel: dict[str, str]
    keep: list[str] = field(default_factory=list)

    def apply(self, images: pd.DataFrame) -> pd.DataFrame:
        """Leave out rows and replace labels; all else stays as it is, the order too.

        Args:
            images: A table with the columns image_id and label.
        """
        kept = images[~images["image_id"].isin(self.drop)].reset_index(drop=True)
        pairs = zip(kept["image_id"], kept["label"], strict=True)
        return kept.assign(label=[self.relabel.get(name, label) for name, label in pairs])

    @property
    def image_ids(self) -> set[str]:
        """All images that are corrected."""
        return {*self.drop, *self.relabel}

    @property
    def decided(self) -> set[str]:
        """All images that a person decided on."""
        return {*self.image_ids, *self.keep}

    def record(self) -> dict[str, Any]:
        """Return what the fold table's stamp says of them."""
        record = asdict(self)
        if not self.keep:  # as records were before there was such an action
            del record["keep"]
        return record

    def counted(self) -> str:
        """Say how many there are, without names."""
        counts = {"dropped": self.drop, "relabelled": self.relabel, "looked at and kept": self.keep}
        return ", ".join(f"{len(names):,} {done}" for done, names in counts.items() if names)

    def __str__(self) -> str:
        parts = [
            f"{len(names):,} {done} ({_first(names)})"
            for names, done in ((self.drop, "dropped"), (list(self.relabel), "relabelled"))
            if names
        ]
        if self.keep:
            parts.append(f"{len(self.keep):,} looked at and kept")
        return f"{', '.join(parts)} by {self.file}"


def load_corrections(path: Path, competition: Competition, train: pd.DataFrame) -> Corrections:
    """Read the rows of a table that have an action.

    Args:
        path: A table with SUSPECT_COLUMNS; `action` is empty, "keep", "drop" or "relabel" (to
            `suggested`).
        competition: Its classes.
        train: All rows of `train.csv`.

    Raises:
        DataError: The table is missing or damaged, or a row says something impossible.
    """
    command = f"pipeline suspects {competition.name}"
    known = {*train["image_id"], *train["label"], *competition.classes}
    table = read_image_table(path, SUSPECT_COLUMNS, command, known)
    table = table.assign(action=table["action"].str.strip().str.lower())
    table = _as_spelled_here(path, table[table["action"] != ""], competition, train)
    if table.empty:
        raise DataError(
            f"{path}: action must be '{DROP}', '{RELABEL}' or '{KEEP}' somewhere, is empty "
            "everywhere; fill it in where you agree"
        )
    label_by_id = dict(zip(train["image_id"], train["label"], strict=True))
    given = table["image_id"].map(label_by_id)
    is_relabel = table["action"] == RELABEL
    is_other_class = table["suggested"].isin(competition.classes) & (table["suggested"] != given)
    for column, rule, holds in (
        ("action", f"be empty or one of {', '.join(ACTIONS)}", table["action"].isin(ACTIONS)),
        ("image_id", "stand in train.csv", given.notna()),
        ("label", "be the one of train.csv", table["label"] == given),
        ("suggested", "be another class of the competition", ~is_relabel | is_other_class),
    ):
        faults = table[~holds]
        if len(faults):
            first = faults.iloc[0]
            raise DataError(
                f"{path}: {column} must {rule}, {len(faults):,} images have another, the first "
                f"is '{first[column]}' of '{first['image_id']}'; mend the file"
            )
    relabelled = table[is_relabel]
    return Corrections(
        file=path.name,
        sha256=file_sha256(path),
        drop=table.loc[table["action"] == DROP, "image_id"].tolist(),
        relabel=dict(zip(relabelled["image_id"], relabelled["suggested"], strict=True)),
        keep=table.loc[table["action"] == KEEP, "image_id"].tolist(),
    )


def _as_spelled_here(
    path: Path, table: pd.DataFrame, competition: Competition, train: pd.DataFrame
) -> pd.DataFrame:
    """Replace ids and labels that a spreadsheet spelled otherwise by what they stand for."""
    join = NameJoin(train["image_id"])
    labels = {
        name: _meant(name, competition.classes) for name in {*table["label"], *table["suggested"]}
    }
    table = table.assign(
        image_id=[_image_meant(name, join) for name in table["image_id"]],
        label=[labels[name] for name in table["label"]],
        suggested=[labels[name] for name in table["suggested"]],
    )
    twice = table["image_id"][table["image_id"].duplicated()]
    if len(twice):
        raise DataError(
            f"{path}: every image must stand once, '{twice.iloc[0]}' stands twice; mend the file"
        )
    return table


def _image_meant(name: str, join: NameJoin) -> str:
    """Find the image of a row; the name itself where there is none, as a namesake elsewhere is."""
    (_, is_elsewhere), image_id = join.match(name)
    return name if image_id is None or is_elsewhere else image_id


def _meant(label: str, classes: Sequence[str]) -> str:
    """Find the class that a spreadsheet made something else of; the label itself where none is.

    Spreadsheets write `true` as TRUE or in their own language, and 007 as 7.
    """
    if label in classes:
        return label
    alike = [name for name in classes if _respelled(name) == _respelled(label)]
    return alike[0] if len(alike) == 1 else label


def _respelled(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).strip().casefold()
    number = re.fullmatch(r"([+-]?)0*([0-9]+)(?:[.,]([0-9]*?)0*)?", text)
    if number:
        return f"{number[1].strip('+')}{number[2]}.{number[3] or ''}"
    return TRUTH_WORDS.get(text, text)


def recorded_corrections(paths: Paths) -> Corrections | None:
    """Return the corrections that the fold table was made with; None if with none."""
    stamp = read_stamp(paths.folds_stamp) or {"inputs": {}}
    recorded = stamp["inputs"].get("corrections")
    return None if recorded is None else Corrections(**recorded)


def load_review(
    paths: Paths, image_ids: Collection[str], classes: Collection[str]
) -> dict[str, list[str]]:
    """Read what `review` wrote: rows of SUSPECT_COLUMNS by image_id; none where it wrote nothing.

    Raises:
        DataError: The file is damaged, or a row has no such action.
    """
    path = paths.corrections_csv
    if not path.is_file():
        return {}
    try:
        table = read_image_table(path, SUSPECT_COLUMNS, "", {*image_ids, *classes})
    except DataError as error:
        reason = str(error).partition("; run '")[0]
        raise DataError(f"{reason}; mend it, or move it away") from error
    rows = table.astype(str).assign(action=table["action"].str.strip().str.lower())
    rows["action"] = rows["action"].where(rows["action"] != "", KEEP)  # as it was written once
    unknown = rows[~rows["action"].isin(ACTIONS)]
    if len(unknown):
        first = unknown.iloc[0]
        raise DataError(
            f"{path}: action must be empty or one of {', '.join(ACTIONS)}, is '{first['action']}' "
            f"of '{first['image_id']}'; mend it, or move it away"
        )
    return {row[0]: list(row) for row in rows.itertuples(index=False) if row[0] in image_ids}


def num_pending(reviewed: dict[str, list[str]], corrections: Corrections | None) -> int:
    """Count the decisions of a review that the corrections in effect don't agree with.

    Args:
        reviewed: What `load_review` returns.
        corrections: Those in effect.
    """
    in_effect: dict[str, tuple[str, str]] = {}
    if corrections is not None:
        in_effect |= dict.fromkeys(corrections.drop, (DROP, ""))
        in_effect |= {name: (RELABEL, label) for name, label in corrections.relabel.items()}
    decided = {
        name: (row[-1], row[2] if row[-1] == RELABEL else "") for name, row in reviewed.items()
    }
    return sum(in_effect.get(name, (KEEP, "")) != one for name, one in decided.items())


def _first(names: list[str]) -> str:
    others = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + others
