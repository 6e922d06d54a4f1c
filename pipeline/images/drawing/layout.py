"""Packs drawn images into the archives of a competition, byte for byte the same every time."""

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.atomic import write_bytes
from pipeline.competition import Competition, CsvLabels, ListFileLabels
from pipeline.images.drawing.oddities import TEST, TRAIN, Key, Oddities

# The header of the files in which macOS keeps icons and dates.
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_MEMBER_DATE = (2021, 1, 1, 0, 0, 0)

Members = dict[str, bytes]


@dataclass
class Drawn:
    """Everything that goes into the archives."""

    train_names: list[str]
    test_names: list[str]
    train_targets: list[int]
    odd: Oddities
    ghost_name: str = ""
    files: dict[Key, bytes] = field(default_factory=dict)


def write_archives(competition: Competition, drawn: Drawn, archives_dir: Path) -> None:
    """Write every archive of the competition, each whole or not at all."""
    contents: dict[str, Members] = {
        archive.name: {} for archive in competition.archives if archive.is_zip
    }
    first, *others = contents
    contents[first] |= _train_members(competition, drawn)
    folder = competition.test.folders[0]
    contents[next(iter(others), first)] |= {
        f"{folder}/{name}": drawn.files[TEST, index] for index, name in enumerate(drawn.test_names)
    }
    plain = {archive.name: b"" for archive in competition.archives if not archive.is_zip}
    labels = competition.train.labels
    if isinstance(labels, ListFileLabels | CsvLabels):
        table = _label_table(competition, labels, drawn).encode("utf-8")
        (plain if labels.file in plain else contents[first])[labels.file] = table
    for name, members in contents.items():
        write_bytes(archives_dir / name, _zipped(members))
    for name, content in plain.items():
        write_bytes(archives_dir / name, content)


def _train_members(competition: Competition, drawn: Drawn) -> Members:
    folder = competition.train.folders[0]
    members: Members = {}
    for index, (name, target) in enumerate(
        zip(drawn.train_names, drawn.train_targets, strict=True)
    ):
        has_class_folder = competition.train.labels.source == "folder"
        parent = f"{folder}/{competition.classes[target]}" if has_class_folder else folder
        members[f"{parent}/{name}"] = drawn.files[TRAIN, index]
    if drawn.odd.has_junk:
        first = next(iter(members), f"{folder}/x.jpg")
        parent, _, name = first.rpartition("/")
        members[f"__MACOSX/{parent}/._{name}"] = _APPLE_DOUBLE
        members[f"__MACOSX/._{folder}"] = _APPLE_DOUBLE
    return members


def _label_table(competition: Competition, labels: ListFileLabels | CsvLabels, drawn: Drawn) -> str:
    def value(target: int) -> str:
        return str(target) if labels.values == "index" else competition.classes[target]

    rows = [
        (name, value(target))
        for index, (name, target) in enumerate(
            zip(drawn.train_names, drawn.train_targets, strict=True)
        )
        if index != drawn.odd.unlisted
    ]
    if drawn.odd.has_ghost:
        rows.insert(len(rows) // 2, (drawn.ghost_name, value(0)))
    if isinstance(labels, ListFileLabels):
        folder = competition.train.folders[0]
        lines = [f"{folder}/{name}{labels.separator}{label}" for name, label in rows]
    else:
        lines = [f"{labels.id_column},{labels.label_column}"]
        lines += [f"{name.removesuffix(labels.extension)},{label}" for name, label in rows]
    return "".join(f"{line}\n" for line in lines)


def _zipped(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            # Fixed date, system and rights: the same bytes on every machine and day.
            info = zipfile.ZipInfo(name, _MEMBER_DATE)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()
