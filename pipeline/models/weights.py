"""Load a network's weights from the source that `model.weights` names, or list its sources."""

from pipeline.config.experiment import ModelConfig
from pipeline.console import say
from pipeline.errors import ConfigError
from pipeline.models.hub import fetch, find_cached, hub_repository
from pipeline.models.state_dict_loading import Source, StateDictLoader, Target
from pipeline.models.weights_source import (
    PACKAGES,
    chosen_source,
    find_weights_file,
    has_packaged_weights,
    packaged_weights,
)
from pipeline.store.freshness import file_sha256


def list_weights(name: str) -> list[str]:
    """List the package and the hub's repository that hold weights for a network.

    Only the hub's cache on this machine is looked into: a repository may be out of reach, or gone.
    A file of one's own serves every network.
    """
    found = []
    if name in PACKAGES:
        state = "" if has_packaged_weights(name) else " (not installed)"
        found.append(f"package {PACKAGES[name]}{state}")
    try:
        repository = hub_repository(name)
    except ConfigError:  # timm knows of none
        return found
    state = " (in the cache)" if find_cached(repository) else ""
    return [*found, f"hub: {repository.repo_id}{state}"]


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
    loader = StateDictLoader(target, source)
    loader.load()
    say("; ".join([f"weights {target.name}: {source.title}", *loader.notes]))
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
