"""Find how images are prepared for weights: size, crop, scaling and colours of their training.

timm keeps that beside its networks, a repository of the hub or a folder of weights in `config.json`
(key `pretrained_cfg`), and an experiment here in its own `config.json`.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.experiment import WEIGHTS_SOURCES, Experiment, ImageConfig, ModelConfig
from pipeline.console import say, warn
from pipeline.errors import ArtifactError
from pipeline.models.hub import network_config, read_config
from pipeline.models.weights_source import find_weights_file

# Differences of mean or std below this are those of rounding and of ImageNet's subsets.
TOLERANCE = 0.02


def prepared(experiment: Experiment, *, is_told: bool = False) -> Experiment:
    """Fill in what the recipe leaves to its weights; the result leaves nothing to them.

    Args:
        experiment: As its file says.
        is_told: Whether to log what is taken from the weights, and to warn of what contradicts
            them.

    Raises:
        ConfigError: There are no such weights, or timm has no such network.
        ArtifactError: A repository can't be had, or describes no network of timm.
    """
    images = experiment.images
    own = weights_preparation(experiment.model)
    if own is None:
        return experiment
    left = {key: getattr(own, key) for key in images.left_to_weights}
    filled = ImageConfig(**(images.model_dump() | left))
    if is_told and left:
        say(f"{experiment.name}: images as the weights need them: {describe(filled)}")
    if is_told:
        _warn_of_other_colours(experiment, own)
    return experiment.model_copy(update={"images": filled})


def weights_preparation(model: ModelConfig) -> ImageConfig | None:
    """Return the preparation that belongs to a network's weights; None where nothing says so.

    Raises:
        ConfigError: As `prepared`.
        ArtifactError: As `prepared`.
    """
    if model.weights == "none":
        return None
    if model.weights not in WEIGHTS_SOURCES:
        file = find_weights_file(model.weights)
        if recorded := _recorded_images(file.parent.parent / "config.json"):  # of a fold here
            return recorded
        beside = file.parent / "config.json"
        if beside.is_file() and _is_timm(beside):
            return _of_timm(read_config(beside), str(beside))
    config = network_config(model.name)
    return _of_timm(config, model.name) if config else None


def describe(images: ImageConfig) -> str:
    """Format a preparation in one line."""
    mean, std = (" ".join(f"{one:.3g}" for one in three) for three in (images.mean, images.std))
    mode = "" if images.crop_mode == "center" else f" by {images.crop_mode}"
    return (
        f"{images.size_px} px, crop {images.crop_fraction:g}{mode}, {images.interpolation}, "
        f"mean {mean}, std {std}"
    )


def _of_timm(config: dict[str, Any], where: str) -> ImageConfig:
    """Translate timm's words."""
    bilinear = config.get("interpolation") == "bilinear"
    try:
        return ImageConfig(
            size_px=config["input_size"][-1],
            # Three of VOLO's are above 1, a border around the picture: the whole of it, then.
            crop_fraction=min(float(config["crop_pct"]), 1.0),
            mean=_three(config["mean"]),
            std=_three(config["std"]),
            interpolation="bilinear" if bilinear else "bicubic",
            crop_mode=config.get("crop_mode") or "center",
        )
    except (LookupError, TypeError, ValueError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else repr(error)
        raise ArtifactError(
            f"{where}: must say how images are prepared (input_size, crop_pct, mean, std), doesn't "
            f"({fault}); correct its config.json"
        ) from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _is_timm(path: Path) -> bool:
    """Tell timm's description from others that are called the same."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "architecture" in found


def _recorded_images(path: Path) -> ImageConfig | None:
    """Return what an experiment here has recorded."""
    try:
        return ImageConfig.model_validate_json(
            json.dumps(json.loads(path.read_text("utf-8"))["images"])
        )
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _warn_of_other_colours(experiment: Experiment, own: ImageConfig) -> None:
    images = experiment.images
    pairs = zip((*images.mean, *images.std), (*own.mean, *own.std), strict=True)
    set_here = {"mean", "std"} - set(images.left_to_weights)
    if set_here and any(abs(given - right) > TOLERANCE for given, right in pairs):
        keys = " and ".join(f"images.{key}" for key in sorted(set_here))
        warn(
            f"{experiment.name}: {keys} contradict the weights, which were trained with mean "
            f"{list(own.mean)}, std {list(own.std)}; leave them out to take these"
        )
