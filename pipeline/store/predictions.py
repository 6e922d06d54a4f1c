"""Save and load the probabilities of a set of images: `oof.npz` and `test.npz`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ArtifactError
from pipeline.store.atomic import atomic_path
from pipeline.store.disk_errors import DAMAGE

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SUM_TOLERANCE = 1e-3
NUM_LIKELIEST = 32  # classes of an image that are kept where there are very many
ROWS_AT_ONCE = 2**14


@dataclass(frozen=True)
class Likeliest:
    """The likeliest classes of N images of very many: a table of images times classes is too large.

    The classes that aren't kept share evenly what the others leave to 1.

    Attributes:
        classes: Class indices, the likeliest first, `(N, M)` int32; of each row all different.
        probs: Their probabilities, `(N, M)` float32.
        num_classes: K.
    """

    classes: npt.NDArray[np.int32]
    probs: FloatArray
    num_classes: int

    @classmethod
    def of(cls, probs: FloatArray) -> "Likeliest":
        """Keep the likeliest of a few images' probabilities, `(n, K)`; of equals the first ones."""
        num = min(NUM_LIKELIEST, probs.shape[1])
        kept = np.argpartition(probs, probs.shape[1] - num, axis=1)[:, probs.shape[1] - num :]
        return cls._sorted(kept, np.take_along_axis(probs, kept, axis=1), probs.shape[1])

    @classmethod
    def _sorted(cls, classes: Any, probs: FloatArray, num_classes: int) -> "Likeliest":
        order = np.lexsort((classes, -probs), axis=1)
        classes = np.take_along_axis(classes, order, axis=1).astype(np.int32)
        return cls(classes, np.take_along_axis(probs, order, axis=1), num_classes)

    @classmethod
    def stacked(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        """Put images below each other."""
        classes, probs = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "probs")
        )
        return cls(classes, probs, parts[0].num_classes)

    @classmethod
    def mean(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        """Average several models' probabilities of the same images."""
        rows = range(0, len(parts[0]), ROWS_AT_ONCE)
        blocks = [[part[start : start + ROWS_AT_ONCE] for part in parts] for start in rows]
        return cls.stacked([cls._mean_of_few(block) for block in blocks] or list(parts))

    @classmethod
    def _mean_of_few(cls, parts: "Sequence[Likeliest]") -> "Likeliest":
        others = [part.share_of_others[:, None] for part in parts]
        classes = np.concatenate([part.classes for part in parts], axis=1)
        more = np.concatenate(
            [part.probs - other for part, other in zip(parts, others, strict=True)], axis=1
        )
        order = np.argsort(classes, axis=1, kind="stable")
        classes, more = (np.take_along_axis(one, order, axis=1) for one in (classes, more))
        is_first = np.ones(classes.shape, dtype=np.bool_)
        is_first[:, 1:] = classes[:, 1:] != classes[:, :-1]
        sums = np.add.reduceat(more.ravel(), np.flatnonzero(is_first))
        probs = np.full(classes.shape, -np.inf, dtype=np.float32)  # a class's second place: none
        probs[is_first] = sums
        probs = ((probs + sum(others)) / len(parts)).astype(np.float32)
        num = min(NUM_LIKELIEST, int(is_first.sum(axis=1).min()))
        kept = cls._sorted(classes, probs, parts[0].num_classes)
        return cls(kept.classes[:, :num], kept.probs[:, :num], kept.num_classes)

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return len(self.classes), self.num_classes

    @property
    def share_of_others(self) -> FloatArray:
        """The probability of each class that isn't kept, `(N,)`."""
        left = np.maximum(1 - self.probs.sum(axis=1), 0)
        share: FloatArray = left / max(self.num_classes - self.classes.shape[1], 1)
        return share

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: Any) -> "Likeliest":
        return Likeliest(self.classes[rows], self.probs[rows], self.num_classes)

    def argmax(self, axis: int = 1) -> IntArray:
        """Return the likeliest class of each image, `(N,)`."""
        assert axis == 1
        return self.classes[:, 0].astype(np.int64)

    def of_classes(self, targets: IntArray) -> FloatArray:
        """Return each image's probability of one class, `(N,)`."""
        is_it = self.classes == targets[:, None]
        found: FloatArray = np.where(
            is_it.any(axis=1), (self.probs * is_it).sum(axis=1), self.share_of_others
        )
        return found


# A FloatArray `(N, K)`, or Likeliest where classes are very many. As a union, each reader of the
# usual table would have to ask.
AnyProbs = Any


def mean_of(parts: Sequence[AnyProbs]) -> AnyProbs:
    """Average several models' probabilities of the same images, `(N, K)` each."""
    likeliest = [part for part in parts if isinstance(part, Likeliest)]
    if likeliest:
        return Likeliest.mean(likeliest)
    mean: FloatArray = np.mean(list(parts), axis=0, dtype=np.float32)
    return mean


@dataclass(frozen=True)
class Predictions:
    """Probabilities with all that is needed to join them to others by `image_id`.

    Attributes:
        image_ids: N ids, each once.
        probs: `(N, K)` float32, every row sums to 1; of several labels each number is in [0, 1];
            of very many classes the likeliest.
        class_names: K names, the columns of `probs`.
        folds_sha256: Digest of the fold table that the models were trained on.
        has_several: Whether an image may have several labels, each with a probability of its own.
        is_number: Whether the target is a number; `probs` are numbers then, `(N, 1)`.
    """

    image_ids: list[str]
    probs: AnyProbs
    class_names: list[str]
    folds_sha256: str
    has_several: bool = False
    is_number: bool = False

    def __post_init__(self) -> None:
        expected = (len(self.image_ids), len(self.class_names))
        assert self.probs.shape == expected, f"probs are {self.probs.shape}, not {expected}"
        numbers = self.probs.probs if isinstance(self.probs, Likeliest) else self.probs
        assert numbers.dtype == np.float32, f"probs are {numbers.dtype}, not float32"

    @property
    def num_bytes(self) -> int:
        """The size of the probabilities."""
        if isinstance(self.probs, Likeliest):
            return self.probs.probs.nbytes + self.probs.classes.nbytes
        return int(self.probs.nbytes)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; equal predictions give equal bytes."""
        numbers = self.probs.probs if isinstance(self.probs, Likeliest) else self.probs
        arrays = {
            "image_id": np.array(self.image_ids, dtype=np.str_),
            "probs": numbers,
            "class_names": np.array(self.class_names, dtype=np.str_),
            "folds_sha256": np.array(self.folds_sha256),
        }
        if isinstance(self.probs, Likeliest):
            arrays["classes"] = self.probs.classes
        if self.has_several:
            arrays["has_several"] = np.array(1)
        if self.is_number:
            arrays["is_number"] = np.array(1)
        # Straight to the disk: probabilities of a million images are held once.
        with (
            atomic_path(path, self.num_bytes + arrays["image_id"].nbytes) as partial,
            partial.open("wb") as file,
        ):
            np.savez(file, allow_pickle=False, **arrays)

    def reordered(self, image_ids: list[str], where: str) -> AnyProbs:
        """Return the rows in the order of `image_ids`, `(len(image_ids), K)`.

        Raises:
            ArtifactError: The ids aren't the same set.
        """
        position = {image_id: row for row, image_id in enumerate(self.image_ids)}
        missing = [image_id for image_id in image_ids if image_id not in position]
        if missing or len(image_ids) != len(position):
            first = f", the first missing is '{missing[0]}'" if missing else ""
            raise ArtifactError(
                f"{where}: must predict the {len(image_ids):,} images of the table, predicts "
                f"{len(position):,} and misses {len(missing):,}{first}; train it again"
            )
        return self.probs[[position[image_id] for image_id in image_ids]]


def load_predictions(path: Path, next_command: str) -> Predictions:
    """Read a predictions file; nothing in it is ever unpickled.

    Raises:
        ArtifactError: The file is missing, damaged or inconsistent in itself.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: must exist, is missing; run '{next_command}'")
    try:
        # Opened here, as numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            _check_claims(stored, path.stat().st_size)
            image_ids = [str(image_id) for image_id in stored["image_id"]]
            class_names = [str(name) for name in stored["class_names"]]
            probs: AnyProbs = np.asarray(stored["probs"], dtype=np.float32)
            if "classes" in stored:
                probs = Likeliest(
                    np.asarray(stored["classes"], dtype=np.int32), probs, len(class_names)
                )
            folds_sha256 = str(stored["folds_sha256"])
            has_several, is_number = "has_several" in stored, "is_number" in stored
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(f"{path}: damaged ({reason}); run '{next_command}'") from error
    if probs.shape != (len(image_ids), len(class_names)) or len(set(image_ids)) != len(image_ids):
        raise ArtifactError(
            f"{path}: must hold one row per image and one column per class, holds "
            f"{probs.shape} for {len(set(image_ids))} images and {len(class_names)} classes; "
            f"run '{next_command}'"
        )
    predictions = Predictions(image_ids, probs, class_names, folds_sha256, has_several, is_number)
    _check_probs(path, predictions, next_command)
    return predictions


def _check_probs(path: Path, predictions: Predictions, next_command: str) -> None:
    image_ids, probs = predictions.image_ids, predictions.probs
    if isinstance(probs, Likeliest):
        _check_likeliest(path, image_ids, probs, next_command)
        return
    if predictions.is_number:
        endless = np.flatnonzero(~np.isfinite(probs).all(axis=1))
        if len(endless):
            raise ArtifactError(
                f"{path}: every number must be finite, that of '{image_ids[endless[0]]}' isn't; "
                f"run '{next_command}'"
            )
        return
    if predictions.has_several:
        outside = np.flatnonzero(~((probs >= 0) & (probs <= 1)).all(axis=1))  # nan is outside, too
        if len(outside):
            raise ArtifactError(
                f"{path}: every number must be from 0 to 1, one of '{image_ids[outside[0]]}' "
                f"isn't; run '{next_command}'"
            )
        return
    sums = probs.sum(axis=1)
    odd = np.flatnonzero(~(np.abs(sums - 1) <= SUM_TOLERANCE))  # nan is odd, too
    if len(odd):
        raise ArtifactError(
            f"{path}: every row must sum to 1, that of '{image_ids[odd[0]]}' sums to "
            f"{sums[odd[0]]:.6g}; run '{next_command}'"
        )


def _check_likeliest(
    path: Path, image_ids: list[str], likeliest: Likeliest, next_command: str
) -> None:
    classes, probs = likeliest.classes, likeliest.probs
    is_fit = classes.shape == probs.shape and classes.ndim == 2 and classes.shape[1] > 0
    is_fit = is_fit and bool(((classes >= 0) & (classes < likeliest.num_classes)).all())
    sums = probs.sum(axis=1) if is_fit else np.full(len(image_ids), np.nan)
    odd = np.flatnonzero(~((sums > 0) & (sums <= 1 + SUM_TOLERANCE)))
    if len(odd):
        raise ArtifactError(
            f"{path}: every row must hold classes and probabilities that sum to 1 at most, that of "
            f"'{image_ids[odd[0]]}' doesn't; run '{next_command}'"
        )


def _check_claims(stored: Any, num_bytes: int) -> None:
    """Refuse what would unpack to more than the file, as nothing that `save` writes does.

    Arrays of empty text take no bytes at all, so their number is held to that as well.
    """
    claimed = sum(entry.file_size for entry in stored.zip.infolist())
    if claimed > num_bytes:
        raise ValueError(f"{claimed:,} bytes in a file of {num_bytes:,}")
    for name in ("image_id", "class_names"):
        if stored[name].size > num_bytes:
            raise ValueError(f"{stored[name].size:,} values of {name} in {num_bytes:,} bytes")
