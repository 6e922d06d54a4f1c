"""Bring a competition's archives and unpack them.

Archives are gathered and unpacked beside what is there; only when all of it is whole does it
take its place. What came over the network survives a failure, so that the next run goes on
where this one stopped.
"""

import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.archives.errors import ArchiveError
from pipeline.archives.sources import Source, bring, find_sources, hash_mismatch, is_url
from pipeline.archives.unpack import unpack
from pipeline.atomic import PARTIAL_SUFFIX, explained_os_errors
from pipeline.competition import Archive, Competition
from pipeline.errors import DataError
from pipeline.freshness import Stamp, digest, read_stamp
from pipeline.locks import held
from pipeline.paths import Paths

DRAWN = Source("drawn")


def run(paths: Paths, competition: Competition, source: str | None) -> None:
    """Bring the archives of a competition and unpack them.

    Reads the archives from `source` or from their urls; draws those of a drawn competition.
    Writes `archives`, `images`, `truth.csv` where the archives tell it or are drawn, and the
    stamp `download.json`.

    Args:
        paths: Where to.
        competition: What to bring.
        source: A folder or a base URL; None for the archives' own urls, or for whatever source
            brought what is already here.

    Raises:
        ConfigError: `source` can't be used.
        DataError: An archive is missing, broken or refused; what stood there stays usable.
    """
    work = _Work(paths, competition, source, find_sources(competition, source))
    with held(paths.data_lock, f"download {competition.name}"):
        _sweep(paths)
        accepted = work.accepted_sources()
        if work.stamp(accepted).is_fresh():
            console.say(f"download {competition.name}: up to date")
            return
        try:
            _renew(work, accepted)
        finally:
            _sweep(paths)


@dataclass(frozen=True)
class _Work:
    """What to bring, from where, and the places it stands at until all of it is whole."""

    paths: Paths
    competition: Competition
    source: str | None
    candidates: Mapping[str, tuple[Source, ...]]

    @property
    def is_drawn(self) -> bool:
        return self.competition.synthetic is not None and self.source is None

    @property
    def incoming_dir(self) -> Path:
        """Archives under way; only what is fetched is worth keeping after a failure."""
        if not self.is_drawn and (self.source is None or is_url(self.source)):
            return _fetched_dir(self.paths)
        return self.paths.data_dir / f".archives{PARTIAL_SUFFIX}"

    @property
    def images_dir(self) -> Path:
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
class _Whole:
    """A whole archive: where it stands for now, and the record of where it is from."""

    place: Path
    source: dict[str, Any]


def _sweep(paths: Paths) -> None:
    """Remove what isn't whole; the lock is held, so nobody else is at work here."""
    with explained_os_errors(paths.data_dir):
        replaced = _replaced_images_dir(paths)
        if replaced.exists() and not paths.images_dir.exists():
            replaced.rename(paths.images_dir)
        for leftover in [replaced, *paths.data_dir.glob(f".*{PARTIAL_SUFFIX}")]:
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
        with suppress(OSError):
            _fetched_dir(paths).rmdir()  # goes only where it is empty


def _replaced_images_dir(paths: Paths) -> Path:
    return paths.data_dir / ".images.replaced"


def _fetched_dir(paths: Paths) -> Path:
    return paths.data_dir / ".fetched"


def _renew(work: _Work, accepted: Mapping[str, Any]) -> None:
    """Gather all archives, unpack them, and only then let them take their place."""
    archives = _draw(work) if work.is_drawn else _gather(work, accepted)
    num_files = _unpack_all(work, archives)
    truth = [work.paths.truth_csv] if work.truth_csv.exists() else []
    _publish(work, archives)
    outputs = [work.paths.archives_dir / name for name in archives]
    stamp = work.stamp({name: archive.source for name, archive in archives.items()})
    stamp.write([*outputs, work.paths.images_dir, *truth])
    shutil.rmtree(_fetched_dir(work.paths), ignore_errors=True)
    console.say(
        f"download {work.competition.name}: {len(archives)} archives, {num_files:,} files "
        f"unpacked into {work.paths.images_dir}"
    )


def _draw(work: _Work) -> dict[str, _Whole]:
    from pipeline.images.synthetic import draw_competition

    with explained_os_errors(work.incoming_dir):
        work.incoming_dir.mkdir(parents=True)
    draw_competition(work.competition, work.incoming_dir, work.truth_csv)
    names = [archive.name for archive in work.competition.archives]
    return {name: _Whole(work.incoming_dir / name, DRAWN.record) for name in names}


def _gather(work: _Work, accepted: Mapping[str, Any]) -> dict[str, _Whole]:
    """Bring every archive that isn't here yet."""
    archives = work.competition.archives
    here = {
        archive.name: _Whole(work.paths.archives_dir / archive.name, accepted[archive.name])
        for archive in archives
        if archive.name in accepted and _is_here(work.paths, archive)
    }
    missing = [archive for archive in archives if archive.name not in here]
    _check_sources(work, missing)
    return here | {archive.name: _bring(work, archive) for archive in missing}


def _is_here(paths: Paths, archive: Archive) -> bool:
    """Whether an archive is still what an earlier run recorded, and what is wanted now."""
    place = paths.archives_dir / archive.name
    recorded = (read_stamp(paths.download_stamp) or {"outputs": {}})["outputs"]
    sha256 = recorded.get(place.relative_to(paths.data_dir).as_posix())
    is_unchanged = sha256 is not None and digest(place) == sha256
    return is_unchanged and not hash_mismatch(archive, place)


def _check_sources(work: _Work, missing: list[Archive]) -> None:
    unknown = [archive.name for archive in missing if not work.candidates[archive.name]]
    if not unknown:
        return
    competition = work.competition
    origin = f" from {competition.url}" if competition.url else ""
    raise DataError(
        f"{competition.name}: {', '.join(unknown)} must be brought by hand, no URL is open to all; "
        f"download {'it' if len(unknown) == 1 else 'them'}{origin} into a folder DIR and run "
        f"'pipeline download {competition.name} --from DIR'"
    )


def _bring(work: _Work, archive: Archive) -> _Whole:
    """Bring one archive, unless a run that failed later had already fetched it."""
    target = work.incoming_dir / archive.name
    stamps = {
        source: _archive_stamp(target, archive, source) for source in work.candidates[archive.name]
    }
    for source, stamp in stamps.items():
        if stamp.is_fresh():
            return _Whole(target, source.record)
    try:
        source = bring(archive, list(stamps), target)
    except ArchiveError as error:
        raise _advised(work, error) from error
    stamps[source].write([target])
    return _Whole(target, source.record)


def _archive_stamp(target: Path, archive: Archive, source: Source) -> Stamp:
    inputs = {"archive": archive.model_dump(mode="json"), "source": source.record}
    return Stamp(target.with_name(f"{target.name}.stamp"), inputs)


def _advised(work: _Work, error: ArchiveError) -> ArchiveError:
    """Add the next command to a message."""
    command = f"pipeline download {work.competition.name} --from"
    if work.source is not None:
        place = shlex.quote(work.source)
        return ArchiveError(f"{error}; put a good copy there and run '{command} {place}'")
    origin = f" from {work.competition.url}" if work.competition.url else ""
    return ArchiveError(
        f"{error}; run the same command again, or download the archives by hand{origin} "
        f"into a folder DIR and run '{command} DIR'"
    )


def _unpack_all(work: _Work, archives: Mapping[str, _Whole]) -> int:
    """Unpack every zip and tar into a folder of its own name; return the number of files."""
    num_files = 0
    for archive in work.competition.archives:
        place = archives[archive.name].place
        if archive.container is None:
            continue
        try:
            num_files += _unpack(work, archive, place)
        except ArchiveError as error:
            if place.parent == work.incoming_dir:
                place.unlink()  # else the next run would take it for whole
            # The archive is known to the user by where it came from, not by our working copy.
            origin = archives[archive.name].source["place"]
            named = ArchiveError(str(error).replace(str(place), origin))
            raise _advised(work, named) from error
    return num_files


def _unpack(work: _Work, archive: Archive, place: Path) -> int:
    folder = work.images_dir / archive.stem
    if archive.format == "cifar-batches":
        from pipeline.archives.cifar import unpack_batches

        return unpack_batches(place, folder, work.competition.classes, work.truth_csv)
    return unpack(place, folder)


def _publish(work: _Work, archives: Mapping[str, _Whole]) -> None:
    """Let all that was made take its place; killed in between, the next run mends it."""
    paths = work.paths
    with explained_os_errors(paths.data_dir):
        paths.archives_dir.mkdir(parents=True, exist_ok=True)
        work.images_dir.mkdir(exist_ok=True)
        for name, archive in archives.items():
            if archive.place.parent == work.incoming_dir:
                archive.place.chmod(0o444)
                archive.place.replace(paths.archives_dir / name)
        if paths.images_dir.exists():
            paths.images_dir.rename(_replaced_images_dir(paths))
        work.images_dir.rename(paths.images_dir)
        if work.truth_csv.exists():
            work.truth_csv.replace(paths.truth_csv)
        elif work.competition.synthetic is not None:
            paths.truth_csv.unlink(missing_ok=True)  # it told of the archives drawn before
