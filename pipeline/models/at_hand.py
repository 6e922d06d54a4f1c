"""Which weights a network could be given, as far as can be told without asking the network."""

from pipeline.errors import ConfigError
from pipeline.models.hub import find_cached, hub_repository
from pipeline.models.packages import PACKAGES, has_packaged_weights


def weights_at_hand(name: str) -> list[str]:
    """Name the package and the hub's repository that hold weights for a network.

    A repository may be out of reach, or gone: only the hub's cache on this machine is looked into.
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
