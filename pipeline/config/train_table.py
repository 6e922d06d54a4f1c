"""Check the table `[train]` of an experiment: optimizer, schedule, loss and their like."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.strict import OrOff, Table

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


class OptimizerConfig(Table):
    """The optimizer, and its learning rate at the schedule's peak."""

    name: Annotated[str, AfterValidator(_checked_optimizer)] = "adamw"
    """"sgd" (with Nesterov's momentum), "adam", "adamw", or `timm/<name>`, any of timm's."""

    learning_rate: Positive = 1e-3
    """Its largest value, for a whole batch."""

    weight_decay: NotNegative = 0.0
    """Of weights; biases, norms, position embeddings and tokens get none."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of "sgd", and of timm's optimizers that have one."""

    layer_decay: Fraction = 1.0
    """Every block below the head learns at this factor of the rate of the block above (Clark et al.
    2020, ELECTRA); 1 gives all the same."""

    head_factor: Positive = 1.0
    """Factor on the head's learning rate."""


class ScheduleConfig(Table):
    """The course of the learning rate: a linear warm-up, then what `name` says."""

    name: Literal["constant", "cosine", "one_cycle", "step"] = "cosine"
    """"constant"; "cosine", down to `final_factor` of the peak; "one_cycle", up along a cosine and
    down again, without a warm-up (Smith and Topin 2018); "step", times `gamma` after every
    `step_epochs`."""

    warmup_epochs: NotNegative = 0.0
    """Epochs in which the rate rises linearly from 0."""

    final_factor: Probability = 0.0
    """Of "cosine": the last rate as a factor of the peak."""

    peak_at: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Of "one_cycle": the share of the steps after which the peak is reached."""

    step_epochs: Positive = 10.0
    """Of "step": epochs between two falls."""

    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of "step": what the rate is multiplied by at each fall."""

    @property
    def is_lengthened(self) -> bool:
        """Whether more epochs leave the rates of the first ones as they are."""
        return self.name in ("constant", "step")


class LossConfig(Table):
    """The criterion: cross-entropy, or with `focal_gamma` above 0 the focal loss."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of a target that is spread over all classes."""

    focal_gamma: NotNegative = 0.0
    """How much less images count that are predicted well (Lin et al. 2017); 0 is cross-entropy."""

    class_weights: Literal["none", "balanced"] = "none"
    """"balanced" weighs an image by the inverse of its class's frequency."""


class MixingConfig(Table):
    """Mixup and CutMix: the alphas of their Beta distributions, 0 for off; both: either, drawn."""

    mixup_alpha: NotNegative = 0.0
    """Alpha of mixup (Zhang et al. 2018)."""

    cutmix_alpha: NotNegative = 0.0
    """Alpha of CutMix (Yun et al. 2019); 0 where a frozen trunk's features are mixed."""

    probability: Probability = 1.0
    """Probability that two images are mixed with each other."""

    @property
    def is_on(self) -> bool:
        """Whether anything is ever mixed."""
        return self.probability > 0 and (self.mixup_alpha > 0 or self.cutmix_alpha > 0)


class TrainConfig(Table):
    """Fine-tuning: training by gradient descent."""

    epochs: Count = 10
    """How often every training image is seen."""

    batch_size: Count = 32
    """Images that one step learns from, over all processes."""

    micro_batch_size: Count | None = None
    """Images that one process computes at once, a divisor of `batch_size`: gradients add up until
    the batch is whole. Left out, the whole batch; halved where memory runs out."""

    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """"auto" takes bfloat16 where the device computes in it, float16 on CUDA devices that have
    tensor cores and no bfloat16, float32 elsewhere."""

    freeze: str = "none"
    """"none", "trunk" (all but the head), or the name of a layer: all up to and including it. What
    is frozen stays as the weights brought it, batch norm included, and its output is cached where
    the same views come again (`views.cycle`, or a recipe without randomness)."""

    freeze_batch_norm: bool = False
    """Whether the statistics and scales of batch norm stay as they are in the rest, too."""

    init_head: Literal["random", "probe"] = "random"
    """"probe" first fits the head on features of the frozen trunk (Kumar et al. 2022)."""

    sampling: Literal["uniform", "balanced"] = "uniform"
    """"balanced" draws every class as often as any other; an epoch has as many images as ever."""

    clip_norm: OrOff[Positive] = None
    """Gradients of a larger norm are scaled down to it; left out or "off", never."""

    ema_decay: OrOff[Annotated[float, Field(gt=0, lt=1)]] = None
    """Decay per step of the weights' exponential moving average, which is kept instead of them;
    left out or "off", no average."""

    keep: Literal["last", "best"] = "last"
    """"best" keeps the epoch with the best validation score, which flatters that score a little;
    "last" doesn't look."""

    stop_after: OrOff[Count] = None
    """Epochs without a better validation score after which training stops; left out or "off",
    never."""

    gradient_checkpointing: bool = False
    """Whether activations are computed a second time instead of kept: less memory, more time."""

    compile: bool = False
    """Whether torch.compile translates the network first, for full batches; short ones run as they
    are."""

    compile_mode: Literal["default", "max-autotune-no-cudagraphs"] = "default"
    """The mode of torch.compile: the second one tries more kernels, which takes minutes."""

    measure_train: bool = False
    """Whether the images that are learned from are predicted after every epoch as well, in their
    plain views: `history.csv` then has `train_accuracy`."""

    validate_every: Count = 1
    """Epochs between validations; the last epoch always has one. `keep` and `stop_after` go by the
    epochs that have."""

    save_minutes: NotNegative = 5.0
    """Minutes between saved states: what a dying machine may cost."""

    loss: LossConfig = LossConfig()
    """The criterion."""

    mixing: MixingConfig = MixingConfig()
    """Mixup and CutMix."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer and its learning rate."""

    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate moves."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError("train.batch_size must be a multiple of train.micro_batch_size")
        warmup = self.schedule.warmup_epochs
        if self.schedule.name != "one_cycle" and warmup > self.epochs:
            raise ValueError(
                f"train.schedule.warmup_epochs must be at most train.epochs, {self.epochs}, is "
                f"{warmup}: the rate would never reach its peak"
            )
        if self.sampling == "balanced" and self.loss.class_weights == "balanced":
            raise ValueError(
                "train.loss.class_weights must be 'none' where train.sampling is 'balanced': rare "
                "classes would be weighed twice"
            )
        if self.gradient_checkpointing and self.freeze != "none":
            raise ValueError(
                "train.gradient_checkpointing must be false where train.freeze isn't 'none'"
            )
        return self
