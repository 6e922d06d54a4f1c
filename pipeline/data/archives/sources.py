"""Find the sources of archives: URLs tried in order, or files of a folder, found by name.

In a folder, an archive may lie unpacked, too: a folder of its name is as good and is read in
place. So is the folder of a competition without archives. Or all archives lie in one zip, as
Kaggle packs what is downloaded at once.
"""

import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipeline import console
from pipeline.config.archive_table import Archive, stem_of
from pipeline.config.competition import Competition
from pipeline.data.archives.tars_and_7z import can_read_7z
from pipeline.errors import ConfigError, DataError, DownloadError
from pipeline.store.folders import list_files

NUM_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """A URL, a folder, or a file as it was: another size or time means other content.

    Attributes:
        place: Where it is.
        num_bytes: The file's size.
        mtime_ns: When the file was last changed.
        member: What of the file is meant, if it is a zip that holds the archive.
    """

    place: str
    num_bytes: int | None = None
    mtime_ns: int | None = None
    member: str | None = None

    @property
    def is_url(self) -> bool:
        """Whether the place is fetched rather than copied."""
        return is_url(self.place)

    @property
    def is_folder(self) -> bool:
        """Whether the place is a folder that is read where it is."""
        path = Path(self.place)
        return self.num_bytes is None and path.is_absolute() and path.is_dir()

    @property
    def record(self) -> dict[str, Any]:
        """Its record in a stamp."""
        return asdict(self)


def is_url(place: str) -> bool:
    """Whether a `--from` is a base URL rather than a folder."""
    return place.lower().startswith(("http://", "https://"))


def parts(competition: Competition) -> tuple[Archive, ...]:
    """List the archives; one that stands for all images where the competition has none."""
    return competition.archives or (Archive(name=competition.name),)


def find_sources(competition: Competition, place: str | None) -> dict[str, tuple[Source, ...]]:
    """List for every archive, by name, the sources to try in order.

    Args:
        competition: Its archives, with their aliases and urls.
        place: A folder or base URL that holds them all; None for each archive's own urls.

    Returns:
        Sources by the archive's name; none where an archive has no urls, or is optional and
        not in the folder.

    Raises:
        ConfigError: The base URL holds a password.
        DataError: The folder is none, or archives are missing in it.
    """
    if place is None:
        return {archive.name: tuple(map(Source, archive.urls)) for archive in parts(competition)}
    if not is_url(place):
        return _places_in_folder(competition, Path(place))
    if "@" in urlsplit(place).netloc:
        raise ConfigError("--from: must not hold a password; put it into ~/.netrc")
    if not competition.archives:
        raise ConfigError(
            f"--from {place}: must be a folder, as {competition.name} has no archives"
        )
    base = place.rstrip("/")
    return {
        archive.name: tuple(Source(f"{base}/{name}") for name in _names(archive))
        for archive in competition.archives
    }


def _names(archive: Archive) -> tuple[str, ...]:
    return (archive.name, *archive.aliases)


def _places_in_folder(competition: Competition, folder: Path) -> dict[str, tuple[Source, ...]]:
    needed = [archive for archive in parts(competition) if not archive.optional]
    wanted = ", ".join(_shown_names(archive) for archive in needed)
    wanted = wanted if competition.archives else "the images"
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "is missing"
        raise DataError(
            f"--from {folder}: must be an http(s) URL or a folder that holds {wanted}, {found}"
        )
    places = {archive.name: _find(folder, competition, archive) for archive in parts(competition)}
    missing = [archive for archive in needed if places[archive.name] is None]
    if missing:
        names = ", ".join(_shown_names(archive) for archive in missing)
        names = names if competition.archives else _shown_folders(competition)
        raise DataError(
            f"{competition.name}: {names} must be in {folder}, which {_shown_content(folder)}; "
            f"put {'it' if len(missing) == 1 and competition.archives else 'them'} there and run "
            f"'pipeline download {competition.name} --from {folder}'"
        )
    return {name: (place,) if place else () for name, place in places.items()}


def _find(folder: Path, competition: Competition, archive: Archive) -> Source | None:
    """Find an archive's file, the folder that it was unpacked into, or a zip that holds it."""
    place = _find_file(folder, archive) if competition.archives else None
    if place is None or (archive.container == "7z" and not can_read_7z()):
        place = _find_unpacked(folder, competition, archive) or place
    if place is not None:
        return _describe(place)
    return _find_in_zip(folder, archive) if competition.archives else None


def _find_unpacked(folder: Path, competition: Competition, archive: Archive) -> Path | None:
    if competition.archives and (archive.container is None or archive.format != "files"):
        return None
    for name in _names(archive):
        unpacked = folder / stem_of(name)
        if unpacked.is_dir() and any(unpacked.iterdir()):
            return unpacked
    packed = [one for one in parts(competition) if one.container or not competition.archives]
    # What was all in one archive may lie in the folder itself.
    return folder if packed == [archive] and _holds_split(folder, competition) else None


def _holds_split(folder: Path, competition: Competition) -> bool:
    """Whether a folder of one of the splits' names holds files, at any depth."""
    names = {*competition.train.folders, *competition.test.folders}
    # Without archives the folder itself will be called like the competition.
    above = PurePosixPath("" if competition.archives else competition.name)
    files = (above / file for file in list_files(folder))
    return any(not names.isdisjoint(file.parent.parts) for file in files)


def _find_file(folder: Path, archive: Archive) -> Path | None:
    """Look in the folder itself; only where nothing is there, in the folders below it."""
    for name in _names(archive):
        if (folder / name).is_file():
            return folder / name
    for name in _names(archive):
        below = sorted(path for path in folder.rglob(name) if path.is_file())
        if len(below) > 1:
            shown = ", ".join(path.relative_to(folder).as_posix() for path in below)
            raise DataError(
                f"{folder}: must hold one file '{name}', holds {len(below)} below it: {shown}; "
                "pass --from with the folder of the right one"
            )
        if below:
            return below[0]
    return None


def _find_in_zip(folder: Path, archive: Archive) -> Source | None:
    for path in sorted(folder.glob("*.zip")):
        with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as packed:
            for member in packed.namelist():
                if PurePosixPath(member).name in _names(archive):
                    return _describe(path, member)
    return None


def _describe(place: Path, member: str | None = None) -> Source:
    if place.is_dir():
        return Source(str(place.resolve()))
    status = place.stat()
    return Source(str(place.resolve()), status.st_size, status.st_mtime_ns, member)


def _shown_names(archive: Archive) -> str:
    return archive.name + (f" (or {' or '.join(archive.aliases)})" if archive.aliases else "")


def _shown_folders(competition: Competition) -> str:
    names = dict.fromkeys([*competition.train.folders, *competition.test.folders])
    return f"the folders {' and '.join(names)}"


def _shown_content(folder: Path) -> str:
    entries = sorted(folder.iterdir())
    if not entries:
        return "is empty"
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    more = ", ..." if len(names) > NUM_NAMES_SHOWN else ""
    count = f"{len(names):,} {'entry' if len(names) == 1 else 'entries'}"
    return f"holds {', '.join(names[:NUM_NAMES_SHOWN])}{more} ({count})"


# What is tried again where a source is interrupted.


@dataclass(frozen=True)
class RetryPolicy:
    """Attempts, waits and timeouts; waits double up to the longest, unless the server names one."""

    attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0

    def wait_seconds(self, attempt: int, retry_after_seconds: float | None) -> float:
        """Time to wait after an attempt, counted from 1."""
        backoff = self.first_wait_seconds * 2 ** (attempt - 1)
        wait = backoff if retry_after_seconds is None else retry_after_seconds
        return min(max(wait, 0.0), self.longest_wait_seconds)


DEFAULT_RETRY_POLICY = RetryPolicy()


class InterruptionError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


def with_retries(receive: Callable[[], None], url: str, policy: RetryPolicy) -> None:
    """Call a function until it isn't interrupted any more, waiting in between.

    Raises:
        DownloadError: The last attempt was interrupted, too.
    """
    for attempt in range(1, policy.attempts + 1):
        try:
            receive()
            break
        except InterruptionError as interruption:
            if attempt == policy.attempts:
                raise DownloadError(
                    f"{url}: must be fetched within {attempt} attempts, the last: {interruption}"
                ) from interruption
            wait_seconds = policy.wait_seconds(attempt, interruption.retry_after_seconds)
            console.say(
                f"{url}: {interruption}; attempt {attempt + 1} of {policy.attempts} "
                f"in {wait_seconds:.0f} s"
            )
            time.sleep(wait_seconds)
