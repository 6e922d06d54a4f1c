"""An experiment says how to train: one TOML file that holds only what differs from the defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from pipeline.config.competition import Name
from pipeline.config.strict import StrictModel, parse
from pipeline.config.train_table import Fraction, Positive, Probability, TrainConfig

PSEUDO_SUFFIX = "-pseudo"  # of the name of an experiment that learns from its own predictions
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

    `drop_path`: probability that the last residual branch is skipped in training, rising linearly
    from 0 at the first (Huang et al. 2016). `dropout`: that a feature before the head is.
    """

    name: str
    weights: Annotated[str, AfterValidator(_checked_weights)] = "package"
    shortcut: Literal["A", "B", "C"] | None = None
    stride_on: Literal["3x3", "1x1"] | None = None
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ImageConfig(StrictModel):
    """How an image becomes the network's input.

    The short side is scaled to `size_px / crop_fraction` and the centre cropped to a square of
    `size_px`; `(pixel / 255 - mean) / std` follows, per channel.
    """

    size_px: Annotated[int, Field(ge=16, le=2048)] = 224
    crop_fraction: Fraction = 0.875
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)


class TransformConfig(StrictModel):
    """One transform of Albumentations: its name, its probability and its own parameters."""

    model_config = ConfigDict(extra="allow")

    name: str
    p: Probability = 1.0


class ViewConfig(StrictModel):
    """The variants of an image.

    Predictions average its plain view and, with `flip`, the mirrored one. A probe's head learns on
    these and on `num_augmented` views drawn by the recipe. Fine-tuning draws a new view each epoch,
    or with `cycle` so many, over and over: what a frozen layer makes of them is then computed once.

    `recipe`: a shipped one, or "custom": the list `transforms`, whose last size must be the
    working one.
    """

    flip: bool = True
    num_augmented: Annotated[int, Field(ge=0, le=64)] = 1
    cycle: Annotated[int, Field(ge=1, le=1000)] | None = None
    recipe: Literal[
        "none", "light", "medium", "heavy", "source-cifar", "source-catdog", "custom"
    ] = "light"
    transforms: tuple[TransformConfig, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.recipe == "custom") != bool(self.transforms):
            raise ValueError("views.transforms must be given where views.recipe is 'custom', only")
        return self


class PseudoLabelConfig(StrictModel):
    """Test images that join training: those of whose class another experiment is this sure."""

    experiment: Name
    threshold: Fraction


class DataConfig(StrictModel):
    """Which images are used: all, or a cut of so many train and test images, to try things."""

    limit: Annotated[int, Field(ge=10)] | None = None
    pseudo_label: PseudoLabelConfig | None = None


class HeadConfig(StrictModel):
    """The linear head on standardised features.

    `kind`: "logistic", a regression with the penalty `l2` per training row and `max_steps` of
    L-BFGS; or "lda", a linear discriminant analysis, its covariance shrunk by `shrinkage`, without
    which it can't be inverted where features are more than rows.
    """

    kind: Literal["logistic", "lda"] = "logistic"
    l2: Positive = 0.03
    max_steps: Annotated[int, Field(ge=1)] = 200
    shrinkage: Annotated[float, Field(ge=0.001, le=1)] = 0.5


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

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        growth = self.train.progressive
        if growth and growth.from_px >= self.images.size_px:
            raise ValueError("train.progressive.from_px must be less than images.size_px")
        if growth and self.views.recipe == "custom":
            raise ValueError(
                "train.progressive must be left out where views.recipe is 'custom', whose "
                "transforms have a size of their own"
            )
        return self

    def at(self, key: str) -> Any:
        """Return the value of a dotted key; None below a table that is left out."""
        value: Any = self
        for name in key.split("."):
            value = getattr(value, name, None)
        return value

    def changed(self, changes: Mapping[str, Any], where: str) -> "Experiment":
        """Return an experiment with other values at dotted keys, checked as a whole.

        Raises:
            ConfigError: Such an experiment is impossible; `where` begins the message.
        """
        values = self.model_dump(mode="json")
        for key, value in changes.items():
            *tables, last = key.split(".")
            table = values
            for name in tables:
                table[name] = table[name] or {}  # an optional table that was left out
                table = table[name]
            table[last] = value
        return parse(Experiment, values, where)
