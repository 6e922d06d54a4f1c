"""Packs drawn images into the archives of a competition, byte for byte the same every time."""

from pathlib import Path

from pipeline.competition import Competition
from pipeline.files.atomic import write_bytes
from pipeline.images.drawing.batches import batch_members
from pipeline.images.drawing.drawn import Drawn
from pipeline.images.drawing.listings import draw_listings
from pipeline.images.drawing.oddities import TEST, TRAIN
from pipeline.images.drawing.packing import Members, packed
from pipeline.schema.archive import Archive

# The header of the files in which macOS keeps icons and dates.
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def write_archives(competition: Competition, drawn: Drawn, archives_dir: Path) -> None:
    """Write every archive of the competition, each whole or not at all."""
    containers = [archive for archive in competition.archives if archive.container]
    contents: dict[str, Members] = {archive.name: {} for archive in containers}
    first, *others = contents
    plain = {archive.name: b"" for archive in competition.archives if not archive.container}
    if batched := find_batched(competition):
        contents[batched.name] = batch_members(
            competition.classes, drawn.files, drawn.train_targets, drawn.test_targets
        )
    else:
        contents[first] |= _train_members(competition, drawn)
        contents[next(iter(others), first)] |= _test_members(competition, drawn)
    for name, listing in draw_listings(competition, drawn).items():
        (plain if name in plain else contents[first])[name] = listing.encode("utf-8")
    for archive in containers:
        write_bytes(archives_dir / archive.name, packed(archive, contents[archive.name]))
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
