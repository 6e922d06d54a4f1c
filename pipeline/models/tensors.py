"""Read files of named tensors without running code, and unwrap them."""

import pickle
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ArtifactError

Tensors: TypeAlias = dict[str, Tensor]

# Where training scripts put a state dict beside their optimizer's; an average is the better model.
CONTAINERS = ("state_dict_ema", "state_dict", "model_state_dict", "model")
# What DistributedDataParallel, Lightning and torch.compile put before each name.
PREFIXES = ("module.", "model.", "_orig_mod.")

# What the readers raise on spoiled bytes, and torch on a pickle that holds more than tensors.
DAMAGE = (
    OSError,
    EOFError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    SafetensorError,
)


def read_tensors(path: Path, remedy: str) -> Tensors:
    """Read a file of named tensors; a pickle that holds anything else is refused, never run.

    Args:
        path: Safetensors where its name says so, else what `torch.save` wrote.
        remedy: What to do about a file that can't be used; ends the error.

    Raises:
        ArtifactError: The file is damaged, would run code, or holds something else.
    """
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else read_pickle(path)
    except DAMAGE as error:
        # torch goes on with advice to switch the check off
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArtifactError(
            f"{path}: must hold tensors and nothing else, cannot be read ({reason}); {remedy}"
        ) from error
    stored = _unwrap(stored)
    if not _is_state_dict(stored):
        raise ArtifactError(
            f"{path}: must hold named tensors, holds a {type(stored).__name__} of other things; "
            f"{remedy}"
        )
    return dict(stored)


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors and plain values; whatever else is refused, never run.

    Raises:
        UnpicklingError: The file holds something else, or is damaged; one of many types.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def strip_prefixes(tensors: Tensors, own_names: Collection[str]) -> Tensors:
    """Take what wrappers put before every name off again.

    Args:
        tensors: Any file's.
        own_names: The network's, which may begin so themselves.
    """
    for prefix in PREFIXES * 2:  # they nest: `module._orig_mod.`
        is_wrapped = tensors and all(name.startswith(prefix) for name in tensors)
        if is_wrapped and not any(name.startswith(prefix) for name in own_names):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _unwrap(stored: Any) -> Any:
    while isinstance(stored, dict) and not _is_state_dict(stored):
        inner = next((stored[key] for key in CONTAINERS if isinstance(stored.get(key), dict)), None)
        if inner is None:
            break
        stored = inner
    return stored


def _is_state_dict(stored: Any) -> bool:
    return isinstance(stored, dict) and all(map(torch.is_tensor, stored.values()))
