"""How a network is trained: the table `[train]` of an experiment and its parts."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.strict import StrictModel

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

OPTIMIZERS = ("sgd", "adam", "adamw")
TIMM_PREFIX = "timm/"


def _checked_optimizer(name: str) -> str:
    if name not in OPTIMIZERS and not name.startswith(TIMM_PREFIX):
        raise ValueError(f"must be one of {', '.join(OPTIMIZERS)}, or timm/<name>")
    return name


class OptimizerConfig(StrictModel):
    """The optimizer, and its learning rate at the schedule's peak.

    `name`: "sgd" (with Nesterov's momentum), "adam", "adamw", or `timm/<name>`, any of timm's.
    `layer_decay`: every block below the head learns at this factor of the rate of the block above
    (Clark et al. 2020, ELECTRA); 1 gives all the same.
    `head_factor`: factor on the head's learning rate.
    """

    name: Annotated[str, AfterValidator(_checked_optimizer)] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    layer_decay: Fraction = 1.0
    head_factor: Positive = 1.0


class ScheduleConfig(StrictModel):
    """How the learning rate moves: a linear warm-up, then what `name` says.

    "constant"; "cosine" down to `final_factor` of the peak; "one_cycle", up along a cosine for the
    first `peak_at` of the steps and down again, instead of the warm-up (Smith and Topin 2018);
    "step", times `gamma` after every `step_epochs`; "plateau", times `gamma` once the competition's
    metric hasn't improved for `patience` epochs.
    """

    name: Literal["constant", "cosine", "one_cycle", "step", "plateau"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    final_factor: Probability = 0.0
    peak_at: Annotated[float, Field(gt=0, lt=1)] = 0.3
    step_epochs: Positive = 10.0
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 3


class LossConfig(StrictModel):
    """The criterion: cross-entropy, or with `focal_gamma` above 0 the focal loss.

    `class_weights = "balanced"` weighs an image by the inverse of its class's frequency.
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    focal_gamma: NotNegative = 0.0
    class_weights: Literal["none", "balanced"] = "none"


class MixingConfig(StrictModel):
    """Mixup and CutMix: the alphas of their Beta distributions, 0 for off; both: either, drawn.

    Two images are mixed with each other with this `probability`.
    """

    mixup_alpha: NotNegative = 0.0
    cutmix_alpha: NotNegative = 0.0
    probability: Probability = 1.0

    @property
    def is_on(self) -> bool:
        """Whether anything is ever mixed."""
        return self.probability > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


class ProgressiveConfig(StrictModel):
    """Small images first: from `from_px` on, growing to the full size over `epochs`.

    In multiples of 32 pixels (Tan and Le 2021, EfficientNetV2).
    """

    from_px: Annotated[int, Field(ge=32)]
    epochs: Count


class TrainConfig(StrictModel):
    """Training by gradient descent.

    `batch_size` is what one step learns from, over all processes; `micro_batch_size` what one
    process computes at once: gradients add up until the batch is whole.
    `precision`: "auto" takes bfloat16 where the device computes in it, float16 on CUDA devices that
    have tensor cores and no bfloat16, float32 elsewhere.
    `freeze`: "none", "trunk" (all but the head), or the name of a layer: all up to and including
    it. What is frozen stays as the weights brought it, batch norm included, and its output is
    cached where the same views come again (`views.cycle`, or a recipe without randomness).
    `freeze_batch_norm` keeps the statistics and scales of batch norm in the rest, too.
    `init_head = "probe"` first fits the head on features of the frozen trunk, as a probe does.
    `keep = "best"` keeps the epoch with the best validation score, which flatters that score a
    little; "last" doesn't look. `stop_after` stops once so many epochs brought no better one.
    `snapshots`: the cosine starts anew so many times, the network at the end of each cycle is kept,
    and their probabilities are averaged (Huang et al. 2017, "Snapshot Ensembles").
    `measure_train`: after every epoch, predict the images that are learned from as well, in their
    plain views; the history then tells `train_accuracy`, too.
    `save_minutes`: how much work a dying machine may cost.
    """

    epochs: Count = 10
    batch_size: Count = 32
    micro_batch_size: Count | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    freeze: str = "none"
    freeze_batch_norm: bool = False
    init_head: Literal["random", "probe"] = "random"
    sampling: Literal["uniform", "balanced"] = "uniform"
    clip_norm: Positive | None = None
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    keep: Literal["last", "best"] = "last"
    stop_after: Count | None = None
    snapshots: Count = 1
    gradient_checkpointing: bool = False
    compile: bool = False
    measure_train: bool = False
    save_minutes: NotNegative = 5.0
    loss: LossConfig = LossConfig()
    mixing: MixingConfig = MixingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    progressive: ProgressiveConfig | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError("train.batch_size must be a multiple of train.micro_batch_size")
        if self.snapshots > 1:
            self._check_snapshots()
        if self.progressive and self.progressive.epochs >= self.epochs:
            raise ValueError("train.progressive.epochs must be fewer than train.epochs")
        if self.progressive and self.freeze != "none":
            raise ValueError("train.progressive must be left out where train.freeze isn't 'none'")
        return self

    def _check_snapshots(self) -> None:
        if self.schedule.name != "cosine":
            raise ValueError("train.schedule.name must be 'cosine' where there are train.snapshots")
        if self.epochs % self.snapshots:
            raise ValueError("train.epochs must be a multiple of train.snapshots")
        if self.keep == "best" or self.stop_after:
            raise ValueError(
                "train.keep must be 'last' and train.stop_after left out where train.snapshots are "
                "several, each the last of its cycle"
            )
