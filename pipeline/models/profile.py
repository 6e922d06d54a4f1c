"""Count what a network costs: parameters, multiply-adds, activations, bytes; measure its speed."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config.experiment import ModelConfig
from pipeline.models.network import Network
from pipeline.models.registry import build_random

MIN_SECONDS = 2.0


@dataclass(frozen=True)
class Layer:
    """One part of a network, as its own code divides it.

    Attributes:
        name: Its name in the state dict.
        kind: Its class.
        output_shape: Of one image, without the batch.
        num_parameters: Trainable or not.
        macs: Multiply-adds of its convolutions and linear layers, for one image.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int
    macs: int


@dataclass(frozen=True)
class Profile:
    """The costs of a network for one image.

    Attributes:
        layers: Its parts.
        num_parameters: All of them; buffers (batch norm's statistics) don't count.
        num_trainable: Those that aren't frozen.
        macs: Multiply-adds of convolutions and linear layers, as torch counts them.
        norm_macs: Four per element that batch norm puts out, which some tools (thop) add.
        num_activations: Elements that convolutions and linear layers put out.
        checkpoint_bytes: Size of its state dict.
    """

    layers: list[Layer]
    num_parameters: int
    num_trainable: int
    macs: int
    norm_macs: int
    num_activations: int
    checkpoint_bytes: int


def profile(network: Network, size_px: int) -> Profile:
    """Count what a network costs for one image of `size_px` squared; nothing is computed.

    Args:
        network: Its module may be on the meta device.
        size_px: Height and width of the image.
    """
    module = network.module.to("meta").eval()
    shapes: dict[str, tuple[int, ...]] = {}
    elements = {"compute": 0, "norm": 0}

    def record(name: str, part: nn.Module) -> None:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if not isinstance(output, Tensor):
                return
            shapes[name] = tuple(output.shape[1:])
            if isinstance(part, nn.Conv2d | nn.Linear):
                elements["compute"] += output.numel()
            elif isinstance(part, nn.BatchNorm2d):
                elements["norm"] += output.numel()

        part.register_forward_hook(hook)

    for name, part in module.named_modules():
        record(name, part)
    with FlopCounterMode(display=False, depth=1_000) as counter, torch.no_grad():
        module(torch.empty(1, 3, size_px, size_px, device="meta"))
    counts = {
        name: sum(ops.values()) // 2  # torch counts two per multiply-add
        for name, ops in counter.get_flop_counts().items()
    }
    layers = [_layer(module, name, shapes, counts) for name, _ in module.named_children()]
    order = list(shapes)
    layers.sort(key=lambda layer: order.index(layer.name) if layer.name in shapes else -1)
    parameters = list(module.parameters())
    state = module.state_dict().values()
    return Profile(
        layers,
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        counter.get_total_flops() // 2,
        4 * elements["norm"],
        elements["compute"],
        sum(tensor.numel() * tensor.element_size() for tensor in state),
    )


def num_parameters(config: ModelConfig, num_classes: int, size_px: int) -> int:
    """Count the parameters of a network that is never filled.

    Raises:
        ConfigError: There is no such network.
        ArtifactError: A hub doesn't say what the network is.
    """
    with torch.device("meta"):
        module = build_random(config, num_classes, size_px=size_px).module
    return sum(parameter.numel() for parameter in module.parameters())


def _layer(
    module: nn.Module, name: str, shapes: dict[str, tuple[int, ...]], counts: dict[str, int]
) -> Layer:
    """Describe a direct child, also one whose own `forward` is never called, by what is below."""
    part = module.get_submodule(name)
    below = [f"{name}.{child}" if child else name for child, _ in part.named_modules()]
    called = [child for child in shapes if child in set(below)]
    shape = shapes[name if name in shapes else called[-1]] if called else ()
    root = type(module).__name__
    leaves = [child for child in below if not list(module.get_submodule(child).children())]
    macs = sum(counts.get(f"{root}.{leaf}", 0) for leaf in leaves)
    num_parameters = sum(parameter.numel() for parameter in part.parameters())
    return Layer(name, type(part).__name__, shape, num_parameters, macs)


def images_per_second(
    network: Network, size_px: int, batch_size: int, device: torch.device, dtype: torch.dtype
) -> tuple[float, float]:
    """Measure the rates of prediction and of training, loss and SGD step included.

    Args:
        network: Moved to the device and trained on noise: don't use it afterwards.
        size_px: Height and width of the images.
        batch_size: Images per step.
        device: Where to.
        dtype: float32, or what autocast computes in.

    Returns:
        Images per second, forward and for a training step.
    """
    module = network.module.to(device).to(memory_format=torch.channels_last)
    images = torch.randn(batch_size, 3, size_px, size_px, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.zeros(batch_size, dtype=torch.int64, device=device)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, 1e-6)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

    def forward() -> None:
        with torch.inference_mode(), autocast():
            module(images)

    def step() -> None:
        with autocast():
            logits = module(images)
        loss: Tensor = nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    rates = []
    for is_training, work in ((False, forward), (True, step)):
        module.train(is_training)
        work()
        wait_for(device)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < MIN_SECONDS:
            work()
            wait_for(device)
            count += batch_size
        rates.append(count / (time.perf_counter() - start))
    return rates[0], rates[1]


def wait_for(device: torch.device) -> None:
    """Return once a device has done all that it was given: what a clock needs, and nothing else."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
