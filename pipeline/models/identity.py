"""What tells weights from others, known without loading a network and without asking a hub."""

from pipeline.config import ModelConfig
from pipeline.files.freshness import file_sha256
from pipeline.models.packages import has_packaged_weights, packaged_weights
from pipeline.models.weights_file import find_weights_file


def chosen_source(config: ModelConfig) -> str:
    """Return `model.weights`, "auto" decided by what is installed."""
    if config.weights != "auto":
        return config.weights
    return "package" if has_packaged_weights(config.name) else "hub"


def weights_identity(config: ModelConfig) -> str:
    """Name the weights that `load_weights` would take now.

    For stamps: a result is stale once other weights lie under the same path or in the package.
    Those of a hub are told by the network's name alone, which the config holds.

    Returns:
        The sha256 of the file or of the package's; "hub"; or "none" (what is drawn depends on the
        seed alone).

    Raises:
        ConfigError: There is no such file, or no package for this network.
        ArtifactError: The package isn't installed.
    """
    source = chosen_source(config)
    if source in ("hub", "none"):
        return source
    path = packaged_weights(config.name) if source == "package" else find_weights_file(source)
    return file_sha256(path)
