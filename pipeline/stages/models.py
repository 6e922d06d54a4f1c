"""List the networks and profile what they cost."""

import tomllib
from importlib import resources
from typing import Any

from rich.table import Table

from pipeline.config.experiment import ModelConfig
from pipeline.console import result
from pipeline.errors import ConfigError
from pipeline.models.preparation import describe, weights_preparation
from pipeline.models.profile import Profile, images_per_second, profile
from pipeline.models.registry import Network, build_random, model_names
from pipeline.models.weights import list_weights
from pipeline.models.weights_source import PACKAGES
from pipeline.training.device import describe_device, fast_dtype, pick_device, set_up

BATCH_SIZE = 16
# LeNet's head has a fixed size; the others are tabulated as in the papers.
FIXED_SIZES = {"lenet": 200}
CIFAR_SIZE = 32
TABLE_SIZE = 224
TABLE_CLASSES = 1000


def run(name: str | None, image_size: int, num_classes: int, *, markdown: bool) -> None:
    """List the networks, profile one, or print the table of `docs/models.md`.

    Reads the installation.

    Writes nothing.

    Fails if there is no such network, or it can't take images of that size (ConfigError).
    """
    if markdown:
        result("\n".join(_markdown_lines()))
    elif name is None:
        result(_list())
    else:
        _show(name, image_size, num_classes)


def _build(name: str, image_size: int, num_classes: int) -> Network:
    return build_random(ModelConfig(name=name, weights="none"), num_classes, size_px=image_size)


def _profile(name: str, image_size: int, num_classes: int) -> Profile:
    try:
        return profile(_build(name, image_size, num_classes), image_size)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{name}: must take images of {image_size} px, fails with '{reason}'; choose another "
            "--image-size"
        ) from error


def _list() -> Table:
    table = Table(title="pipeline models")
    table.add_column("network", no_wrap=True)
    table.add_column("source")
    table.add_column("weights at hand", overflow="fold")
    for name in (*model_names(), *PACKAGES):
        source = "timm" if name in PACKAGES else "here"
        table.add_row(name, source, "\n".join(list_weights(name)) or "none")
    table.add_row("timm/<name>", "timm", "hub: timm/<name>.<tag>, for most")
    table.caption = (
        "Every network takes a file, model.weights=PATH. Whether the hub answers wasn't tried."
    )
    return table


def _show(name: str, image_size: int, num_classes: int) -> None:
    counted = _profile(name, image_size, num_classes)
    layers = Table(
        "layer", "kind", "output", "parameters", "MACs", title=f"{name}, {image_size} px"
    )
    for column in layers.columns[2:]:
        column.justify = "right"
    for layer in counted.layers:
        shape = " x ".join(map(str, layer.output_shape))
        layers.add_row(
            layer.name, layer.kind, shape, f"{layer.num_parameters:,}", f"{layer.macs:,}"
        )
    result(layers)
    result(_totals(counted))
    result(f"weights      {', '.join(list_weights(name)) or 'none'}")
    if own := weights_preparation(ModelConfig(name=name, weights="auto")):
        result(f"images       {describe(own)}, as the weights need them")
    device = pick_device()
    set_up(device)
    forward, step = images_per_second(
        _build(name, image_size, num_classes), image_size, BATCH_SIZE, device, fast_dtype(device)
    )
    result(
        f"speed        {forward:,.1f} images/s forward, {step:,.1f} images/s training "
        f"(batch {BATCH_SIZE}, {describe_device(device)})"
    )


def _totals(counted: Profile) -> str:
    with_norm = (counted.macs + counted.norm_macs) / 1e9
    return "\n".join(
        [
            f"parameters   {counted.num_parameters:,}, trainable {counted.num_trainable:,}",
            f"compute      {counted.macs / 1e9:.2f} GMACs, {2 * counted.macs / 1e9:.2f} GFLOPs "
            f"(convolutions and linear layers; {with_norm:.2f} GMACs with batch norm)",
            f"activations  {counted.num_activations / 1e6:.2f} M elements",
            f"checkpoint   {counted.checkpoint_bytes / 1e6:.1f} MB",
        ]
    )


def published_figures() -> dict[str, dict[str, Any]]:
    """Read the figures that the papers print, by network."""
    path = resources.files("pipeline").joinpath("models", "published.toml")
    return tomllib.loads(path.read_text("utf-8"))


def _markdown_lines() -> list[str]:
    papers = published_figures()
    head = [
        "# Networks",
        "",
        f"With {TABLE_CLASSES:,} classes. Parameters in millions; multiply-adds of convolutions",
        "and linear layers in billions, for one image, as torch counts them. The papers' own",
        'numbers stand beside ours; where they have v1 strides, `model.stride_on = "1x1"` gives',
        "the same. Made by `pipeline models --markdown > docs/models.md`.",
        "",
        "| network | px | parameters | GMACs | paper: parameters | paper: GMACs | source |",
        "|---|---|---|---|---|---|---|",
    ]
    names = [*model_names(), *PACKAGES]
    return [*head, *(_markdown_row(name, papers.get(name, {})) for name in names)]


def _markdown_row(name: str, paper: dict[str, Any]) -> str:
    size = FIXED_SIZES.get(name, CIFAR_SIZE if name.endswith("_cifar") else TABLE_SIZE)
    counted = _profile(name, size, TABLE_CLASSES)
    cells = [
        f"`{name}`",
        str(size),
        f"{counted.num_parameters / 1e6:.2f}",
        f"{counted.macs / 1e9:.2f}",
        str(paper.get("parameters", "")),
        str(paper.get("gmacs", "")),
        paper.get("source", ""),
    ]
    return f"| {' | '.join(cells)} |"
