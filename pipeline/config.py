"""An experiment says how to train: one TOML file that holds only what differs from the defaults."""

import tomllib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pipeline.competition import Name
from pipeline.errors import ConfigError
from pipeline.strict import StrictModel, did_you_mean, known_keys, locate_toml, parse, read_toml

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

WEIGHTS_SOURCES = ("package", "hub", "auto", "none")


def _checked_weights(value: str) -> str:
    """Tell a misspelled word from a path."""
    looks_like_path = any(mark in value for mark in "./\\~")
    if value not in WEIGHTS_SOURCES and not looks_like_path:
        raise ValueError(
            f"must be one of {', '.join(WEIGHTS_SOURCES)}, or the path of a file or ./folder"
        )
    return value


class ModelConfig(StrictModel):
    """The network: a registry name, and where its weights come from.

    `weights`: "package", one that is installed; "hub", the Hugging Face hub or its mirror in
    HF_ENDPOINT; "auto", the package where it is installed, else the hub; "none", drawn with the
    seed; or the path of a file or folder. "auto" isn't the default: two machines may differ in what
    it finds, and so would their results.

    Of the ResNets written here, two parts can be chosen; left out, they are the named network's.
    `shortcut` where shapes change: "A" pads with zeros, "B" projects, "C" projects everywhere.
    `stride_on`: the convolution of a bottleneck that halves the map, "1x1" in the paper (v1).
    """

    name: str
    weights: Annotated[str, AfterValidator(_checked_weights)] = "package"
    shortcut: Literal["A", "B", "C"] | None = None
    stride_on: Literal["3x3", "1x1"] | None = None


class ImageConfig(StrictModel):
    """How an image becomes the network's input.

    The short side is scaled to `size_px / crop_fraction` and the centre cropped to a square of
    `size_px`; `(pixel / 255 - mean) / std` follows, per channel.
    """

    size_px: Annotated[int, Field(ge=16, le=2048)] = 224
    crop_fraction: Fraction = 0.875
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)


class ViewConfig(StrictModel):
    """The variants of an image.

    Predictions average its plain view and, with `flip`, the mirrored one. A probe's head learns on
    these and on `num_augmented` views drawn by the recipe; fine-tuning draws a new one each epoch.
    """

    flip: bool = True
    num_augmented: Annotated[int, Field(ge=0, le=64)] = 1
    recipe: Literal["light", "medium", "heavy", "source-cifar", "source-catdog"] = "light"


class DataConfig(StrictModel):
    """Which images are used: all, or a cut of so many train and test images, to try things."""

    limit: Annotated[int, Field(ge=10)] | None = None


class HeadConfig(StrictModel):
    """The linear head: its L2 penalty, per training row on standardised features."""

    l2: Positive = 0.03
    max_steps: Annotated[int, Field(ge=1)] = 200


class OptimizerConfig(StrictModel):
    """The optimizer and its learning rate at the schedule's peak."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class ScheduleConfig(StrictModel):
    """How the learning rate moves: a linear warm-up, then "constant" or "cosine" down to 0."""

    name: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0


class TrainConfig(StrictModel):
    """Training by gradient descent.

    `freeze = "trunk"` leaves all but the head as the weights brought it, batch norm included.
    """

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 32
    freeze: Literal["none", "trunk"] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()


class Experiment(StrictModel):
    """Everything that decides an experiment's result, besides the data and the folds.

    `method`: "probe" fits a linear head per fold on features of the frozen trunk, `head` says
    how; "finetune" trains the network fold by fold, `train` says how.
    """

    name: Name
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    method: Literal["probe", "finetune"] = "probe"
    data: DataConfig = DataConfig()
    model: ModelConfig
    images: ImageConfig = ImageConfig()
    views: ViewConfig = ViewConfig()
    head: HeadConfig = HeadConfig()
    train: TrainConfig = TrainConfig()


def load_experiment(name_or_path: str, overrides: list[str]) -> Experiment:
    """Load a shipped experiment by its name, or any by the path of its TOML file.

    Args:
        name_or_path: `lite0-probe` or `my/experiment.toml`.
        overrides: `key=value` with dotted keys; values are TOML, bare words are text.

    Raises:
        ConfigError: There is no such experiment, its file is faulty, or an override is.
    """
    path = locate_toml(name_or_path, "experiments")
    values: dict[str, Any] = {"name": path.stem, **read_toml(path)}
    for override in overrides:
        _apply(values, override)
    return parse(Experiment, values, path.name)


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    known = known_keys(Experiment)
    if not equals:
        raise ConfigError(f"--set {override}: must be KEY=VALUE, has no '='")
    if key not in known:
        raise ConfigError(f"--set {override}: unknown key '{key}'{did_you_mean(key, known)}")
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: '{table}' must be a table, is {values!r}")
    values[last] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
