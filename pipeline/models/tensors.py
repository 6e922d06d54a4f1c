"""Files of named tensors: read without running code, and unwrapped."""

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ArtifactError, ConfigError

Tensors: TypeAlias = dict[str, Tensor]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Where training scripts put a state dict beside their optimizer's; an average is the better model.
CONTAINERS = ("state_dict_ema", "state_dict", "model_state_dict", "model")
# What DistributedDataParallel, Lightning and torch.compile put before each name.
PREFIXES = ("module.", "model.", "_orig_mod.")

# What the readers raise on spoiled bytes, and torch on a pickle that holds more than tensors.
_DAMAGE = (
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
    SafetensorError,
)


def find_weights_file(place: str) -> Path:
    """Find the weights file that a path names: itself, or the one of that folder.

    Args:
        place: As given by `model.weights`; `~` is the home folder.

    Raises:
        ConfigError: There is nothing, or no one file of weights.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise ConfigError(
            f"model.weights: must be 'package', 'hub', 'auto', 'none' or a file that exists, "
            f"'{place}' doesn't (from {Path.cwd()}); correct the path"
        )
    if path.is_dir():
        return _only_file(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"model.weights: must end in one of {', '.join(SUFFIXES)}, is '{place}'; convert it"
        )
    return path


def _only_file(folder: Path) -> Path:
    preferred = folder / "model.safetensors"
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if preferred in files:
        return preferred
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} ({', '.join(file.name for file in files[:3])})" if files else "none"
    raise ConfigError(
        f"model.weights: folder '{folder}' must hold model.safetensors or exactly one file of "
        f"{', '.join(SUFFIXES)}, holds {found}; name the file"
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
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
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
