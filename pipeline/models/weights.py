"""Load a network's weights from the source that `model.weights` names, or list its sources."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.models import model_entrypoint
from torch import nn

from pipeline.config.experiment import ModelConfig
from pipeline.console import say, warn
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.hub import fetch, find_cached, find_torch_hub, hub_repository
from pipeline.models.tensors import Tensors, read_tensors, strip_prefixes
from pipeline.models.weights_source import (
    PACKAGES,
    chosen_source,
    find_weights_file,
    has_packaged_weights,
    name_by_position,
    packaged_weights,
)
from pipeline.store.freshness import file_sha256

TIMM = "timm/"
# Tensors that grow with the image.
_SIZED = re.compile("pos_embed|position|rel_|relative|attn_mask|attention_bias|rope")
# Branches that only serve a training, and parts of the scripts around a network.
_BRANCHES = re.compile("aux|criterion|loss|decode|proj_head|projector|predictor|mask_token", re.I)
_COUNTER = "num_batches_tracked"
# What timm's translations of foreign names raise on names that are foreign to them, too.
_UNTRANSLATABLE = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Target:
    """A network to be filled.

    Attributes:
        name: Its registry name.
        module: It, with random weights.
        is_head: Tells by a tensor's name whether it is the head's.
        seed: Seed of the random weights.
        wants_head: Whether the head is of any use; if not, nothing is said about it.
    """

    name: str
    module: nn.Module
    is_head: Callable[[str], bool]
    seed: int
    wants_head: bool = True


def dropped_head(trunk: nn.Module) -> Callable[[str], bool]:
    """Tell by a tensor's name whether it is of the head that a timm network was built without."""
    classifiers = getattr(trunk, "pretrained_cfg", {}).get("classifier") or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    # `head.fc`: what else is in `head` and has no place any more went with it.
    prefixes = tuple(name.partition(".")[0] + "." for name in names)
    own = trunk.state_dict().keys()
    return lambda name: name.startswith(prefixes) and name not in own


@dataclass(frozen=True)
class Source:
    """A file of weights.

    Attributes:
        path: The file.
        kind: "package", "hub" or "file".
        title: How a line names it.
        remedy: What to do if the file is no good; ends an error.
    """

    path: Path
    kind: str
    title: str
    remedy: str


@dataclass
class StateDictLoader:
    """Loads one file into one network; `notes` tell what became of the head."""

    target: Target
    source: Source
    notes: list[str] = field(default_factory=list)

    def load(self) -> None:
        """Read the file, match its tensors with the network's, and copy them.

        Raises:
            ArtifactError: The file is damaged or holds another network's tensors.
        """
        own = self.target.module.state_dict()
        tensors = self._named_as(own, read_tensors(self.source.path, self.source.remedy))
        tensors = self._without_foreign_head(own, tensors)
        self._check_shapes(own, tensors)
        self._check_names(own, tensors)
        self._check_numbers(own, tensors)
        # Not strict: the head may be left out, and old files lack the batch norms' counters.
        self.target.module.load_state_dict(tensors, strict=False)

    def _named_as(self, own: Tensors, tensors: Tensors) -> Tensors:
        """Give the tensors the network's names where they are a known relative's."""
        if self.source.kind == "package":
            trunk = [(name, own[name]) for name in own if not self.target.is_head(name)]
            return name_by_position(tensors, trunk, self.source.path)
        tensors, others = strip_prefixes(tensors, own)
        if others:
            self.notes.append(
                f"of it {len(others)} tensors of other parts are not used, the first is "
                f"'{others[0]}'"
            )
        if self.target.name == "resnet50_attention" and "conv1.weight" in tensors:  # a ResNet50's
            return {f"trunk.{name}": tensors[name] for name in tensors if name[:3] != "fc."}
        if self.target.name.startswith(TIMM) and not self._fits(own, tensors):
            translated = self._translations(tensors)
            return next((one for one in translated if self._fits(own, one)), tensors)
        return tensors

    def _fits(self, own: Tensors, tensors: Tensors) -> bool:
        needed = (
            name for name in own if not self.target.is_head(name) and not name.endswith(_COUNTER)
        )
        return all(name in tensors and tensors[name].shape == own[name].shape for name in needed)

    def _translations(self, tensors: Tensors) -> Iterator[Tensors]:
        """Let timm translate other libraries' names, by what it keeps beside the network for that.

        It has one such function for most families; torchvision's names may have one of their own.
        """
        network: Any = self.target.module
        rooms = {type(network).__module__: None}
        if architecture := getattr(network, "pretrained_cfg", {}).get("architecture"):
            rooms[model_entrypoint(architecture).__module__] = None
        for room in rooms:
            for name, function in inspect.getmembers(sys.modules[room], inspect.isfunction):
                if "filter" not in name or function.__module__ != room:
                    continue
                arguments = (dict(tensors), network)[: len(inspect.signature(function).parameters)]
                try:
                    yield dict(function(*arguments))
                except _UNTRANSLATABLE:  # what doesn't fit is said by name
                    continue

    def _without_foreign_head(self, own: Tensors, tensors: Tensors) -> Tensors:
        """Drop the file's head where the network's is another."""
        stored = {name: tensors[name] for name in tensors if self.target.is_head(name)}
        wanted = {name: own[name] for name in own if self.target.is_head(name)}
        drawn = f"drawn with seed {self.target.seed}"
        if self.target.wants_head and stored.keys() == wanted.keys():
            counts = ((stored[name].shape[:1], wanted[name].shape[:1]) for name in wanted)
            other = next(((found, needed) for found, needed in counts if found != needed), None)
            if other is None:
                return tensors
            found, needed = (",".join(map(str, shape)) for shape in other)
            self.notes.append(f"its head of {found} classes is dropped, one of {needed} is {drawn}")
        elif self.target.wants_head:
            self.notes.append(f"without its head, one is {drawn}")
        return {name: tensor for name, tensor in tensors.items() if name not in stored}

    def _check_shapes(self, own: Tensors, tensors: Tensors) -> None:
        for name, tensor in own.items():
            if name in tensors and tensors[name].shape != tensor.shape:
                is_sized = _SIZED.search(name)
                remedy = "set images.size_px to that of these weights, or " if is_sized else ""
                raise ArtifactError(
                    f"{self.source.path}: tensor '{name}' must have the shape "
                    f"{tuple(tensor.shape)} of {self.target.name}, has "
                    f"{tuple(tensors[name].shape)}; {remedy}use weights of this network"
                )

    def _check_numbers(self, own: Tensors, tensors: Tensors) -> None:
        """Refuse numbers that no training leaves, or that only lose something by being copied."""
        for name in own.keys() & tensors.keys():
            tensor, where = tensors[name], f"{self.source.path}: tensor '{name}'"
            is_lossless = tensor.is_floating_point() and tensor.layout == torch.strided
            if own[name].is_floating_point() and not is_lossless:
                raise ArtifactError(
                    f"{where} must hold floating-point numbers, all of them, holds {tensor.dtype} "
                    f"({tensor.layout}); use weights that are neither quantised nor sparse"
                )
            if tensor.is_floating_point() and tensor.isnan().any():
                raise ArtifactError(
                    f"{where} must hold numbers, holds NaN: its training has failed; "
                    "use weights from before that"
                )

    def _check_names(self, own: Tensors, tensors: Tensors) -> None:
        where, network = self.source.path, self.target.name
        needed = [name for name in own if not self.target.is_head(name)]
        missing = [name for name in needed if name not in tensors and not name.endswith(_COUNTER)]
        if missing:
            raise ArtifactError(
                f"{where}: must hold the {len(needed)} tensors of {network} below its head, lacks "
                f"{len(missing)}, the first is '{missing[0]}'; use weights of this network"
            )
        others = [name for name in tensors if name not in own]
        if not others:
            return
        found = f"holds {len(others)} others, the first is '{others[0]}'"
        are_branches = all(_BRANCHES.match(name) for name in others)
        if not are_branches and (self.source.kind != "hub" or not network.startswith(TIMM)):
            raise ArtifactError(
                f"{where}: must hold tensors of {network} alone, {found}; use weights of this "
                "network"
            )
        # A branch, or the network's own repository: what has no place served its training.
        warn(f"weights {network}: {self.source.title} {found}; not used")


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
        if not find_cached(repository) and (older := find_torch_hub(name)):
            return Source(older, weights, f"torch hub's cache, {older.name}", "delete it")
        path = fetch(repository)
        title = f"hub {repository.repo_id}, {path.name}"
        return Source(path, weights, title, "delete it and run the same command again")
    path = find_weights_file(weights)
    remedy = "save the state dict alone, best as .safetensors"
    return Source(path, "file", f"file {path}", remedy)
