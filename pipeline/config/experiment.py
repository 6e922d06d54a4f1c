"""Describe an experiment, how to train: one TOML file with only what differs from the defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from pipeline.config.competition import Competition, Name
from pipeline.config.strict import OrOff, Table, parse
from pipeline.config.train_table import Fraction, Positive, Probability, TrainConfig

WEIGHTS_SOURCES = ("package", "hub", "auto", "none")


def _checked_weights(value: str) -> str:
    """Tell a misspelled word from a path."""
    looks_like_path = any(mark in value for mark in "./\\~")
    if value not in WEIGHTS_SOURCES and not looks_like_path:
        raise ValueError(
            f"must be one of {', '.join(WEIGHTS_SOURCES)}, or the path of a file or ./folder"
        )
    return value


class ModelConfig(Table):
    """The network: its name, where its weights come from, and what is changed of it."""

    name: str
    """A network of `pipeline models`: one written here, or `timm/<name>`, any of timm's, which may
    have a tag (`timm/resnet50.a1_in1k`) or be a hub's (`timm/hf-hub:owner/name`)."""

    weights: Annotated[str, AfterValidator(_checked_weights)] = "package"
    """"package", one that is installed; "hub", the Hugging Face hub or its mirror in HF_ENDPOINT;
    "auto", the package where it is installed, else the hub; "none", drawn with the seed; or the
    path of a file or folder. With "auto" two machines may find different weights, and so get
    different results."""

    shortcut: Literal["A", "B", "C"] | None = None
    """Of the ResNets written here, where shapes change: "A" pads with zeros, "B" projects, "C"
    projects everywhere; left out, the network's own."""

    stride_on: Literal["3x3", "1x1"] | None = None
    """Of the ResNets written here, the convolution of a bottleneck that halves the map: "1x1" in
    the paper (v1); left out, the network's own."""

    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that the last residual branch is skipped in training, rising linearly from 0 at
    the first (stochastic depth, Huang et al. 2016)."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a feature before the head is set to 0 in training."""

    pool: Literal["token+mean"] | None = None
    """Of vision transformers that pool by their class token: "token+mean" has the mean of all
    places beside it, as in the linear probes of DINOv2; left out, the network's own."""

    beside: tuple[str, ...] = ()
    """Further networks, named as `name`, whose features a probe's head reads beside its own. Their
    weights come from the same kind of source; each sees the pixels in the colours that it was
    trained with."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.beside and self.weights not in WEIGHTS_SOURCES:
            raise ValueError("model.beside must be left out where model.weights is a file")
        if len({self.name, *self.beside}) <= len(self.beside):
            raise ValueError("model.beside must name networks once each, and not model.name")
        return self

    @property
    def each(self) -> "list[ModelConfig]":
        """The networks that are named, one by one."""
        names = (self.name, *self.beside)
        return [self.model_copy(update={"name": name, "beside": ()}) for name in names]


class ImageConfig(Table):
    """Size, crop and normalisation of the network's input.

    Unless `crop_mode` says otherwise, the short side is scaled to `size_px / crop_fraction` and the
    centre cropped to a square of `size_px`; `(pixel / 255 - mean) / std` follows, per channel. What
    is left out is as in the training of the weights; the defaults are for networks without weights.
    """

    size_px: Annotated[int, Field(ge=16, le=2048)] = 224
    """Height and width in pixels of what the network sees; left out, the weights' own."""

    crop_fraction: Fraction = 0.875
    """Which part of the short side the square is: less cuts off a wider border; left out, the
    weights' own."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """What is subtracted from red, green and blue in [0, 1]; left out, the weights' own."""

    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """What they are divided by then; left out, the weights' own."""

    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """How the short side is scaled: "bicubic" keeps more contrast, "bilinear" less; left out, the
    weights' own."""

    crop_mode: Literal["center", "squash", "border"] = "center"
    """What becomes of an oblong image in plain views: "center" cuts its ends off, "squash" scales
    both sides to `size_px / crop_fraction`, "border" scales the long side to that and fills up with
    `mean`; left out, the weights' own."""

    @property
    def left_to_weights(self) -> list[str]:
        """The keys that the recipe doesn't set."""
        return [key for key in type(self).model_fields if key not in self.model_fields_set]


class TransformConfig(Table):
    """One transform of Albumentations: its name, its probability and its own parameters."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Its class in Albumentations, as `RandomResizedCrop`, or torchvision's "RandAugment",
    "TrivialAugment", "AugMix" and "RandomErasing"; "OneOf", "SomeOf" and "Sequential" have a list
    `transforms` of their own."""

    p: Probability | None = None
    """Probability that it is applied to an image; left out, the transform's own default, which is
    0.5 for most."""


class ViewConfig(Table):
    """The variants of an image: those that predictions average, those that are learned from."""

    flip: bool = True
    """Whether predictions average the plain view and the mirrored one; a probe learns from both."""

    horizontal_flip: bool = True
    """Whether any view may be mirrored: where it is false, neither predictions nor recipes mirror,
    whatever `flip`, `recipe` and `transforms` say. A competition whose `horizontal_flip` is false
    sets it."""

    num_augmented: Annotated[int, Field(ge=0, le=64)] = 1
    """How many views drawn by the recipe a probe's head learns from besides."""

    cycle: OrOff[Annotated[int, Field(ge=1, le=1000)]] = None
    """Fine-tuning draws so many views of an image, over and over, so that what frozen layers make
    of them is computed once; left out or "off", a new one each epoch."""

    recipe: Literal[
        "none", "light", "trivial", "medium", "heavy", "source-cifar", "source-catdog", "custom"
    ] = "light"
    """The augmentation: a shipped recipe, or "custom", the list `transforms`."""

    transforms: tuple[TransformConfig, ...] = ()
    """Transforms in the order of their application; the last size must be the network's."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.recipe == "custom") != bool(self.transforms):
            raise ValueError("views.transforms must be given where views.recipe is 'custom', only")
        return self


class DataConfig(Table):
    """The images that are used."""

    limit: Annotated[int, Field(ge=10)] | None = None
    """So many train and test images, to try things; left out, all."""


class HeadConfig(Table):
    """The linear head of a probe, on standardised features."""

    kind: Literal["logistic", "lda"] = "logistic"
    """"logistic", a regression, or "lda", a linear discriminant analysis."""

    l2: Positive = 0.03
    """The regression's penalty per training row."""

    max_steps: Annotated[int, Field(ge=1)] = 200
    """Steps of L-BFGS after which the regression stops."""

    shrinkage: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """How far the analysis's covariance is shrunk; without it, it can't be inverted where features
    are more than rows."""


# Keys that only count where another one has this value.
_USED_WHERE = {
    "model.drop_path": ("method", "finetune"),
    "model.dropout": ("method", "finetune"),
    "views.cycle": ("method", "finetune"),
    "head.l2": ("head.kind", "logistic"),
    "head.max_steps": ("head.kind", "logistic"),
    "head.shrinkage": ("head.kind", "lda"),
    "train.compile_mode": ("train.compile", True),
    "train.schedule.final_factor": ("train.schedule.name", "cosine"),
    "train.schedule.peak_at": ("train.schedule.name", "one_cycle"),
    "train.schedule.step_epochs": ("train.schedule.name", "step"),
    "train.schedule.gamma": ("train.schedule.name", "step"),
}


class Experiment(Table):
    """Everything that decides an experiment's result, besides the data and the folds."""

    name: Name
    """Names its folder below `artifacts`, its submission and its row in every table; left out, the
    file's name."""

    description: str = ""
    """What people should know of it; decides nothing."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """What everything random is drawn from. Experiments that differ in nothing else are averaged in
    an ensemble."""

    method: Literal["probe", "finetune"] = "probe"
    """"probe" fits a linear head per fold on features of the frozen trunk, `[head]` says how;
    "finetune" trains the network fold by fold, `[train]` says how."""

    data: DataConfig = DataConfig()
    """All images, or a cut of them."""

    model: ModelConfig
    """The network and its weights."""

    images: ImageConfig = ImageConfig()
    """Size, crop and normalisation of the network's input."""

    views: ViewConfig = ViewConfig()
    """Augmentation, and what predictions average."""

    head: HeadConfig = HeadConfig()
    """The linear head of a probe."""

    train: TrainConfig = TrainConfig()
    """Fine-tuning."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.model.beside and self.method != "probe":
            raise ValueError("model.beside must be left out where method isn't 'probe'")
        return self

    @property
    def unused_table(self) -> str:
        """The table that decides nothing with this method; empty where both do."""
        if self.method == "probe":
            return "train"
        return "" if self.train.init_head == "probe" else "head"

    @property
    def unused_keys(self) -> dict[str, str]:
        """The keys that were changed and decide nothing, each with the key because of which."""
        default = Experiment(name=self.name, model=ModelConfig(name=self.model.name))
        return {
            key: other
            for key, (other, needed) in _USED_WHERE.items()
            if self.at(key) != default.at(key) and self.at(other) != needed
            if not key.startswith(f"{self.unused_table}.")
        }

    def as_given(self) -> dict[str, Any]:
        """Return the values as plain ones, without those of `[images]` that the weights decide."""
        values = self.model_dump(mode="json")
        for key in self.images.left_to_weights:
            del values["images"][key]
        for key in ("pool", "beside"):  # later keys: what was trained before stays up to date
            if not values["model"][key]:
                del values["model"][key]
        if self.train.validate_every == 1:
            del values["train"]["validate_every"]
        return values

    def allowed_by(self, competition: Competition) -> "Experiment":
        """Return the experiment without mirrored views, where the competition rules them out."""
        if competition.horizontal_flip is not False or not self.views.horizontal_flip:
            return self
        views = self.views.model_copy(update={"horizontal_flip": False})
        return self.model_copy(update={"views": views})

    def at(self, key: str) -> Any:
        """Return the value of a dotted key."""
        value: Any = self
        for name in key.split("."):
            value = getattr(value, name)
        return value

    def changed(self, changes: Mapping[str, Any], where: str) -> "Experiment":
        """Return an experiment with other values at dotted keys, checked as a whole.

        Raises:
            ConfigError: Such an experiment is impossible; `where` begins the message.
        """
        values = self.as_given()
        for key, value in changes.items():
            *tables, last = key.split(".")
            table = values
            for name in tables:
                table = table[name]
            table[last] = value
        return parse(Experiment, values, where)
