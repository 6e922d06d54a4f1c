"""Unpack an archive by its kind, whoever made it: never outside its folder, never endlessly."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import is_zipfile

from pipeline.config.archive_table import Container, container_of, stem_of
from pipeline.console import progress
from pipeline.data.archives.entries import (
    ZIP_FAULTS,
    Entry,
    OutFile,
    Sink,
    files_to_write,
    opened_zip,
)
from pipeline.data.archives.tars_and_7z import (
    SEVEN_ZIP_FAULTS,
    TAR_FAULTS,
    looks_like_7z,
    looks_like_tar,
    opened_7z,
    opened_tar,
)
from pipeline.errors import ArchiveError
from pipeline.store.disk_errors import check_room, explained_os_errors

# What reading spoiled archives raises.
FAULTS = (*ZIP_FAULTS, *TAR_FAULTS, *SEVEN_ZIP_FAULTS)
OPENERS = {"zip": opened_zip, "tar": opened_tar, "7z": opened_7z}
LOOKS = {"zip": is_zipfile, "tar": looks_like_tar, "7z": looks_like_7z}
MAX_DEPTH = 3  # of archives within archives


@contextmanager
def explained_damage(rule: str) -> Iterator[None]:
    """Explain damage as breaking `rule`, which says what of which archive must be whole.

    Raises:
        ArchiveError: Instead of one of FAULTS, or of the system's refusal to read at a place
            before the file's begin.
    """
    try:
        yield
    except FAULTS as error:
        reason = str(error) or "its data end too early"
        raise ArchiveError(f"{rule}, is damaged ({reason})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveError(f"{rule}, is damaged (it points outside itself)") from error


@contextmanager
def explained_faults(where: str, name: PurePosixPath) -> Iterator[None]:
    """Explain damage of an entry, and names that can't be written.

    Raises:
        ArchiveError: Instead of one of FAULTS, or of an OSError of those kinds.
    """
    try:
        with explained_damage(f"{where}: entry '{name}' must be whole"):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(
            f"{where}: entries must differ in name, '{name}' is there twice "
            "(to this disk, 'a' and 'A' may be one name)"
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArchiveError(f"{where}: entry '{name}' must have a shorter name") from error


@dataclass(frozen=True)
class Limits:
    """Limits of what an archive may claim, with all archives within it; beyond, it is a bomb.

    `ratio` is unpacked bytes per packed byte, of each entry and of the whole; small files may
    exceed it, as blank images do.
    """

    num_entries: int = 5_000_000
    total_bytes: int = 50 * 10**9
    ratio: int = 1000
    ratio_from_bytes: int = 10 * 10**6


DEFAULT_LIMITS = Limits()


def looks_like(path: Path, container: Container) -> bool:
    """Whether a file seems to be such an archive; only unpacking it finds every fault."""
    return LOOKS[container](path)


def unpack(archive: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Unpack a zip, tar or 7z into a folder of its own; the files become read-only.

    An archive within it is unpacked, too, into a folder named after it, and goes. Folders without
    files and what macOS and Windows add (`__MACOSX`, `._*`, `Thumbs.db`) are left out. On failure
    the folder holds whatever came before: build it aside and drop it.

    Args:
        archive: The archive; its name says which kind it is.
        folder: Where its entries go; made where missing, and must be empty.
        limits: What is refused for its size.

    Returns:
        The number of files written.

    Raises:
        ArchiveError: The archive is damaged, encrypted, a bomb, or would write elsewhere.
        DataError: The disk hasn't enough room, or what reads a 7z isn't installed.
    """
    unpacking = _Unpacking(limits, archive.stat().st_size)
    return len(unpacking.unpack(archive, folder, str(archive), depth=0))


def peek(
    archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]
) -> list[PurePosixPath]:
    """List what an archive would be unpacked to, and unpack what is wanted of it.

    Args:
        archive: The archive; its name says which kind it is.
        folder: Where that goes; made where missing, and must be empty.
        wanted: Told a path below the folder, says whether to unpack it. Archives within the
            archive always are, to look into them.

    Returns:
        Every file that `unpack` would write, relative to the folder.

    Raises:
        ArchiveError: `unpack` would refuse the archive for what it lists.
        DataError: The disk hasn't enough room, or what reads a 7z isn't installed.
    """
    unpacking = _Unpacking(DEFAULT_LIMITS, archive.stat().st_size, wanted)
    return unpacking.unpack(archive, folder, str(archive), depth=0)


class _Unpacking:
    """One archive with all that are within it, which share the limits."""

    def __init__(
        self,
        limits: Limits,
        packed_bytes: int,
        wanted: Callable[[PurePosixPath], bool] = lambda _: True,
    ) -> None:
        self._limits = limits
        # Entries may share their packed bytes, or hide in archives within, so the whole counts.
        self._densest_bytes = max(limits.ratio * packed_bytes, limits.ratio_from_bytes)
        self._wanted = wanted
        self._num_entries = 0
        self._total_bytes = 0

    def unpack(self, archive: Path, folder: Path, where: str, depth: int) -> list[PurePosixPath]:
        """Unpack `archive`, called `where` in messages, and then the archives within it.

        Lists the files below the folder, those included that aren't wanted.
        """
        with explained_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        names = self._unpack_one(archive, folder, where)
        nested = [name for name in names if container_of(name.name)]
        if nested and depth == MAX_DEPTH:
            raise ArchiveError(
                f"{where}: must hold archives within archives at most {MAX_DEPTH} deep, holds "
                f"'{nested[0]}'"
            )
        files = [name for name in names if name not in nested]
        for name in nested:
            below = name.with_name(stem_of(name.name))
            inner, target = folder / name, folder / below
            inside = f"{where}: '{name}'"
            if target.exists():
                raise ArchiveError(f"{inside} must unpack into '{target.name}', which is there")
            found = self.unpack(inner, target, inside, depth + 1)
            files += [below / file for file in found]
            inner.unlink()
        return files

    def _unpack_one(self, archive: Path, folder: Path, where: str) -> list[PurePosixPath]:
        container = container_of(archive.name)
        assert container is not None, archive
        is_whole = f"{where}: must be a whole {container} archive"
        with ExitStack() as stack:
            with explained_damage(is_whole):
                contents = stack.enter_context(OPENERS[container](archive))
                entries = self._within_limits(where, contents.entries)
            names = files_to_write(where, entries)
            chosen = [
                entry
                for entry, name in names.items()
                if container_of(name.name) or self._wanted(name)
            ]
            check_room(f"{where}: unpacking", sum(entry.num_bytes for entry in chosen), folder)
            with progress(f"unpack {archive.name}", len(chosen), "files") as advance:

                @contextmanager
                def receive(entry: Entry) -> Iterator[Sink]:
                    name = names[entry]
                    with (
                        explained_os_errors(folder / name, entry.num_bytes),
                        explained_faults(where, name),
                        OutFile(folder / name, entry.num_bytes) as file,
                    ):
                        yield file
                    advance(1)

                with explained_damage(is_whole):
                    contents.extract(chosen, receive)
        return list(names.values())

    def _within_limits(self, where: str, listed: Iterable[Entry]) -> list[Entry]:
        """List the entries up to the first that is too much, as listing a tar means unzipping it.

        The declared sizes are believed; `OutFile` holds every entry to its own.
        """
        limits = self._limits
        entries: list[Entry] = []
        for entry in listed:
            entries.append(entry)
            self._num_entries += 1
            self._total_bytes += entry.num_bytes
            if self._num_entries > limits.num_entries:
                raise ArchiveError(
                    f"{where}: must hold at most {limits.num_entries:,} entries, "
                    f"holds {self._num_entries:,} or more"
                )
            if self._total_bytes > limits.total_bytes:
                raise ArchiveError(
                    f"{where}: must unpack to at most {limits.total_bytes:,} bytes, "
                    f"claims {self._total_bytes:,} or more"
                )
            is_dense = entry.num_bytes > limits.ratio * max(entry.packed_bytes, 1)
            if is_dense and entry.num_bytes > limits.ratio_from_bytes:
                raise ArchiveError(
                    f"{where}: entry {entry.name!r} must unpack to at most {limits.ratio:,} "
                    f"times its {entry.packed_bytes:,} bytes, claims {entry.num_bytes:,}: a zip "
                    "bomb"
                )
            if self._total_bytes > self._densest_bytes:
                raise ArchiveError(
                    f"{where}: must unpack to at most {limits.ratio:,} times the bytes of the "
                    f"whole archive, claims {self._total_bytes:,} or more: a bomb"
                )
        return entries
