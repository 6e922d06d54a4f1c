"""Scan every image file once, and collect what is odd, as rows and as counts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.competition import Competition
from pipeline.errors import DataError
from pipeline.images.decode import ByteImage, Header, decode_rgb, read_header, value_range
from pipeline.images.decoder_pool import map_in_processes
from pipeline.store.freshness import file_sha256
from pipeline.store.tables import AUDIT_COLUMNS

THUMBNAIL_PX = 32
LEAST_CONTRAST = 3  # of what shows something; noise of a sensor, or classes of a mask, have as much
MOST_SHOWN = 3
_FORMAT_OF_SUFFIX = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF", "dib": "BMP",
    "pgm": "PPM", "pbm": "PPM", "pnm": "PPM", "dcm": "DICOM",
}  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """The findings of one look at a file.

    Attributes:
        sha256: Digest of the file's bytes.
        header: What the file says of itself; None if it isn't an image.
        thumbnail: `(32, 32)` uint8 grey, squeezed to a square; None if unreadable.
        reason: Why the file can't be read, else empty.
        contrast: Between the darkest and the brightest value of a pixel, 0 to 255.
        value_range: The range of its numbers, where they aren't of 8 bits; else empty.
    """

    sha256: str
    header: Header | None
    thumbnail: ByteImage | None
    reason: str
    contrast: int = 255
    value_range: str = ""


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
    contrast = int(pixels.max()) - int(pixels.min())
    return Scan(sha256, header, grey, "", contrast, value_range(content))


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
    """Collects findings: rows of (finding, split, image_id, detail).

    Attributes:
        num_clusters: Clusters of copies.
    """

    def __init__(self) -> None:
        self.num_clusters = 0
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
        self._add_pixels(split, image_id, scan)
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

    def _add_pixels(self, split: str, image_id: str, scan: Scan) -> None:
        if not scan.reason and scan.contrast <= LEAST_CONTRAST:
            self.add("constant", split, image_id, f"contrast {scan.contrast} of 255")
        if scan.value_range:
            self.add("other-range", split, image_id, scan.value_range)

    def doubts(self) -> list[str]:
        """Say in one line each which images may not show what they should."""
        found = []
        constant = [row for row in self._rows if row[0] == "constant"]
        if constant:
            found.append(
                f"{len(constant):,} images are of one colour, the first is '{constant[0][2]}'; if "
                "they aren't, convert them to 8 bits"
            )
        ranges = sorted({row[3] for row in self._rows if row[0] == "other-range"})
        if len(ranges) > 1:
            found.append(
                f"images have numbers of {len(ranges)} ranges ({', '.join(ranges[:MOST_SHOWN])}), "
                "each is read by its own; if they must be comparable, convert them to 8 bits"
            )
        return found

    def add_clusters(self, images: pd.DataFrame, near: Mapping[tuple[str, str], float]) -> None:
        """Note copies, clusters with contradictory labels and train-test twins.

        Args:
            images: Readable train and test images; columns split, image_id, label (empty for
                test), group, sha256, path.
            near: Correlation by pair of paths, of the near duplicates that aren't exact ones.
        """
        names = ("split", "image_id", "label", "group", "sha256", "path")
        rows = [Clustered(*row) for row in zip(*(images[name] for name in names), strict=True)]
        for sha256, copies in _repeated(rows, "sha256"):
            for image in copies:
                self.add("exact-duplicate", image.split, image.image_id, sha256[:12])
        place = {image.path: image for image in rows}
        for (first, second), correlation in near.items():
            for one, other in ((first, second), (second, first)):
                image = place[one]
                self.add(
                    "near-duplicate", image.split, image.image_id, f"{other} {correlation:.3f}"
                )
        for group, cluster in _repeated(rows, "group"):
            self.num_clusters += 1
            self._add_cluster(group, cluster)

    def _add_cluster(self, group: str, cluster: list["Clustered"]) -> None:
        train = [image for image in cluster if image.split == "train"]
        labels = sorted({image.label for image in train})
        if len(labels) > 1:
            for image in train:
                self.add("conflicting-labels", "train", image.image_id, f"{image.label} in {group}")
        if train and len(train) < len(cluster):
            for image in cluster:
                if image.split == "test":
                    self.add("train-test-twin", "test", image.image_id, f"{labels[0]} in {group}")


class Clustered(NamedTuple):
    """What the audit must know of an image to compare it with others."""

    split: str
    image_id: str
    label: str
    group: str
    sha256: str
    path: str


def _repeated(
    rows: Iterable[Clustered], column: Literal["sha256", "group"]
) -> Iterator[tuple[str, list[Clustered]]]:
    """Gather the images that share a value, in its order."""
    by_value: dict[str, list[Clustered]] = {}
    for row in rows:
        by_value.setdefault(getattr(row, column), []).append(row)
    return ((value, found) for value, found in sorted(by_value.items()) if len(found) > 1)


def summarise(
    audit: Audit, train: pd.DataFrame, test: pd.DataFrame, competition: Competition
) -> dict[str, Any]:
    """Condense the audit to the numbers of `audit.json`."""
    return {
        **_describe_labels(train, competition),
        "train": _describe(train),
        "test": _describe(test[test["width"] > 0]) | {"num_images": len(test)},
        "clusters": audit.num_clusters,
        "findings": audit.counts(),
    }


def _describe_labels(train: pd.DataFrame, competition: Competition) -> dict[str, Any]:
    if competition.is_number:
        quantiles = train["label"].astype(float).quantile([0, 0.25, 0.5, 0.75, 1])
        return {"number_quartiles": [float(one) for one in quantiles]}
    counts = Counter(name for label in train["label"] for name in competition.labels_in(label))
    class_counts = {name: counts[name] for name in competition.classes}
    sizes = np.array(list(class_counts.values()))
    return {
        "class_counts": class_counts,
        "smallest_to_largest_class": round(float(sizes.min() / max(sizes.max(), 1)), 4),
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
