"""Read every image once, and write the tables that all later stages build on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.console import progress, say, warn
from pipeline.data.audit import Audit, Scan, scan_files, summarise
from pipeline.data.catalog import build_catalog, find_listings
from pipeline.data.duplicates import clusters, write_overlap
from pipeline.data.groups import (
    find_copies,
    joined_copies,
    read_given_folds,
    read_subjects,
    subject_pairs,
)
from pipeline.data.resolution import write_resolution
from pipeline.data.splitting import number_folds
from pipeline.data.training_table import is_readable, warn_of_unreadable
from pipeline.errors import DataError
from pipeline.store.atomic import remove, write_text
from pipeline.store.freshness import Stamp, digest, read_stamp
from pipeline.store.locks import held
from pipeline.store.paths import Paths
from pipeline.store.tables import (
    ANSWER,
    GIVEN_FOLD_COLUMNS,
    TEST_COLUMNS,
    TRAIN_COLUMNS,
    add_mark,
    load_test,
    with_answers,
    write_for_people,
    write_table,
)

NO_FILE = Scan("", None, None, "there is no such file")
# Keys of a competition's file that change no table: they may change without a look at every image.
NOT_PREPARED = {"experiments"}


def run(
    paths: Paths,
    competition: Competition,
    workers: int | None,
    against: Path | None = None,
    *,
    excel: bool = False,
) -> None:
    """Catalog and scan the images, and write the training table, the test table and the audit.

    Unreadable train images are left out and counted. An unreadable test image stays in test.csv
    with width and height 0, as every test image needs an answer.

    Reads data/COMPETITION/archives and images.

    Writes train.csv, test.csv, audit.json and audit.csv beside them, and resolved.json: class names
    and header, where the competition's file leaves them to labels and sample; given_folds.csv,
    where it names the organiser's folds. With `against`, a
    folder of other images, overlap.csv: the test images that lie there, too.

    Fails if there are no images, no labels, an unknown label or a class without images (DataError),
    or labels or sample contradict the competition's file (ConfigError).
    """
    if read_stamp(paths.download_stamp) is None:
        raise DataError(
            f"{paths.images_dir}: must hold the unpacked archives, no complete download is "
            f"recorded; run 'pipeline download {competition.name}'"
        )
    with held(paths.data_lock, f"prepare {competition.name}"):
        _prepare(paths, competition, workers)
        if against:
            write_overlap(paths, against, workers)
        if excel:
            _mark_for_excel(paths)


def _prepare(paths: Paths, competition: Competition, workers: int | None) -> None:
    stamp = Stamp(
        paths.prepare_stamp,
        {
            "competition": competition.model_dump(mode="json", exclude=NOT_PREPARED),
            "downloaded": (read_stamp(paths.download_stamp) or {}).get("outputs"),
            "archives": digest(paths.archives_dir),
            "images": digest(paths.images_dir),
            # A folder is known by names and sizes; a list may be mended without another size.
            "lists": [digest(one) if one else None for one in find_listings(paths, competition)],
        },
    )
    for place in Stamp(paths.download_stamp, {}).damaged():
        warn(
            f"{place}: was changed since it was downloaded; 'pipeline download {competition.name}' "
            "brings it back"
        )
    if stamp.is_fresh():
        say(f"prepare {competition.name}: up to date")
        _warn_of_doubts(json.loads(paths.audit_json.read_text("utf-8")).get("doubts", []))
        warn_of_unreadable(load_test(paths))
        return
    audit = Audit()
    catalog = build_catalog(paths, competition, audit)
    competition, images = catalog.competition, catalog.images
    scans = _scan(paths, competition, images, workers)
    for row, scan in zip(images.itertuples(), scans, strict=True):
        audit.add_scan(str(row.split), str(row.image_id), str(row.path), scan)
    images = _with_scans(images, scans)
    is_train = images["split"] == "train"
    is_trained_on = is_train & (images["width"] > 0)
    _check_classes(paths, competition, images[is_trained_on])
    _check_test(paths, competition, images[~is_train])
    images["group"], odd_groups = _group(paths, competition, images, scans, audit)
    train = images.loc[is_trained_on, with_answers(TRAIN_COLUMNS, images)]
    test = images.loc[~is_train, with_answers(TEST_COLUMNS, images)]
    doubts = [*catalog.doubts, *audit.doubts(), *odd_groups]
    summary = summarise(audit, train, test, competition) | {"doubts": doubts}
    _write(paths, competition, (train, test), audit, summary)
    given = _given_folds(paths, competition, train)
    tables = [paths.train_csv, paths.test_csv, paths.audit_json, paths.audit_csv]
    stamp.write([*tables, paths.resolution_json, *given])
    _warn_of_doubts(doubts)
    _print_summary(paths, competition, audit, summary)


def _mark_for_excel(paths: Paths) -> None:
    """Begin audit.csv and overlap.csv with the mark by which Excel knows UTF-8; both stay fresh."""
    recorded = read_stamp(paths.prepare_stamp)
    assert recorded is not None
    for path in (paths.audit_csv, paths.overlap_csv):
        if path.exists():
            add_mark(path)
    outputs = [paths.prepare_stamp.parent / name for name in recorded["outputs"]]
    Stamp(paths.prepare_stamp, recorded["inputs"]).write(outputs)


def _warn_of_doubts(doubts: list[str]) -> None:
    for doubt in doubts:
        warn(doubt)


def _scan(
    paths: Paths, competition: Competition, images: pd.DataFrame, workers: int | None
) -> list[Scan]:
    """Scan every file; one that is listed and not there counts as unreadable."""
    files = [paths.images_dir / path for path in images["path"] if path]
    with progress(f"prepare {competition.name}", len(files)) as advance:
        scans = iter(scan_files(files, workers, advance))
    return [next(scans) if path else NO_FILE for path in images["path"]]


def _with_scans(images: pd.DataFrame, scans: list[Scan]) -> pd.DataFrame:
    looks = [
        (scan.header.width, scan.header.height, scan.header.format, scan.sha256)
        if scan.header and not scan.reason
        else (0, 0, "", scan.sha256)
        for scan in scans
    ]
    columns = pd.Index(["width", "height", "format", "sha256"])
    return pd.concat([images, pd.DataFrame(looks, columns=columns)], axis=1)


def _group(
    paths: Paths, competition: Competition, images: pd.DataFrame, scans: list[Scan], audit: Audit
) -> tuple[pd.Series, list[str]]:
    """Group the images that must share a fold, and tell the audit of copies.

    Returns:
        The group of every image, `(N,)`, named after its first member's path; and what may be
        wrong with groups, in one line each.
    """
    readable = np.flatnonzero(images["width"] > 0)
    looked_at = images.iloc[readable]
    copies = find_copies(competition, looked_at, [scans[row] for row in readable])
    audit.add_clusters(
        looked_at.assign(group=_first_paths(looked_at, copies.pairs)), copies.named(looked_at)
    )
    ids = looked_at["image_id"].where(looked_at["split"] == "train", "").tolist()
    subject_of, doubts = read_subjects(competition, list(filter(None, ids)), _sources(paths))
    pairs = [*joined_copies(competition, copies), *subject_pairs(ids, subject_of)]
    if ANSWER in looked_at:  # training images that are answered together share a fold, too
        owners = zip(ids, looked_at[ANSWER], strict=True)
        pairs += subject_pairs(ids, {one: answer for one, answer in owners if one})
    groups = images["path"].where(images["path"] != "", images["image_id"])
    groups.iloc[readable] = _first_paths(looked_at, pairs)
    return groups, [*copies.doubts, *doubts]


def _first_paths(images: pd.DataFrame, pairs: list[tuple[int, int]]) -> pd.Series:
    """Name the group of every image after its first member's path, `(N,)`."""
    return images.groupby(clusters(len(images), pairs))["path"].transform("min")


def _sources(paths: Paths) -> list[Path]:
    return [paths.archives_dir, paths.images_dir]


def _given_folds(paths: Paths, competition: Competition, train: pd.DataFrame) -> list[Path]:
    """Write down the organiser's folds, if there are some; returns the file, if there is one."""
    ids = train["image_id"].tolist()
    fold_of = read_given_folds(competition, ids, _sources(paths))
    if fold_of is None:
        remove(paths.given_folds_csv)
        return []
    folds = number_folds([fold_of[one] for one in ids])
    table = pd.DataFrame({"image_id": ids, "fold": folds})[GIVEN_FOLD_COLUMNS]
    write_table(table, paths.given_folds_csv)
    return [paths.given_folds_csv]


def _check_classes(paths: Paths, competition: Competition, train: pd.DataFrame) -> None:
    if competition.is_number:
        return
    present = {name for label in set(train["label"]) for name in competition.labels_in(label)}
    empty = [name for name in competition.classes if name not in present]
    if empty:
        raise DataError(
            f"{paths.images_dir}: every class must have readable train images, {len(empty)} of "
            f"{competition.num_classes} have none, the first is '{empty[0]}'; check its images and "
            f"labels and run 'pipeline download {competition.name}'"
        )


def _check_test(paths: Paths, competition: Competition, test: pd.DataFrame) -> None:
    if not is_readable(test).any():
        raise DataError(
            f"{paths.images_dir}: some test images must be readable, none of {len(test):,} is; "
            f"check the archives and run 'pipeline download {competition.name}'"
        )


def _write(
    paths: Paths,
    competition: Competition,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    audit: Audit,
    summary: dict[str, Any],
) -> None:
    remove(paths.prepare_stamp)  # killed from here on, the tables are made again
    write_resolution(competition, paths.resolution_json)
    train, test = tables
    write_table(train, paths.train_csv)
    write_table(test, paths.test_csv)
    write_for_people(audit.table(), paths.audit_csv)
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    write_text(paths.audit_json, text + "\n")


def _told(competition: Competition) -> str:
    if competition.is_number:
        return "numbers from {:g} to {:g}".format(*competition.range)
    return f"{competition.num_classes} classes"


def _print_summary(
    paths: Paths, competition: Competition, audit: Audit, summary: dict[str, Any]
) -> None:
    unreadable = audit.table().query("finding == 'unreadable'")
    for row in unreadable.itertuples():
        fate = "left out" if row.split == "train" else "will be given the class prior"
        warn(f"{row.split} image '{row.image_id}' is unreadable and {fate}: {row.detail}")
    found = ", ".join(f"{count} {kind}" for kind, count in summary["findings"].items()) or "nothing"
    say(
        f"prepare {competition.name}: {summary['train']['num_images']:,} train and "
        f"{summary['test']['num_images']:,} test images, {_told(competition)}, "
        f"{summary['clusters']} duplicate clusters; odd: {found} -> {paths.audit_csv}"
    )
