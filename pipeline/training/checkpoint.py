"""What was learned, as safetensors: tensors by name, and nothing that could run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.errors import ArtifactError
from pipeline.files.atomic import write_bytes

Tensors = Mapping[str, npt.NDArray[np.generic]]


def save_checkpoint(path: Path, tensors: Tensors) -> None:
    """Write tensors, whole or not at all."""
    write_bytes(path, save(dict(tensors)))


def load_checkpoint(path: Path) -> Tensors:
    """Read tensors.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{path}: must be a checkpoint, cannot be read ({error}); train again"
        ) from error
