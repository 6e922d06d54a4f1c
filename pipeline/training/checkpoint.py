"""Write and read what was learned, and the state of a training that isn't finished.

A checkpoint is a file of safetensors: tensors by name, and nothing that could run. A state is
written beside and renamed, and the one before it is kept; it holds tensors and plain values only,
as it is read with `weights_only`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.console import warn
from pipeline.errors import ArtifactError
from pipeline.models.tensors import DAMAGE, read_pickle
from pipeline.store.atomic import atomic_path, remove, write_bytes

State = dict[str, Any]


def save_state(path: Path, key: str, state: State) -> None:
    """Write a state; the last one becomes the previous.

    Args:
        path: The file.
        key: Tells which training this is the state of.
        state: Tensors, numbers, texts, and lists and dictionaries of them.
    """
    with atomic_path(path) as partial:
        with partial.open("wb") as file:
            try:
                torch.save({"key": key, "state": state}, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # as of a full disk
                    raise error.__context__ from error
                raise
        if path.is_file():
            path.replace(_previous(path))


def load_state(path: Path, key: str) -> State | None:
    """Read the last state that is whole and of this training; None where there is none."""
    for candidate in (path, _previous(path)):
        if not candidate.is_file():
            continue
        try:
            stored = read_pickle(candidate)
        except DAMAGE as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            warn(
                f"{candidate}: damaged ({reason}); going on from an older state, or from the start"
            )
            continue
        if stored.get("key") == key:
            state: State = stored["state"]
            return state
    return None


def remove_state(path: Path) -> None:
    """Delete the states of a training, once it is finished."""
    remove(path)
    remove(_previous(path))


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


Tensors = Mapping[str, npt.NDArray[np.generic]]


def save_checkpoint(path: Path, tensors: Tensors) -> None:
    """Write tensors, whole or not at all."""
    write_bytes(path, save(dict(tensors)))


def load_checkpoint(path: Path) -> Tensors:
    """Read a checkpoint's tensors.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: must be a checkpoint, cannot be read ({error}); train again"
        ) from error
