"""Weights of a network, from the source that `model.weights` names."""

from pipeline.config import ModelConfig
from pipeline.console import say
from pipeline.files.freshness import file_sha256
from pipeline.models.fitting import Fit, Source, Target, dropped_head
from pipeline.models.hub import fetch, hub_repository
from pipeline.models.identity import chosen_source
from pipeline.models.packages import PACKAGES, packaged_weights
from pipeline.models.weights_file import find_weights_file

__all__ = ["PACKAGES", "Target", "dropped_head", "load_weights", "packaged_weights"]


def load_weights(target: Target, config: ModelConfig) -> str:
    """Fill a network from the source that an experiment names, and say so in one line.

    Args:
        target: The network, its random weights drawn.
        config: Which weights.

    Returns:
        What tells these weights from others: the file's sha256, or the seed.

    Raises:
        ConfigError: There are no such weights for this network.
        ArtifactError: They can't be had now, are damaged or don't fit.
    """
    if config.weights == "none":
        drawn = f"none, drawn with seed {target.seed}"
        say(f"weights {target.name}: {drawn}")
        return drawn
    source = _resolve(config)
    fit = Fit(target, source)
    fit.load()
    say("; ".join([f"weights {target.name}: {source.title}", *fit.notes]))
    return file_sha256(source.path)


def _resolve(config: ModelConfig) -> Source:
    """Find the file, downloading it if need be."""
    name, weights = config.name, chosen_source(config)
    if weights == "package":
        path = packaged_weights(name)
        return Source(path, weights, f"package {PACKAGES[name]}", "reinstall the package")
    if weights == "hub":
        repository = hub_repository(name)
        path = fetch(repository)
        title = f"hub {repository.repo_id}, {path.name}"
        return Source(path, weights, title, "delete it and run the same command again")
    path = find_weights_file(weights)
    remedy = "save the state dict alone, best as .safetensors"
    return Source(path, "file", f"file {path}", remedy)
