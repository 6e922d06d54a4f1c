"""Scan every image file once, and collect what is odd, as rows and as counts."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, Header, decode_rgb, read_header
from pipeline.images.decoder_pool import map_in_processes
from pipeline.store.freshness import file_sha256
from pipeline.store.tables import AUDIT_COLUMNS

THUMBNAIL_PX = 32
_FORMAT_OF_SUFFIX = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF", "dib": "BMP",
    "pgm": "PPM", "pbm": "PPM", "pnm": "PPM",
}  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """The findings of one look at a file.

    Attributes:
        sha256: Digest of the file's bytes.
        header: What the file says of itself; None if it isn't an image.
        thumbnail: `(32, 32)` uint8 grey, squeezed to a square; None if unreadable.
        reason: Why the file can't be read, else empty.
    """

    sha256: str
    header: Header | None
    thumbnail: ByteImage | None
    reason: str


def scan_file(path: Path) -> Scan:
    """Read and decode one file completely; an unreadable one is a finding, not an error."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Scan("", None, None, f"cannot be opened: {error.strerror}")
    sha256 = hashlib.sha256(content).hexdigest()
    header = None
    try:
        header = read_header(content)
        pixels = decode_rgb(content)
    except DataError as error:
        return Scan(sha256, header, None, str(error))
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return Scan(sha256, header, grey, "")


def scan_files(
    paths: list[Path], workers: int | None, advance: Callable[[int], None]
) -> list[Scan]:
    """Scan files in parallel; one that a decoder crashes on is unreadable, and costs no other.

    Args:
        paths: The files.
        workers: Number of processes; None for one per core.
        advance: Called with the number of files newly done.

    Returns:
        One Scan per path, in their order.

    Raises:
        DataError: Processes can't be started.
    """
    scans: list[Scan] = []
    for scan in map_in_processes(scan_file, paths, workers, _unreadable):
        scans.append(scan)
        advance(1)
    return scans


def _unreadable(path: Path, cause: str) -> Scan:
    """Record a file that processes died of; only its bytes are looked at here."""
    try:
        sha256 = file_sha256(path)
    except OSError:
        sha256 = ""
    return Scan(sha256, None, None, f"cannot be decoded: it ends the process that tries ({cause})")


class Audit:
    """Collects findings: rows of (finding, split, image_id, detail)."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []

    def add(self, finding: str, split: str, image_id: str, detail: str = "") -> None:
        """Note one finding about one image."""
        self._rows.append((finding, split, image_id, detail))

    def table(self) -> pd.DataFrame:
        """Return the findings, sorted; columns as AUDIT_COLUMNS."""
        return pd.DataFrame(sorted(self._rows), columns=pd.Index(AUDIT_COLUMNS))

    def counts(self) -> dict[str, int]:
        """Count the findings by kind."""
        return {str(kind): int(n) for kind, n in self.table()["finding"].value_counts().items()}

    def add_scan(self, split: str, image_id: str, path: str, scan: Scan) -> None:
        """Note what one look at a file showed to be odd; its name is that of the path."""
        if scan.reason:
            self.add("unreadable", split, image_id, scan.reason)
        if scan.header is None:
            return
        suffix = PurePosixPath(path).suffix[1:].lower()
        claimed = _FORMAT_OF_SUFFIX.get(suffix, suffix.upper())
        if suffix and scan.header.format != claimed:
            self.add("type-differs-from-name", split, image_id, scan.header.format)
        if scan.header.mode != "RGB":
            self.add("not-rgb", split, image_id, scan.header.mode)
        if scan.header.orientation != 1:
            self.add("rotated-by-exif", split, image_id, str(scan.header.orientation))
        if scan.header.has_invalid_orientation:
            self.add("invalid-exif-orientation", split, image_id)

    def add_clusters(self, images: pd.DataFrame, near: Mapping[tuple[str, str], float]) -> None:
        """Note copies, clusters with contradictory labels and train-test twins.

        Args:
            images: Readable train and test images; columns split, image_id, label (empty for
                test), group, sha256, path.
            near: Correlation by pair of paths, of the near duplicates that aren't exact ones.
        """
        for sha256, copies in _repeated(images, "sha256"):
            for image in copies.itertuples():
                self.add("exact-duplicate", str(image.split), str(image.image_id), sha256[:12])
        columns = (images["path"], images["split"], images["image_id"])
        place = {path: (split, image_id) for path, split, image_id in zip(*columns, strict=True)}
        for (first, second), correlation in near.items():
            for one, other in ((first, second), (second, first)):
                split, image_id = place[one]
                self.add("near-duplicate", split, image_id, f"{other} {correlation:.3f}")
        for group, cluster in _repeated(images, "group"):
            self._add_cluster(group, cluster)

    def _add_cluster(self, group: str, cluster: pd.DataFrame) -> None:
        train, test = cluster[cluster["split"] == "train"], cluster[cluster["split"] == "test"]
        labels = sorted(set(train["label"]))
        if len(labels) > 1:
            for image in train.itertuples():
                self.add(
                    "conflicting-labels", "train", str(image.image_id), f"{image.label} in {group}"
                )
        if len(train) and len(test):
            for image in test.itertuples():
                self.add("train-test-twin", "test", str(image.image_id), f"{labels[0]} in {group}")


def _repeated(images: pd.DataFrame, column: str) -> Iterable[tuple[str, pd.DataFrame]]:
    repeated = images[images[column].duplicated(keep=False)]
    return ((str(key), rows) for key, rows in repeated.groupby(column))


def summarise(
    audit: Audit, train: pd.DataFrame, test: pd.DataFrame, classes: Iterable[str]
) -> dict[str, Any]:
    """Condense the audit to the numbers of `audit.json`."""
    counts = train["label"].value_counts()
    class_counts = {name: int(counts.get(name, 0)) for name in classes}
    sizes = np.array(list(class_counts.values()))
    return {
        "class_counts": class_counts,
        "smallest_to_largest_class": round(float(sizes.min() / max(sizes.max(), 1)), 4),
        "train": _describe(train),
        "test": _describe(test[test["width"] > 0]) | {"num_images": len(test)},
        "clusters": int((pd.concat([train, test])["group"].value_counts() > 1).sum()),
        "findings": audit.counts(),
    }


def _describe(images: pd.DataFrame) -> dict[str, Any]:
    formats = {str(kind): int(n) for kind, n in images["format"].value_counts().items()}
    return {
        "num_images": len(images),
        "formats": formats,
        "width_px": _spread(images["width"].to_numpy()),
        "height_px": _spread(images["height"].to_numpy()),
    }


def _spread(values: npt.NDArray[np.int64]) -> dict[str, int]:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, [0, 50, 100])
    return {"min": int(low), "median": int(middle), "max": int(high)}
