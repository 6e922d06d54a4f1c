"""Pack drawn images and their lists into archives, byte for byte the same every time."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.config.archive_table import Archive, stem_of
from pipeline.config.class_names import row_ids
from pipeline.config.competition import Competition
from pipeline.config.images_table import ImageList
from pipeline.config.labels_table import (
    CocoLabels,
    CsvLabels,
    ListFileLabels,
    OneHotLabels,
    label_files,
)
from pipeline.data.archives.tars_and_7z import require_seven_zip
from pipeline.data.drawing.oddities import TEST, TRAIN, Key, Oddities, batch_members
from pipeline.store.atomic import write_bytes
from pipeline.submission.writer import submission_ids

Members = dict[str, bytes]

_MEMBER_DATE = (2021, 1, 1, 0, 0, 0)


@dataclass
class Drawn:
    """A drawn competition: names, classes and files of the images, and what is odd about them."""

    train_names: list[str]
    test_names: list[str]
    train_targets: list[int]
    test_targets: list[int]
    odd: Oddities
    ghost_name: str = ""
    train_answers: list[str] = field(default_factory=list)  # of each image, where it has one
    test_answers: list[str] = field(default_factory=list)
    files: dict[Key, bytes] = field(default_factory=dict)


NUM_NUMBERS = 5  # that are drawn where the target is a number


def kinds_of(competition: Competition) -> tuple[str, ...]:
    """Name what is drawn: the classes, or numbers of the target's range."""
    if not competition.is_number:
        return competition.classes
    low, high = competition.range or (0.0, 1.0)
    step = (high - low) / (NUM_NUMBERS - 1)
    return tuple(f"{low + step * place:g}" for place in range(NUM_NUMBERS))


def draw_listings(competition: Competition, drawn: Drawn) -> dict[str, str]:
    """Write labels, test images and sample submission, as far as named, by file name."""
    listings = {}
    labels = competition.train.labels
    files, rows = label_files(labels), _listed(competition, drawn)
    for number, file in enumerate(files):
        part = rows[number :: len(files)]
        if isinstance(labels, CocoLabels):
            listings[file] = _coco(competition, labels, part)
        if isinstance(labels, ListFileLabels | CsvLabels | OneHotLabels):
            listings[file] = _labels(competition, labels, part, _answers_by_name(drawn))
    if competition.test.csv is not None:
        listings[competition.test.csv.file] = _test_images(competition, competition.test.csv, drawn)
    if competition.submission.sample is not None:
        listings[competition.submission.sample] = _sample(competition, drawn)
    return listings


def _are_answers_listed(competition: Competition) -> bool:
    return competition.answers is not None and competition.answers.labelled == "answers"


def _listed(competition: Competition, drawn: Drawn) -> list[tuple[str, int]]:
    """Pair the names of the listed training images, or answers, with their classes."""
    names = drawn.train_answers if _are_answers_listed(competition) else drawn.train_names
    pairs = list(dict.fromkeys(zip(names, drawn.train_targets, strict=True)))
    rows = [pair for index, pair in enumerate(pairs) if index != drawn.odd.unlisted]
    if drawn.odd.has_ghost:
        rows.insert(len(rows) // 2, (drawn.ghost_name, 0))
    return rows


def labels_of(competition: Competition, target: int) -> list[str]:
    """Name what an image shows: the class that is drawn, with the one before it for every other.

    That is where an image may have several labels; one class alone elsewhere.
    """
    first = target - target % 2 if competition.has_several else target
    return list(kinds_of(competition)[first : target + 1])


def _labels(
    competition: Competition,
    labels: ListFileLabels | CsvLabels | OneHotLabels,
    rows: Sequence[tuple[str, int]],
    answer_of: Mapping[str, str],
) -> str:
    if isinstance(labels, OneHotLabels):
        header = [labels.id_column, *competition.classes]
        named = [labels_of(competition, target) for _, target in rows]
        marks = [["1" if name in names else "0" for name in competition.classes] for names in named]
        ids = [name.removesuffix(labels.extension) for name, _ in rows]
        lines = [[name, *mark] for name, mark in zip(ids, marks, strict=True)]
        table = _with_subjects(competition, [header, *lines])
        table = _with_answers(competition, table, [answer_of.get(name, "") for name, _ in rows])
        return _table(table, labels.separator)
    is_name = labels.values == "name"
    values = [
        " ".join(labels_of(competition, target)) if is_name else str(target) for _, target in rows
    ]
    if isinstance(labels, ListFileLabels):
        folder = competition.train.folders[0]
        pairs = [
            {"image": f"{folder}/{name}", "label": value, "other": "0"}
            for (name, _), value in zip(rows, values, strict=True)
        ]
        return _table(([pair[c] for c in labels.columns] for pair in pairs), labels.separator)
    ids = [name.removesuffix(labels.extension) for name, _ in rows]
    lines = [list(pair) for pair in zip(ids, values, strict=True)]
    table = _with_subjects(competition, [[labels.id_column, labels.label_column], *lines])
    table = _with_answers(competition, table, [answer_of.get(name, "") for name, _ in rows])
    return _table(table, labels.separator)


def _with_subjects(competition: Competition, table: list[list[str]]) -> list[list[str]]:
    """Add whom an image is of, two of each, where the list of labels says so of real ones."""
    groups = competition.train.groups
    if groups is None or groups.column is None or groups.file is not None:
        return table
    if competition.answers is not None and groups.column in competition.answers.columns:
        return table
    header, *lines = table
    subjects = [[*line, f"subject {number // 2}"] for number, line in enumerate(lines)]
    return [[*header, groups.column], *subjects]


def _answers_by_name(drawn: Drawn) -> dict[str, str]:
    names = [*drawn.train_names, *drawn.test_names]
    return dict(zip(names, [*drawn.train_answers, *drawn.test_answers], strict=False))


def _with_answers(
    competition: Competition, table: list[list[str]], answers: Sequence[str]
) -> list[list[str]]:
    """Add the columns that make the answers, where lists say so of real ones."""
    if competition.answers is None or not competition.answers.columns:
        return table
    header, *lines = table
    parts = [answer.split("_") for answer in answers]
    joined = [[*line, *part] for line, part in zip(lines, parts, strict=True)]
    return [[*header, *competition.answers.columns], *joined]


def _coco(competition: Competition, labels: CocoLabels, rows: Sequence[tuple[str, int]]) -> str:
    """Write a JSON file as COCO's: the images' ids count from 1, categories are the classes."""
    is_id = labels.label == "id"
    ids = [int(name) if is_id else index for index, name in enumerate(competition.classes)]
    groups = competition.train.groups
    images: list[dict[str, object]] = [
        {"id": number, "file_name": name} for number, (name, _) in enumerate(rows, 1)
    ]
    if groups is not None and groups.column is not None:
        images = [image | {groups.column: place // 2} for place, image in enumerate(images)]
    content = {
        "images": images,
        "annotations": [
            {"id": number, "image_id": number, "category_id": ids[target]}
            for number, (_, target) in enumerate(rows, 1)
        ],
        "categories": [
            {"id": one, "name": name} for one, name in zip(ids, competition.classes, strict=True)
        ],
    }
    return json.dumps(content)


def _test_images(competition: Competition, listing: ImageList, drawn: Drawn) -> str:
    if listing.file.endswith(".json"):
        image = listing.image_column or "file_name"
        key = listing.id_column or "id"
        listed = [{key: listed_id(name), image: name} for name in drawn.test_names]
        return json.dumps({"images": listed})
    names = [[name.removesuffix(listing.extension)] for name in drawn.test_names]
    if listing.id_column is None:
        return _table(names, listing.separator)
    table = _with_answers(competition, [[listing.id_column], *names], drawn.test_answers)
    return _table(table, listing.separator)


def listed_id(name: str) -> str:
    """Form the id by which a list of test images knows one: its name without the suffix."""
    return PurePosixPath(name).stem


def asked_of(drawn: Drawn) -> list[str]:
    """List what must be answered: the test images, or what several of them are of."""
    return list(dict.fromkeys(drawn.test_answers or drawn.test_names))


def _sample(competition: Competition, drawn: Drawn) -> str:
    """Give every test image the same answer, in the order in which the images were drawn."""
    submission = competition.submission
    num_classes = competition.num_classes
    answer = {
        "index": ["0"],
        "name": [competition.classes[0]],
        "labels": [competition.classes[0]],
        "names": [" ".join(competition.classes[: submission.top_k])],
        "probability": ["0.5"],
        "number": ["0.5"],
        "label_rows": ["0.5"],
        "probabilities": [str(1 / num_classes)] * num_classes,
    }[submission.label]
    ids = (
        list(map(listed_id, drawn.test_names))
        if submission.id == "listed"
        else submission_ids(submission, asked_of(drawn))
    )
    if submission.has_label_rows:
        classes = competition.classes
        ids = [row for one in ids for row in row_ids(submission.row_id, one, classes)]
    rows = [[judge_id, *answer] for judge_id in ids]
    header = [competition.columns] if submission.has_header else []
    return _table([*header, *rows], submission.separator)


def _table(rows: Iterable[Sequence[str]], separator: str = ",") -> str:
    return "".join(f"{separator.join(row)}\n" for row in rows)


def packed(archive: Archive, members: Members) -> bytes:
    """Pack files by name as the archive's own name says.

    Raises:
        DataError: It is a 7z, and py7zr isn't installed.
    """
    if archive.container == "zip":
        return _zipped(members)
    if archive.container == "7z":
        require_seven_zip(archive.name)
        return _sevenzipped(members)
    content = _tarred(members)
    name = archive.name.lower()
    if name.endswith(("bz2", "xz")):
        return bz2.compress(content) if name.endswith("bz2") else lzma.compress(content)
    return content if name.endswith(".tar") else _gzipped(content)


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


def _sevenzipped(members: Members) -> bytes:
    from py7zr import SevenZipFile
    from py7zr.helpers import ArchiveTimestamp

    buffer = io.BytesIO()
    with SevenZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(content, name)
        for info in archive.header.files_info.files:
            date = ArchiveTimestamp.from_datetime(0)
            info.update(creationtime=date, lastwritetime=date, lastaccesstime=date)
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


# The header of the files in which macOS keeps icons and dates.
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def write_archives(competition: Competition, drawn: Drawn, archives_dir: Path) -> None:
    """Write every archive of the competition, each whole or not at all."""
    containers = [archive for archive in competition.archives if archive.container]
    contents: dict[str, Members] = {archive.name: {} for archive in containers}
    plain = {archive.name: b"" for archive in competition.archives if not archive.container}
    _fill(competition, drawn, contents, plain)
    for archive in competition.archives:
        if archive.records is not None and archive.records.pictures is not None:
            plain[archive.name] = _documents(competition, archive, drawn)
        elif archive.records is not None:
            contents[archive.name] = _recorded(competition, archive, drawn)
    for archive in containers:
        write_bytes(archives_dir / archive.name, packed(archive, contents[archive.name]))
    for name, content in plain.items():
        write_bytes(archives_dir / name, content)


def _fill(
    competition: Competition, drawn: Drawn, contents: dict[str, Members], plain: dict[str, bytes]
) -> None:
    """Put the images of both splits and the lists where they belong."""
    listings = draw_listings(competition, drawn)
    plain |= {name: text.encode("utf-8") for name, text in listings.items() if name in plain}
    if not contents:
        return
    first, *others = contents
    if batched := find_batched(competition):
        contents[batched.name] = batch_members(
            competition.classes, drawn.files, drawn.train_targets, drawn.test_targets
        )
    else:
        contents[first] |= _train_members(competition, drawn)
        contents[next(iter(others), first)] |= _test_members(competition, drawn)
    for name in [name for name in listings if name not in plain]:
        own = next((one for one in contents if stem_of(one) == name), first)
        contents[own][name] = listings[name].encode("utf-8")


def _recorded(competition: Competition, archive: Archive, drawn: Drawn) -> Members:
    """Write the images of a split as objects in JSON, with their labels if these are told there."""
    assert archive.records is not None
    name = stem_of(archive.name)
    split = TRAIN if name.partition(".")[0] in competition.train.folders else TEST
    label = getattr(competition.train.labels, "label_column", "")
    records = []
    for index, file in enumerate((drawn.train_names, drawn.test_names)[split != TRAIN]):
        content = io.BytesIO(drawn.files[split, index])
        channels = np.load(content, allow_pickle=False).astype(np.float64)
        side = min(channels.shape[1:])
        record: dict[str, object] = {archive.records.id: PurePosixPath(file).stem}
        for key, channel in zip(archive.records.arrays, channels, strict=False):
            record[key] = channel[:side, :side].ravel().tolist()
        if split == TRAIN:
            record[label] = drawn.train_targets[index]
        records.append(record)
    return {f"data/{name}": json.dumps(records).encode("utf-8")}


def _documents(competition: Competition, archive: Archive, drawn: Drawn) -> bytes:
    """Write a split as documents in BSON, one per answer, with its label if that is told there."""
    records = archive.records
    assert records is not None
    split = TRAIN if archive.name.partition(".")[0] in competition.train.folders else TEST
    label = getattr(competition.train.labels, "label_column", "")
    documents: dict[str, dict[str, object]] = {}
    pictures: dict[str, list[object]] = {}
    owners = (drawn.train_answers, drawn.test_answers)[split != TRAIN]
    for index, owner in enumerate(owners):
        told = (
            {label: int(competition.classes[drawn.train_targets[index]])} if split == TRAIN else {}
        )
        documents.setdefault(owner, {records.id: int(owner), **told})
        pictures.setdefault(owner, []).append({"picture": drawn.files[split, index]})
    return b"".join(
        bson_of({**document, str(records.pictures): pictures[owner]})
        for owner, document in documents.items()
    )


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
        parent = _class_folder(competition, target, index)
        members[f"{parent}/{name}"] = drawn.files[TRAIN, index]
    if drawn.odd.has_junk:
        first = next(iter(members), f"{folder}/x.jpg")
        parent, _, name = first.rpartition("/")
        members[f"__MACOSX/{parent}/._{name}"] = _APPLE_DOUBLE
        members[f"__MACOSX/._{folder}"] = _APPLE_DOUBLE
    return members


def _class_folder(competition: Competition, target: int, index: int) -> str:
    """Name the folder of a training image: its class's, by any of the names that files write."""
    folders, labels = competition.train.folders, competition.train.labels
    if labels.source != "folder":
        return folders[0]
    label = competition.classes[target]
    written = [name for name, meant in labels.names.items() if meant == label] or [label]
    chosen = written[index // competition.num_classes % len(written)]
    return chosen if chosen in folders else f"{folders[0]}/{chosen}"


def _test_members(competition: Competition, drawn: Drawn) -> Members:
    folder = competition.test.folders[0]
    return {
        f"{folder}/{name}": drawn.files[TEST, index] for index, name in enumerate(drawn.test_names)
    }


def bson_of(values: Mapping[str, object]) -> bytes:
    """Write a document in BSON: whole numbers, texts, bytes, lists and documents."""
    parts = [_element(name.encode("utf-8") + b"\0", value) for name, value in values.items()]
    content = b"".join(parts) + b"\0"
    return struct.pack("<i", len(content) + 4) + content


def _element(name: bytes, value: object) -> bytes:
    if isinstance(value, int):
        kind, content = b"\x12", struct.pack("<q", value)
    elif isinstance(value, bytes):
        kind, content = b"\x05", struct.pack("<iB", len(value), 0) + value
    elif isinstance(value, str):
        kind, text = b"\x02", value.encode("utf-8") + b"\0"
        content = struct.pack("<i", len(text)) + text
    elif isinstance(value, Mapping):
        kind, content = b"\x03", bson_of(value)
    else:
        assert isinstance(value, list), value
        kind, content = b"\x04", bson_of({str(place): one for place, one in enumerate(value)})
    return kind + name + content
