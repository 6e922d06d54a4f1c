"""Try a small network of every family that timm has: preparation, boundary, blocks, cut, weights.

    python -m benchmarks.families [FAMILY ...]

Random weights and small images, a few minutes on two cores. A family is a module of `timm.models`;
the smallest of the network's names that say so stands for it. Of those beyond 150 million
parameters only preparation and blocks are checked. Prints a line per fault, and how many
families pass each of five checks:

- preparation: an experiment that says nothing gets size, crop, scaling, mean and std of the
  weights;
- boundary: `head(trunk(x))` gives the network's logits;
- blocks: `layer_decay` finds two blocks at least, as many as timm does;
- cut: the network can be frozen up to one of its first blocks, or its trunk, verified by its
  logits;
- weights: a file of 1000 classes fills the trunk, tensor for tensor.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from timm.optim._param_groups import param_groups_layer_decay

from pipeline.config.experiment import Experiment, ModelConfig
from pipeline.config.train_table import OptimizerConfig
from pipeline.console import result
from pipeline.errors import ConfigError, PipelineError
from pipeline.models.network import Network
from pipeline.models.preparation import prepared
from pipeline.models.registry import build_model, build_random
from pipeline.models.split import split
from pipeline.models.timm_backbone import check_boundary
from pipeline.training.optim import rate_factors

NUM_CLASSES = 5
MOST_PARAMETERS = 150_000_000  # larger ones would take minutes each
MOST_TRIED = 8  # names of a family whose size is looked at
# From small to large, as names say it.
SMALL = (
    "test_",
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "_xs",
    "tiny",
    "_t",
    "mini",
    "_s",
    "18",
    "0",
)
SIZES_PX = (64, 96, 128, 160, 192, 224, 240, 256, 288, 299, 320, 331, 384, 448, 512)


def smallest(names: list[str]) -> str:
    """Return the first network of a family that is small enough, by what their names say."""

    def rank(name: str) -> tuple[int, int, str]:
        places = [place for place, word in enumerate(SMALL) if word in name]
        sides = [int(number) for number in re.findall(r"_(\d{3})$", name)]
        return (min(places, default=len(SMALL)), max(sides, default=0), name)

    ranked = sorted(names, key=rank)
    small = (name for name in ranked[:MOST_TRIED] if count_parameters(name) <= MOST_PARAMETERS)
    return next(small, ranked[0])


def count_parameters(name: str) -> int:
    """Count a network's parameters without drawing any."""
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=NUM_CLASSES)
    return sum(one.numel() for one in network.parameters())


def build(name: str) -> tuple[Network, int]:
    """Build a network for the smallest size that it takes; a large one without numbers, size 0."""
    config = ModelConfig(name=f"timm/{name}", weights="none")
    if count_parameters(name) > MOST_PARAMETERS:
        with torch.device("meta"):
            return build_random(config, NUM_CLASSES), 0
    for size_px in SIZES_PX:
        try:
            network = build_random(config, NUM_CLASSES, size_px=size_px)
            with torch.no_grad():
                network.module.eval()(torch.zeros(2, 3, size_px, size_px))
            return network, size_px
        except (PipelineError, AssertionError, RuntimeError, TypeError, ValueError) as error:
            reason = error
    raise reason


def check_preparation(name: str) -> None:
    """Compare an experiment that says nothing with timm."""
    values = {"name": "x", "model": {"name": f"timm/{name}", "weights": "hub"}}
    images = prepared(Experiment.model_validate(values)).images
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    found = (images.size_px, images.crop_fraction, images.mean, images.std)
    crop = min(config.crop_pct, 1.0)
    expected = (config.input_size[-1], crop, tuple(config.mean), tuple(config.std))
    assert found == expected, f"{found} for {expected}"
    scaled, said = (
        (images.interpolation, images.crop_mode),
        (config.interpolation, config.crop_mode),
    )
    assert scaled == said, f"{scaled} for {said}"


def check_blocks(name: str, network: Network) -> str:
    """Compare the smallest factor with timm's."""
    with torch.device("meta"):
        theirs_built = timm.create_model(name, num_classes=NUM_CLASSES)  # some weights have no head
        groups = param_groups_layer_decay(theirs_built, layer_decay=0.8)
    factors = rate_factors(network.module, network.is_head, OptimizerConfig(layer_decay=0.8))
    trunk = {factor for key, factor in factors.items() if not network.is_head(key)}
    theirs = min(group["lr_scale"] for group in groups)
    assert len(trunk) > 1, f"{len(trunk)} block"
    has_groups = hasattr(network.module, "group_matcher")
    gap = abs(min(trunk) / theirs - 1)
    assert not has_groups or gap < 1e-6, f"smallest factor {min(trunk):.2g}, timm's {theirs:.2g}"
    return f"{len(trunk)} blocks, {min(trunk):.1e}"


def check_cut(network: Network, size_px: int) -> str:
    """Freeze up to one of the first blocks, or else the trunk."""
    example = torch.zeros(2, 3, size_px, size_px)
    names = dict(network.module.named_modules())
    blocks = [name for name in names if re.fullmatch(r"(\w+\.)?\w*\d", name)][:3]
    for layer in (*blocks, "trunk"):
        try:
            split(network, layer, example)
        except ConfigError as error:
            fault = error
        else:
            return f"cut at {layer}"
    raise fault


def check_weights(name: str, size_px: int) -> None:
    """Save a network as it is published, and load it for other classes."""
    config = ModelConfig(name=f"timm/{name}", weights="none")
    stored = build_random(config, 1000, seed=7, size_px=size_px).module.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "published.pth"
        torch.save({"state_dict": stored}, path)
        other = config.model_copy(update={"weights": str(path)})
        network = build_model(other, NUM_CLASSES, 0, size_px)
    own = network.module.state_dict()
    wrong = [
        key for key in own if not network.is_head(key) and not torch.equal(own[key], stored[key])
    ]
    assert not wrong, f"{len(wrong)} tensors differ, the first is {wrong[0]}"


def checks_of(name: str, network: Network, size_px: int) -> dict[str, Callable[[], object]]:
    """List the checks of a network that was built; without numbers only its blocks are one."""
    checks: dict[str, Callable[[], object]] = {"blocks": partial(check_blocks, name, network)}
    if size_px:
        checks |= {
            "boundary": partial(check_boundary, network, "x", size_px),
            "weights": partial(check_weights, name, size_px),
            "cut": partial(check_cut, network, size_px),
        }
    return checks


def main(only: list[str]) -> None:
    """Check every family, or those that are named."""
    passed: dict[str, int] = {}
    families = [one for one in timm.list_modules() if timm.list_models(module=one)]
    for family in only or families:
        name = smallest(timm.list_models(module=family))
        begun = time.monotonic()
        checks: dict[str, Callable[[], object]] = {"preparation": partial(check_preparation, name)}
        notes = []
        try:
            network, size_px = build(name)
        except Exception as error:  # any fault of a network is a line
            notes.append(f"not built: {str(error).partition(chr(10))[0][:150]}")
        else:
            checks |= checks_of(name, network, size_px)
            notes.append(f"{size_px} px" if size_px else "without numbers")
        for check, run in checks.items():
            try:
                notes.append(str(run() or ""))
                passed[check] = passed.get(check, 0) + 1
            except Exception as error:  # any fault of a network is a line
                reason = str(error).partition("\n")[0] or type(error).__name__
                result(f"{family:24} {name:36} {check}: {reason[:200]}")
        seconds = time.monotonic() - begun
        told = ", ".join(filter(None, notes))
        result(f"{family:24} {name:36} {told}, {seconds:.1f} s")
    num = len(only or families)
    result(", ".join(f"{check} {count} of {num}" for check, count in passed.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
