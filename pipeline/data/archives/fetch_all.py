"""Fetch the archives of a competition that aren't here yet, each from its first good source."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.config.archive_table import Archive
from pipeline.config.competition import Competition
from pipeline.data.archives.fetch_archive import fetch_archive, mismatch
from pipeline.data.archives.sources import Source, is_url, parts
from pipeline.data.archives.tars_and_7z import require_seven_zip
from pipeline.errors import ArchiveError, DataError
from pipeline.machine import is_installed, pip_install
from pipeline.store.atomic import PARTIAL_SUFFIX
from pipeline.store.freshness import Stamp, digest, read_stamp
from pipeline.store.paths import Paths


@dataclass(frozen=True)
class DownloadPlan:
    """The archives to fetch, their sources, and the folders they stand in until all are whole."""

    paths: Paths
    competition: Competition
    source: str | None
    candidates: Mapping[str, tuple[Source, ...]]

    @property
    def is_drawn(self) -> bool:
        """Whether the archives are drawn rather than fetched."""
        return self.competition.synthetic is not None and self.source is None

    @property
    def incoming_dir(self) -> Path:
        """Archives under way; only what is fetched is worth keeping after a failure."""
        if not self.is_drawn and (self.source is None or is_url(self.source)):
            return fetched_dir(self.paths)
        return self.paths.data_dir / f".archives{PARTIAL_SUFFIX}"

    @property
    def images_dir(self) -> Path:
        """Images under way."""
        return self.paths.data_dir / f".images{PARTIAL_SUFFIX}"

    @property
    def truth_csv(self) -> Path:
        """There only where the truth becomes known, by drawing or by unpacking."""
        return self.paths.data_dir / f".truth.csv{PARTIAL_SUFFIX}"

    def accepted_sources(self) -> dict[str, Any]:
        """Give the recorded sources, by archive, that this run would take as well."""
        recorded = read_stamp(self.paths.download_stamp)
        sources = recorded["inputs"].get("sources", {}) if recorded else {}
        return {
            name: sources[name]
            for name, candidates in self.candidates.items()
            if name in sources
            and (self.source is None or sources[name] in [one.record for one in candidates])
        }

    def offers_more(self, accepted: Mapping[str, Any]) -> bool:
        """Whether the folder holds an optional archive that wasn't there before."""
        return any(
            candidates and not candidates[0].is_url and name not in accepted
            for name, candidates in self.candidates.items()
        )

    def stamp(self, sources: Mapping[str, Any]) -> Stamp:
        """Name all that the outputs depend on; the archives' sha256 are the outputs' digests."""
        fields = {"archives", "synthetic"}
        if self.competition.synthetic is not None:
            fields |= {"classes", "train", "test"}  # they shape what is drawn
        if any(archive.format == "cifar-batches" for archive in self.competition.archives):
            fields |= {"classes"}  # they name the folders
        described = self.competition.model_dump(mode="json", include=fields)
        return Stamp(self.paths.download_stamp, inputs={**described, "sources": dict(sources)})


@dataclass(frozen=True)
class FetchedArchive:
    """A whole archive: its place for now, and the record of its source.

    Of a folder that is read in place, the place is where it is from.
    """

    place: Path
    source: dict[str, Any]

    @property
    def is_folder(self) -> bool:
        """Whether it was unpacked by others and is read in place."""
        return self.place.is_dir()


def fetched_dir(paths: Paths) -> Path:
    """Return the folder in which what came over the network stays after a failure."""
    return paths.data_dir / ".fetched"


def fetch_all(plan: DownloadPlan, accepted: Mapping[str, Any]) -> dict[str, FetchedArchive]:
    """Fetch every archive that isn't here yet.

    Args:
        plan: The archives and their sources.
        accepted: Records of the sources, by archive, whose archives need not be fetched again.

    Returns:
        The archives by name, without optional ones that aren't to be had.

    Raises:
        DataError: An archive can't be had, or isn't what it must be.
    """
    fetched, missing = {}, []
    for archive in parts(plan.competition):
        here = _here(plan.paths, archive, accepted.get(archive.name))
        if here is None:
            missing.append(archive)
        else:
            fetched[archive.name] = here
    _check_sources(plan, missing)
    for archive in missing:
        try:
            if plan.candidates[archive.name]:
                fetched[archive.name] = _fetch_one(plan, archive)
        except ArchiveError as error:
            if not archive.optional:
                raise with_hint(plan, error) from error
            console.say(f"{error}; {archive.name} is optional and left out")
    return fetched


def _here(paths: Paths, archive: Archive, record: dict[str, Any] | None) -> FetchedArchive | None:
    """Find an archive that an earlier run fetched, if it is still that one and wanted now."""
    if record is None:
        return None
    source = Source(**record)
    if source.is_folder:
        return FetchedArchive(Path(source.place), record)
    place = paths.archives_dir / archive.name
    recorded = (read_stamp(paths.download_stamp) or {"outputs": {}})["outputs"]
    sha256 = recorded.get(place.relative_to(paths.data_dir).as_posix())
    is_unchanged = sha256 is not None and digest(place) == sha256
    return FetchedArchive(place, record) if is_unchanged and not mismatch(archive, place) else None


def _check_sources(plan: DownloadPlan, missing: list[Archive]) -> None:
    """Refuse what can't succeed before anything is copied or fetched."""
    for archive in missing:
        for source in plan.candidates[archive.name]:
            if source.is_folder:
                _check_not_own(plan, Path(source.place))
            elif archive.container == "7z":
                require_seven_zip(archive.name)
    needed = [archive.name for archive in missing if not archive.optional]
    unknown = [name for name in needed if not plan.candidates[name]]
    if not unknown:
        return
    competition = plan.competition
    names = ", ".join(unknown) if competition.archives else "the images"
    origin = f" from {competition.url}" if competition.url else ""
    them = "it" if len(unknown) == 1 and competition.archives else "them"
    raise DataError(
        f"{competition.name}: {names} must be brought by hand, no URL is open to all; "
        f"download {them}{origin} into a folder DIR and run "
        f"'pipeline download {competition.name} --from DIR'{_by_client(competition)}"
    )


def _by_client(competition: Competition) -> str:
    if competition.kaggle is None:
        return ""
    install = "" if is_installed("kaggle") else f"run '{pip_install('kaggle six')}', "
    return f"; or {install}make a token on kaggle.com, Settings, API, and run it without --from"


def _check_not_own(plan: DownloadPlan, folder: Path) -> None:
    """Refuse to link to what this run will replace."""
    if folder.is_relative_to(plan.paths.data_dir.resolve()):
        raise DataError(
            f"--from {plan.source}: images must lie outside {plan.paths.data_dir} to be read in "
            f"place, '{folder}' lies in it; point --from at where they came from"
        )


def _fetch_one(plan: DownloadPlan, archive: Archive) -> FetchedArchive:
    """Fetch one archive, unless a run that failed later had already fetched it."""
    candidates = plan.candidates[archive.name]
    if candidates[0].is_folder:
        return FetchedArchive(Path(candidates[0].place), candidates[0].record)
    target = plan.incoming_dir / archive.name
    stamps = {source: _archive_stamp(target, archive, source) for source in candidates}
    for source, stamp in stamps.items():
        if stamp.is_fresh():
            return FetchedArchive(target, source.record)
    source = fetch_archive(archive, list(stamps), target)
    stamps[source].write([target])
    return FetchedArchive(target, source.record)


def _archive_stamp(target: Path, archive: Archive, source: Source) -> Stamp:
    inputs = {"archive": archive.model_dump(mode="json"), "source": source.record}
    return Stamp(target.with_name(f"{target.name}.stamp"), inputs)


def with_hint(plan: DownloadPlan, error: ArchiveError) -> ArchiveError:
    """Add the next command to a message."""
    command = f"pipeline download {plan.competition.name} --from"
    if plan.source is not None:
        place = shlex.quote(plan.source)
        return ArchiveError(f"{error}; put a good copy there and run '{command} {place}'")
    origin = f" from {plan.competition.url}" if plan.competition.url else ""
    return ArchiveError(
        f"{error}; run the same command again, or download the archives by hand{origin} "
        f"into a folder DIR and run '{command} DIR'"
    )
