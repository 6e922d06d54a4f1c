"""Where the entries of an archive may be written, judged by their names before any is."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.archives.entries import Entry
from pipeline.archives.errors import ArchiveError

LITTER = {".ds_store", "thumbs.db"}


def files_to_write(where: str, entries: Sequence[Entry]) -> dict[Entry, PurePosixPath]:
    """Name the entries worth writing by their paths below the folder, after checking all of them.

    Raises:
        ArchiveError: A name leads out of the folder, an entry is no plain file or is there
            twice, or none is a file.
    """
    names: dict[Entry, PurePosixPath] = {}
    for entry in entries:
        name = _safe_name(where, entry.name)
        if not entry.is_dir and name.parts and not _is_litter(name):
            if entry.flaw:
                raise ArchiveError(f"{where}: entry '{name}' {entry.flaw}")
            names[entry] = name
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        raise ArchiveError(f"{where}: entries must differ in name, '{repeated[0]}' is there twice")
    if not names:
        raise ArchiveError(f"{where}: must hold files, its {len(entries)} entries are none")
    return names


def _safe_name(where: str, name: str) -> PurePosixPath:
    """Read an entry's name as a path below the folder, whatever its separators.

    Harmless oddities (`./`, doubled slashes) vanish; a name that leads out is refused, because
    whoever made the archive meant harm or packed the wrong thing.
    """
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    has_drive = any(re.match(r"[A-Za-z]:", part) for part in parts)
    has_controls = re.search(r"[\x00-\x1f\x7f]", name) is not None
    if name.startswith("/") or has_drive or has_controls or ".." in parts:
        raise ArchiveError(
            f"{where}: entries must stay below the archive's folder, {name!r} doesn't"
        )
    return PurePosixPath(*parts)


def _is_litter(name: PurePosixPath) -> bool:
    is_resource_fork = "__MACOSX" in name.parts or name.name.startswith("._")
    return is_resource_fork or name.name.lower() in LITTER
