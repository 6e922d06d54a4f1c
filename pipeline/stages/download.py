"""Fetch a competition's archives and unpack them.

Archives are fetched and unpacked beside what is there; only when all of it is whole does it take
its place. What came over the network survives a failure, so that the next run goes on where this
one stopped. A folder that was unpacked already is linked to and read where it is.
"""

import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import console
from pipeline.config.archive_table import Archive, container_of
from pipeline.config.competition import Competition
from pipeline.data.archives.fetch_all import (
    DownloadPlan,
    FetchedArchive,
    fetch_all,
    fetched_dir,
    with_hint,
)
from pipeline.data.archives.sources import Source, find_sources, parts
from pipeline.data.archives.unpack import unpack
from pipeline.errors import ArchiveError, ConfigError, DataError
from pipeline.machine import is_installed
from pipeline.store.atomic import PARTIAL_SUFFIX, remove
from pipeline.store.disk_errors import check_room, explained_os_errors
from pipeline.store.folders import list_files
from pipeline.store.freshness import digest, read_stamp
from pipeline.store.locks import held
from pipeline.store.paths import Paths
from pipeline.submission.kaggle import Kaggle

DRAWN = Source("drawn")


def run(paths: Paths, competition: Competition, source: str | None) -> None:
    """Fetch the archives of a competition and unpack them.

    Reads the archives from `source` or from their urls, those of a competition of Kaggle's with its
    client, if that is installed; draws those of a drawn competition.

    Writes data/COMPETITION/archives, images and the stamp download.json; truth.csv where the
    archives hold it or are drawn.

    Fails if `source` can't be used (ConfigError), or an archive is missing, broken or refused
    (DataError); what stood there stays usable.

    Args:
        paths: The competition's files.
        competition: Its archives.
        source: A folder or a base URL; None for the archives' own urls, or for whatever source
            what is already here came from.
    """
    plan = DownloadPlan(paths, competition, source, find_sources(competition, source))
    with held(paths.data_lock, f"download {competition.name}"):
        _remove_leftovers(paths)
        accepted = plan.accepted_sources()
        if plan.stamp(accepted).is_fresh() and not plan.offers_more(accepted):
            console.say(f"download {competition.name}: up to date")
            return
        try:
            _replace_images(_with_kaggles(plan, accepted), accepted)
        finally:
            _remove_leftovers(paths)


def _with_kaggles(plan: DownloadPlan, accepted: Mapping[str, Any]) -> DownloadPlan:
    """Fetch what has no url with Kaggle's client, where that is installed and they are Kaggle's."""
    slug = plan.competition.kaggle
    missing = [
        archive.name
        for archive in parts(plan.competition)
        if not archive.optional
        and archive.name not in accepted
        and not plan.candidates[archive.name]
    ]
    if slug is None or plan.source is not None or not missing or not is_installed("kaggle"):
        return plan
    title = f"download {plan.competition.name}"
    folder = fetched_dir(plan.paths) / "kaggle"
    try:
        kaggle = Kaggle(slug, title)
    except ConfigError as error:  # without credentials there still is the way by hand
        console.warn(str(error))
        return plan
    console.say(f"{title}: fetching all data of {slug} with Kaggle's client")
    kaggle.download(folder)
    return replace(plan, candidates=find_sources(plan.competition, str(folder)))


def _remove_leftovers(paths: Paths) -> None:
    """Remove what an unfinished run left; the lock is held, so no other run is at work here."""
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
            fetched_dir(paths).rmdir()  # goes only where it is empty


def _replaced_images_dir(paths: Paths) -> Path:
    return paths.data_dir / ".images.replaced"


def _replace_images(plan: DownloadPlan, accepted: Mapping[str, Any]) -> None:
    """Fetch all archives, unpack them, and only then move them to their place."""
    archives = _draw(plan) if plan.is_drawn else fetch_all(plan, accepted)
    num_files = _unpack_all(plan, archives)
    truth = [plan.paths.truth_csv] if plan.truth_csv.exists() else []
    _publish(plan, archives)
    outputs = [
        plan.paths.archives_dir / name for name, one in archives.items() if not one.is_folder
    ]
    _remove_former_archives(plan.paths, outputs)
    stamp = plan.stamp({name: archive.source for name, archive in archives.items()})
    stamp.write([*outputs, plan.paths.images_dir, *truth])
    shutil.rmtree(fetched_dir(plan.paths), ignore_errors=True)
    _print_summary(plan, archives, num_files)


def _remove_former_archives(paths: Paths, outputs: Collection[Path]) -> None:
    """Remove what `download` brought for archives that are no more: lists of them would be read."""
    recorded = (read_stamp(paths.download_stamp) or {"outputs": {}})["outputs"]
    for name, sha256 in recorded.items():
        place = paths.download_stamp.parent / name
        is_former = place.parent == paths.archives_dir and place not in outputs
        if is_former and digest(place) == sha256:  # else it isn't ours any more
            remove(place)


def _print_summary(
    plan: DownloadPlan, archives: Mapping[str, FetchedArchive], num_files: int
) -> None:
    unpacked = [name for name, one in archives.items() if not one.is_folder and container_of(name)]
    in_place = [str(one.place) for one in archives.values() if one.is_folder]
    origins = [f"unpacked from {', '.join(unpacked)}"] if unpacked else []
    origins += [f"read in place in {', '.join(in_place)}"] if in_place else []
    console.say(
        f"download {plan.competition.name}: {num_files:,} files, {', '.join(origins)} -> "
        f"{plan.paths.images_dir}"
    )


def _draw(plan: DownloadPlan) -> dict[str, FetchedArchive]:
    from pipeline.data.drawing.draw_competition import draw_competition

    with explained_os_errors(plan.incoming_dir):
        plan.incoming_dir.mkdir(parents=True)
    draw_competition(plan.competition, plan.incoming_dir, plan.truth_csv)
    names = [archive.name for archive in plan.competition.archives]
    return {name: FetchedArchive(plan.incoming_dir / name, DRAWN.record) for name in names}


def _unpack_all(plan: DownloadPlan, archives: Mapping[str, FetchedArchive]) -> int:
    """Unpack every archive into a folder of its own name; return the number of files."""
    num_files = 0
    for archive in parts(plan.competition):
        fetched = archives.get(archive.name)
        if fetched is None:
            continue
        if fetched.is_folder and archive.records is not None:
            raise DataError(
                f"{fetched.place}: must be packed as {archive.name}, as images are made of what it "
                "holds; give that file"
            )
        if fetched.is_folder:
            num_files += _link(plan.images_dir / archive.stem, fetched.place)
        elif archive.container is not None:
            num_files += _unpack(plan, archive, fetched)
        elif archive.records is not None:
            num_files += _unpack_records(archive, plan.images_dir, [fetched.place])
    return num_files


def _link(link: Path, folder: Path) -> int:
    with explained_os_errors(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)
    return len(list_files(link))


def _unpack(plan: DownloadPlan, archive: Archive, fetched: FetchedArchive) -> int:
    folder = plan.images_dir / archive.stem
    try:
        if archive.format == "cifar-batches":
            from pipeline.data.archives.cifar import unpack_batches

            return unpack_batches(fetched.place, folder, plan.competition.classes, plan.truth_csv)
        num_files = unpack(fetched.place, folder)
        return _unpack_records(archive, folder, []) or num_files
    except ArchiveError as error:
        if fetched.place.parent == plan.incoming_dir:
            fetched.place.unlink()  # else the next run would take it for whole
        # The archive is known to the user by where it came from, not by our working copy.
        named = ArchiveError(str(error).replace(str(fetched.place), fetched.source["place"]))
        raise with_hint(plan, named) from error


def _unpack_records(archive: Archive, folder: Path, plain: list[Path]) -> int:
    """Make images of the records of an archive, where it says how; return their number.

    Args:
        archive: Says how.
        folder: Where it is unpacked.
        plain: The file itself, where it is no archive.
    """
    if archive.records is None:
        return 0
    from pipeline.images.arrays import unpack_records
    from pipeline.images.documents import unpack_documents

    key, pictures = archive.records.id, archive.records.pictures
    with explained_os_errors(folder):
        if pictures is None:
            paths = sorted(folder.rglob("*.json"))
            return sum(unpack_records(one, key, archive.records.arrays) for one in paths)
        folder.mkdir(parents=True, exist_ok=True)
        inner = [] if plain else sorted(folder.rglob("*.bson"))
        num_bytes = sum(one.stat().st_size for one in [*inner, *plain])
        check_room(f"{archive.name}: making images of it", num_bytes, folder)
        count = sum(unpack_documents(one, one.parent, key, pictures) for one in inner)
        for one in inner:
            one.unlink()
        return count + sum(unpack_documents(one, folder, key, pictures) for one in plain)


def _publish(plan: DownloadPlan, archives: Mapping[str, FetchedArchive]) -> None:
    """Move all that was made to its place; killed in between, the next run mends it."""
    paths = plan.paths
    with explained_os_errors(paths.data_dir):
        paths.archives_dir.mkdir(parents=True, exist_ok=True)
        plan.images_dir.mkdir(exist_ok=True)
        for name, archive in archives.items():
            if archive.place.parent == plan.incoming_dir:
                if not archive.place.is_symlink():
                    archive.place.chmod(0o444)
                archive.place.replace(paths.archives_dir / name)
        if paths.images_dir.exists():
            paths.images_dir.rename(_replaced_images_dir(paths))
        plan.images_dir.rename(paths.images_dir)
        if plan.truth_csv.exists():
            plan.truth_csv.replace(paths.truth_csv)
        elif plan.competition.synthetic is not None:
            paths.truth_csv.unlink(missing_ok=True)  # it belongs to the archives drawn before
