"""Packs drawn images into the archives of a competition, byte for byte the same every time."""

import gzip
import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.atomic import write_bytes
from pipeline.competition import Archive, Competition, CsvLabels, ListFileLabels
from pipeline.images.drawing.batches import batch_members
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
    test_targets: list[int]
    odd: Oddities
    ghost_name: str = ""
    files: dict[Key, bytes] = field(default_factory=dict)


def write_archives(competition: Competition, drawn: Drawn, archives_dir: Path) -> None:
    """Write every archive of the competition, each whole or not at all."""
    packed = [archive for archive in competition.archives if archive.container]
    contents: dict[str, Members] = {archive.name: {} for archive in packed}
    first, *others = contents
    labels = competition.train.labels
    plain = {archive.name: b"" for archive in competition.archives if not archive.container}
    if batched := find_batched(competition):
        contents[batched.name] = batch_members(
            competition.classes, drawn.files, drawn.train_targets, drawn.test_targets
        )
    else:
        contents[first] |= _train_members(competition, drawn)
        contents[next(iter(others), first)] |= _test_members(competition, drawn)
    if isinstance(labels, ListFileLabels | CsvLabels):
        table = _label_table(competition, labels, drawn).encode("utf-8")
        (plain if labels.file in plain else contents[first])[labels.file] = table
    for archive in packed:
        write_bytes(archives_dir / archive.name, _packed(archive, contents[archive.name]))
    for name, content in plain.items():
        write_bytes(archives_dir / name, content)


def find_batched(competition: Competition) -> Archive | None:
    """Return the archive that holds all images as CIFAR's batches, if there is one."""
    archives = competition.archives
    return next((archive for archive in archives if archive.format == "cifar-batches"), None)


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


def _test_members(competition: Competition, drawn: Drawn) -> Members:
    folder = competition.test.folders[0]
    return {
        f"{folder}/{name}": drawn.files[TEST, index] for index, name in enumerate(drawn.test_names)
    }


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


def _packed(archive: Archive, members: Members) -> bytes:
    if archive.container == "zip":
        return _zipped(members)
    content = _tarred(members)
    return content if archive.name.lower().endswith(".tar") else _gzipped(content)


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


def _tarred(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)  # of no date and nobody's
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _gzipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()
