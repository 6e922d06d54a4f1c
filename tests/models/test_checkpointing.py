"""Gradient checkpointing: nothing changes but memory and time."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.checkpointing import enable_gradient_checkpointing
from pipeline.models.network import Network
from pipeline.models.registry import build_model
from pipeline.models.resnet import BasicBlock
from pipeline.models.split import split

NUM_CLASSES = 3
# The number of blocks, for networks with batch norm inside of them and without.
BLOCKS = {
    "resnet18_cifar": 8,
    "timm/test_efficientnet": 5,
    "timm/test_vit": 6,
    "timm/test_convnext": 9,
    "timm/test_resnet": 4,
    "timm/regnetx_002": 13,
}


def build(name: str, **options: Any) -> Network:
    return build_model(ModelConfig(name=name, weights="none", **options), NUM_CLASSES)


def images(name: str) -> Tensor:
    side = 160 if name == "timm/test_vit" else 32
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))


def checkpointed(network: Network) -> Network:
    other = copy.deepcopy(network)
    enable_gradient_checkpointing(other)
    return other


def step(module: nn.Module, batch: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return gradients and state after one forward and backward pass in training mode."""
    torch.manual_seed(3)
    module.train()
    targets = torch.arange(len(batch)) % NUM_CLASSES
    F.cross_entropy(module(batch), targets).backward()
    gradients = {
        name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None
    }
    return gradients, module.state_dict()


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_and_statistics_are_those_without_checkpointing(name):
    plain, batch = build(name), images(name)
    other = checkpointed(plain)
    for found, expected in zip(step(other.module, batch), step(plain.module, batch), strict=True):
        assert_equal(found, expected)


@pytest.mark.parametrize("name", ["resnet18_cifar", "timm/test_efficientnet", "timm/test_vit"])
def test_dropout_and_stochastic_depth_draw_the_same(name):
    plain, batch = build(name, drop_path=0.5, dropout=0.5), images(name)
    other = checkpointed(plain)
    assert_equal(step(other.module, batch)[0], step(plain.module, batch)[0])


class OtherDropout(nn.Module):
    """Draws from a generator that torch doesn't look after, as MPS's."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * torch.empty_like(inputs).bernoulli_(generator=self.generator)


def test_dropout_on_mps_draws_the_same(monkeypatch):
    generator = torch.Generator()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", generator.get_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", generator.set_state)
    found = []
    for is_checkpointed in (False, True):
        network = build("resnet18_cifar")
        for block in [part for part in network.module.modules() if isinstance(part, BasicBlock)]:
            block.relu = OtherDropout(generator)  # type: ignore[assignment]
        if is_checkpointed:
            enable_gradient_checkpointing(network)
        generator.manual_seed(1)
        found.append((step(network.module, images("resnet18_cifar"))[0], generator.get_state()))
    (expected, state), (gradients, state_after) = found
    assert_equal(gradients, expected)
    assert torch.equal(state_after, state)


def count_calls(network: Network, batch: Tensor) -> int:
    """Count the forward passes of convolutions and linear layers in one step."""
    calls = []
    for part in network.module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(lambda *_: calls.append(1))
    step(network.module, batch)
    return len(calls)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_is_computed_again_and_nothing_else(name):
    plain, batch = build(name), images(name)
    blocks = [
        part
        for part in checkpointed(plain).module.modules()
        if "forward" in vars(part)  # the wrapped method hides the class's
    ]
    assert len(blocks) == BLOCKS[name]
    inside = sum(
        isinstance(part, nn.Conv2d | nn.Linear) for block in blocks for part in block.modules()
    )
    again = count_calls(checkpointed(plain), batch) - count_calls(plain, batch)
    assert inside / 2 < again <= inside  # what only the block's output depends on is spared


def count_kept_elements(module: nn.Module, batch: Tensor) -> int:
    """Count what the forward pass keeps for the backward pass, weights aside."""
    weights = {parameter.data_ptr() for parameter in module.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = module.train()(batch)
    assert logits.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ["resnet18_cifar", "timm/test_vit"])
def test_less_is_kept_for_the_backward_pass(name):
    plain, batch = build(name), images(name)
    other = checkpointed(plain)
    kept = count_kept_elements(other.module, batch)
    assert kept < count_kept_elements(plain.module, batch) / 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18_cifar", "layer2"), ("timm/test_vit", "none")]
)
def test_a_compiled_network_learns_the_same(name, layer):
    plain, batch = build(name), images(name)
    parts = split(checkpointed(plain), layer, batch)
    inputs = batch if parts.lower is None else parts.lower(batch)
    expected = step(copy.deepcopy(parts.upper), inputs)
    parts.upper.compile(backend="aot_eager")
    for found, values in zip(step(parts.upper, inputs), expected, strict=True):
        assert_equal(found, values)


def test_prediction_computes_nothing_twice():
    plain, batch = build("resnet18_cifar"), images("resnet18_cifar")
    other = checkpointed(plain)
    with torch.no_grad():
        assert torch.equal(other.module.eval()(batch), plain.module.eval()(batch))


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18_cifar", "layer2"), ("timm/test_vit", "blocks.2")]
)
def test_the_upper_part_of_a_network_in_two_is_checkpointed_as_well(name, layer):
    plain, batch = build(name), images(name)
    other = checkpointed(plain)
    results = []
    for network in (other, plain):
        parts = split(network, layer, batch)
        assert parts.lower is not None
        results.append((step(parts.upper, parts.lower(batch)), count_calls(network, batch)))
    (found, num_calls), (expected, num_plain_calls) = results
    assert_equal(found[0], expected[0])
    assert num_calls > num_plain_calls


@pytest.mark.parametrize("name", ["lenet", "sample_resnet", "timm/vgg11"])
def test_a_network_without_known_blocks_is_refused(name):
    with torch.device("meta"):
        network = build(name)
    line = "^train.gradient_checkpointing: must be false for a network without known blocks, as "
    with pytest.raises(ConfigError, match=line):
        enable_gradient_checkpointing(network)


@pytest.mark.parametrize("name", ["timm/pit_ti_224", "timm/coat_tiny", "timm/cait_xxs24_224"])
def test_networks_of_timm_that_tell_blocks_otherwise_are_refused(name):
    with torch.device("meta"):
        network = build(name)
    with pytest.raises(ConfigError, match="without known blocks, as "):
        enable_gradient_checkpointing(network)
