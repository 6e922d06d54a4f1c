"""Name the files that may hold what is needed and can't be read, with the way out."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from pipeline.data.init.words import splits_named
from pipeline.store.folders import is_litter

MOST_SHOWN = 3
# What can't be read, by how names end; what else a way out names is what to make of it.
KINDS: dict[str, tuple[re.Pattern[str], str]] = {
    "volumes of a split archive": (
        re.compile(r"\.(\d{3}|z\d\d|r\d\d|part\d+\.rar)$", re.IGNORECASE),
        "join them (zip -s 0, or cat for .001, .002, ...) and unpack the whole",
    ),
    "archives of a kind that isn't read": (
        re.compile(
            r"\.(rar|zst|tzst|lz4|lzma|ace|arj|iso|cab|z|gz|bz2|xz|zipx|deb|rpm)$", re.IGNORECASE
        ),
        "unpack them beside the other files, or pack them as zip, 7z or tar.gz",
    ),
    "spreadsheets": (
        re.compile(r"\.(xlsx|xls|xlsm|ods|numbers|parquet|feather|sqlite|db)$", re.IGNORECASE),
        "save them as CSV",
    ),
    "lists in another form": (
        re.compile(r"\.(json|jsonl|ndjson|xml|ya?ml|arff)$", re.IGNORECASE),
        "if they hold labels, write these as CSV: image,label",
    ),
    "arrays and records": (
        re.compile(
            r"\.(npy|npz|h5|hdf5|mat|tfrecords?|rec|idx|lmdb|mdb|pkl|pickle|bin)$", re.IGNORECASE
        ),
        "write their images as files, in a folder per class or with a list of labels",
    ),
    "images of a kind that isn't read": (
        re.compile(
            r"\.(dcm|dicom|nii|heic|heif|avif|jp2|j2k|jxl|psd|svg|eps|pdf|cr2|nef|arw|dng|svs|exr|hdr)$",
            re.IGNORECASE,
        ),
        "convert them to PNG or JPEG",
    ),
}
ARCHIVE_KINDS = list(KINDS)[:2]


def unread_kind(file: PurePosixPath) -> str | None:
    """Name the kind of a file that can't be read; None for what can, and for litter."""
    if is_litter(file):
        return None
    return next((kind for kind, (name, _) in KINDS.items() if name.search(file.name)), None)


def is_unread_archive(file: PurePosixPath) -> bool:
    """Whether a file is an archive that can't be looked into."""
    return unread_kind(file) in ARCHIVE_KINDS


def unread_folders(files: Iterable[PurePosixPath], split: str) -> list[str]:
    """Name the folders that archives called after a split are likely to be unpacked into."""
    stems = {file.name.partition(".")[0] for file in files if is_unread_archive(file)}
    return sorted(stem for stem in stems if split in splits_named(stem))


def describe_unread(files: Iterable[PurePosixPath]) -> list[str]:
    """Say in one line for each kind what can't be read, and what to do about it."""
    found: dict[str, list[str]] = {}
    for file in files:
        kind = unread_kind(file)
        if kind is not None:
            found.setdefault(kind, []).append(str(file))
    lines = []
    for kind, names in found.items():
        shown = ", ".join(sorted(names)[:MOST_SHOWN])
        more = f" and {len(names) - MOST_SHOWN:,} more" * (len(names) > MOST_SHOWN)
        lines.append(f"{shown}{more}: {kind}, not looked into; {KINDS[kind][1]}")
    return lines
