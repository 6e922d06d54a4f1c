"""Save and load the probabilities of a set of images: `oof.npz` and `test.npz`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ArtifactError
from pipeline.store.atomic import atomic_path
from pipeline.store.disk_errors import DAMAGE
from pipeline.store.likeliest import AnyProbs as AnyProbs
from pipeline.store.likeliest import FloatArray as FloatArray
from pipeline.store.likeliest import IntArray as IntArray
from pipeline.store.likeliest import Likeliest as Likeliest

SUM_TOLERANCE = 1e-3


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
