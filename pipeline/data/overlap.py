"""List test images that lie in another folder: a leak, if that folder is to be trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import console
from pipeline.data.audit import Scan, scan_files
from pipeline.data.duplicates import near_duplicates_between
from pipeline.data.split_folders import IMAGE_SUFFIXES
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage
from pipeline.store.folders import list_files
from pipeline.store.paths import Paths
from pipeline.store.tables import OVERLAP_COLUMNS, load_test, write_for_people

NUM_SHOWN = 10
EXACT, NEAR = "exact", "near"


def write_overlap(paths: Paths, against: Path, workers: int | None) -> None:
    """Compare the test images with all images below a folder, and write and print what is found.

    `overlap.csv` has a row per test image and file that shows its picture, only the header where
    there is none. Copies are found by the hash of their bytes, near duplicates as within the
    competition.

    Raises:
        DataError: The test table is missing, or there are no other images in the folder.
    """
    test = load_test(paths)
    test = test[test["path"] != ""]
    ours = [paths.images_dir / path for path in test["path"]]
    theirs = _others(against, {path.resolve() for path in ours})
    with console.progress(f"compare with {against}", len(ours) + len(theirs)) as advance:
        scans = scan_files([*ours, *theirs], workers, advance)
    pairs = _pairs(scans[: len(ours)], scans[len(ours) :])
    rows = [
        (test["image_id"].iloc[i], kind, str(theirs[j]), f"{correlation:.3f}")
        for (i, j), (kind, correlation) in sorted(pairs.items())
    ]
    table = pd.DataFrame(rows, columns=pd.Index(OVERLAP_COLUMNS))
    write_for_people(table, paths.overlap_csv)
    _tell(paths, len(test), len(theirs), rows)


def _others(folder: Path, ours: set[Path]) -> list[Path]:
    """List the images below a folder that aren't the test images themselves."""
    found = [folder / file for file in list_files(folder) if file.suffix.lower() in IMAGE_SUFFIXES]
    others = [path for path in found if path.resolve() not in ours]
    if not others:
        held = f"{len(found):,}, all of them the competition's own files" if found else "none"
        raise DataError(f"--against {folder}: must be a folder that holds other images, has {held}")
    return others


def _pairs(
    ours: Sequence[Scan], theirs: Sequence[Scan]
) -> dict[tuple[int, int], tuple[str, float]]:
    """Pair the scans that show one picture: kind and correlation by (ours, theirs)."""
    places, other_places = _readable(ours), _readable(theirs)
    near = near_duplicates_between(_thumbnails(ours), _thumbnails(theirs))
    pairs = {(places[i], other_places[j]): (NEAR, correlation) for i, j, correlation in near}
    by_content: dict[str, list[int]] = {}
    for j, scan in enumerate(theirs):
        by_content.setdefault(scan.sha256, []).append(j)
    for i, scan in enumerate(ours):
        # A file that can't be opened has no hash.
        for j in by_content.get(scan.sha256, []) if scan.sha256 else []:
            pairs[i, j] = (EXACT, 1.0)
    return pairs


def _readable(scans: Sequence[Scan]) -> list[int]:
    return [place for place, scan in enumerate(scans) if scan.thumbnail is not None]


def _thumbnails(scans: Sequence[Scan]) -> ByteImage:
    thumbnails = [scan.thumbnail for scan in scans if scan.thumbnail is not None]
    return np.stack(thumbnails) if thumbnails else np.empty((0, 32, 32), dtype=np.uint8)


def _tell(
    paths: Paths, num_test: int, num_others: int, rows: Sequence[tuple[str, str, str, str]]
) -> None:
    found = len({image_id for image_id, *_ in rows})
    exact = len({image_id for image_id, kind, *_ in rows if kind == EXACT})
    console.result(
        f"{found:,} of {num_test:,} test images are among {num_others:,} others, {exact:,} of them "
        f"byte for byte -> {paths.overlap_csv}"
    )
    for image_id, kind, other, correlation in rows[:NUM_SHOWN]:
        console.result(f"{image_id}  {kind} {correlation}  {other}")
    if len(rows) > NUM_SHOWN:
        console.result(f"... and {len(rows) - NUM_SHOWN:,} more")
    if rows:
        console.warn(
            f"{found:,} test images lie in that folder: whatever is known of them there, such as "
            "a label, mustn't be used"
        )
