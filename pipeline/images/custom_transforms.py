"""Build and check the custom recipe: Albumentations transforms as an experiment lists them."""

import inspect
import random
import warnings
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np
from pydantic import ValidationError

from pipeline.config.experiment import ImageConfig, TransformConfig
from pipeline.config.strict import did_you_mean, parse
from pipeline.errors import ConfigError
from pipeline.images.auto_augment import BY_NAME
from pipeline.images.decode import ByteImage
from pipeline.images.working_copy import MAX_ASPECT, working_side_px

# What is outside this subpackage is an abstract base, or makes tensors.
_KNOWN: dict[str, Any] = {
    name: kind
    for name, kind in vars(A).items()
    if inspect.isclass(kind)
    and name != "Lambda"  # of functions, which no file holds
    and issubclass(kind, A.BasicTransform)
    and kind.__module__.startswith("albumentations.augmentations.")
} | BY_NAME


# What draws among transforms of its own.
_COMPOSITIONS: dict[str, Any] = {
    "OneOf": A.OneOf,
    "SomeOf": A.SomeOf,
    "Sequential": A.Sequential,
}

Transform = Any  # A.BasicTransform or A.BaseCompose: the library has no types


def build_transforms(configs: Sequence[TransformConfig]) -> list[Transform]:
    """Build the transforms of a custom recipe.

    Raises:
        ConfigError: A transform doesn't exist, or a parameter of it is unknown or wrong.
    """
    return [_build(config, _place(number, config)) for number, config in enumerate(configs)]


def check_transforms(configs: Sequence[TransformConfig], images: ImageConfig) -> None:
    """Refuse a custom recipe that doesn't make views of the working size from every image.

    It is tried on noise of several shapes, once with all transforms and once without those that
    are left to chance.

    Raises:
        ConfigError: A transform can't be built, needs more than an image (masks, boxes), or gives
            anything but pixels; or the images at the end have another size.
    """
    side = working_side_px(images)
    for height, width in ((12, 16), (side, side * 4 // 3), (side * MAX_ASPECT, side)):
        for with_chance in (True, False):
            _try_out(configs, images.size_px, (height, width, 3), with_chance=with_chance)


def _place(number: int, config: TransformConfig) -> str:
    return f"views.transforms.{number}, '{config.name}'"


def _build(config: TransformConfig, where: str) -> Transform:
    kinds = _KNOWN | _COMPOSITIONS
    if config.name not in kinds:
        raise ConfigError(
            f"{where}: must be an image transform of Albumentations, there is none of this name"
            f"{did_you_mean(config.name, kinds)}"
        )
    kind = kinds[config.name]
    known = inspect.signature(kind).parameters
    given = dict(config.model_extra or {})
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: unknown parameter '{name}'{did_you_mean(name, known)}")
    if config.p is not None:
        given["p"] = config.p
    if config.name in _COMPOSITIONS:
        given["transforms"] = _build_parts(given.get("transforms"), where)
        _check_draw(given, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it may take a default instead of a value, and warn
            built: Transform = kind(**given)
            return built
    except (ValueError, TypeError, Warning) as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def _build_parts(listed: Any, where: str) -> list[Transform]:
    """Build the transforms that a composition draws from."""
    if not isinstance(listed, list) or not listed or not all(isinstance(x, dict) for x in listed):
        raise ConfigError(f"{where}: 'transforms' must be a list of tables, each with a 'name'")
    configs = [parse(TransformConfig, one, f"{where}, {n}") for n, one in enumerate(listed)]
    return [_build(one, f"{where}, {n}, '{one.name}'") for n, one in enumerate(configs)]


def _check_draw(given: dict[str, Any], where: str) -> None:
    """Refuse a composition that would draw nothing: the library takes it, or fails at an image."""
    parts, n = given["transforms"], given.get("n", 1)
    if type(n) is not int or n < 1 or (n > len(parts) and not given.get("replace")):
        raise ConfigError(
            f"{where}: 'n' must be a whole number from 1 to {len(parts)}, of the transforms that "
            f"it draws from, is {n}"
        )
    if not any(part.p for part in parts):
        raise ConfigError(f"{where}: a transform must have a 'p' above 0, all have 0")


def _explain(error: Exception) -> str:
    """Say in one line what Albumentations has against a transform's parameters."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        fault = cause.errors()[0]
        message = fault["msg"].removeprefix("Value error, ")
        # A rule about several parameters has no place.
        return f"parameter '{fault['loc'][0]}': {message}" if fault["loc"] else _one_line(message)
    return _one_line(error)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _try_out(
    configs: Sequence[TransformConfig], size_px: int, shape: tuple[int, ...], *, with_chance: bool
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    image.flags.writeable = False  # as an image from the cache
    for number, transform in enumerate(build_transforms(configs)):
        if transform.p < 1 and not with_chance:
            continue
        where = _place(number, configs[number])
        for part in _parts(transform):  # each, whatever the composition would draw
            _applied(part, image, where, shape)
        image = _applied(transform, image, where, shape)
    if image.shape[:2] != (size_px, size_px):
        found = " x ".join(map(str, image.shape[:2]))
        height, width, _ = shape
        raise ConfigError(
            f"views.transforms: must end with {size_px} x {size_px} pixels, end with {found} for "
            f"an image of {height} x {width}; add a Resize or RandomResizedCrop with p = 1"
        )


def _parts(transform: Transform) -> list[Transform]:
    """List the transforms of a composition, all the way down; none of a plain transform."""
    parts = list(transform.transforms) if isinstance(transform, A.BaseCompose) else []
    return parts + [deeper for part in parts for deeper in _parts(part)]


def _applied(
    transform: Transform, image: ByteImage, where: str, shape: tuple[int, ...]
) -> ByteImage:
    """Apply a transform for certain to what became of an image of a shape.

    Raises:
        ConfigError: It fails, or gives anything but pixels.
    """
    certain = A.Compose([transform])
    certain.set_random_state(np.random.default_rng(0), random.Random(0))
    chance, transform.p = transform.p, 1.0
    try:
        applied: ByteImage = certain(image=image)["image"]
    except Exception as error:  # whatever a library's transform raises, it can't be used
        height, width, _ = shape
        raise ConfigError(
            f"{where}: must work on any image alone, fails on one of {height} x {width} pixels: "
            f"{_one_line(error)}"
        ) from error
    finally:
        transform.p = chance
    if applied.dtype != np.uint8 or applied.ndim != 3 or applied.shape[-1] != 3:
        raise ConfigError(
            f"{where}: must give uint8 pixels of 3 channels, gives {applied.dtype} of shape "
            f"{applied.shape}; mean and std belong to [images]"
        )
    return applied
