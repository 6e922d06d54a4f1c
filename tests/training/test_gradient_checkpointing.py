"""Gradient checkpointing: nothing changes but memory and time."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.network import Network
from pipeline.models.registry import build_model
from pipeline.training.prepare_network import enable_gradient_checkpointing
from tests import tiny

NUM_CLASSES = 3
NAMES = ["resnet18_cifar", "timm/test_efficientnet", "timm/test_vit"]


def build(name: str, **options: Any) -> Network:
    return build_model(ModelConfig(name=name, weights="none", **options), NUM_CLASSES)


def images(name: str) -> Tensor:
    side = 160 if name == "timm/test_vit" else 32
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))


def checkpointed(network: Network) -> nn.Module:
    other = copy.deepcopy(network)
    enable_gradient_checkpointing(other)
    return other.module


def step(module: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Return gradients and running statistics after two forward and backward passes."""
    torch.manual_seed(3)
    module.train()
    for _ in range(2):
        F.cross_entropy(module(batch), torch.arange(len(batch)) % NUM_CLASSES).backward()
    weights = module.named_parameters()
    grads = {name: weight.grad for name, weight in weights if weight.grad is not None}
    assert grads
    return grads | {name: one for name, one in module.named_buffers() if "running" in name}


@pytest.mark.parametrize("name", NAMES)
def test_gradients_statistics_and_what_dropout_draws_stay_as_they_are(name):
    plain, batch = build(name, drop_path=0.5, dropout=0.5), images(name)
    other = checkpointed(plain)
    found, expected = step(other, batch), step(plain.module, batch)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key


def count_kept_elements(module: nn.Module, batch: Tensor) -> int:
    """Count what the forward pass keeps for the backward pass, weights aside."""
    weights = {parameter.data_ptr() for parameter in module.parameters()}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert module.train()(batch).requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ["resnet18_cifar", "timm/test_vit"])
def test_less_is_kept_for_the_backward_pass(name):
    plain, batch = build(name), images(name)
    kept = count_kept_elements(checkpointed(plain), batch)
    assert kept < count_kept_elements(plain.module, batch) / 3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_network_learns_the_same(name):
    other, batch = checkpointed(build(name)), images(name)
    expected = step(copy.deepcopy(other), batch)
    other.compile(backend="aot_eager")
    for key, tensor in step(other, batch).items():
        torch.testing.assert_close(tensor, expected[key], msg=key)


@pytest.mark.parametrize("name", ["lenet", "sample_resnet", "timm/vgg11"])
def test_a_network_without_the_switch_is_refused(name):
    with torch.device("meta"):
        network = build(name)
    line = "^train.gradient_checkpointing: must be false for a network that has no such switch, as "
    with pytest.raises(ConfigError, match=line):
        enable_gradient_checkpointing(network)


def test_it_is_refused_on_mps_where_dropout_would_be_drawn_anew(monkeypatch):
    device = torch.device("mps")
    monkeypatch.setattr("pipeline.training.prepare_network.pick_device", lambda: device)
    with pytest.raises(ConfigError, match=r"^train\.gradient_checkpointing: must be false on MPS"):
        enable_gradient_checkpointing(build("resnet18_cifar"))


def test_it_is_refused_where_layers_are_frozen():
    changes = {"train.freeze": "layer3", "train.gradient_checkpointing": True}
    with pytest.raises(ConfigError, match=r"train\.gradient_checkpointing must be false where"):
        tiny.experiment(method="finetune").changed(changes, "x")
