import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.config.experiment import ModelConfig
from pipeline.models.registry import build_random
from pipeline.models.responses import Moments, recorded_responses


def test_responses_are_those_of_a_direct_computation():
    torch.manual_seed(0)
    first, second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for norm in (first, second):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    convs = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)]
    relu = nn.ReLU(inplace=True)  # changes what batch norm put out
    network = nn.Sequential(convs[0], first, relu, convs[1], second, relu).eval()
    batches = torch.randn(3, 5, 3, 8, 8)
    with torch.no_grad(), recorded_responses(network) as moments:
        for images in batches:
            network(images)
    with torch.no_grad():
        images = batches.flatten(0, 1)
        before = first(convs[0](images))
        expected = [before, second(convs[1](before.relu()))]
    assert list(moments) == ["1", "4"]
    for one, response in zip(moments.values(), expected, strict=True):
        assert one.std() == pytest.approx(response.double().std(correction=0).item(), rel=1e-5)


class NoFloat64(TorchDispatchMode):
    """Stands in for MPS, which has none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        found = {leaf.dtype for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)}
        assert torch.float64 not in found, func
        return output


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (300.0, 0.1), (-2.0, 1e-3)])
def test_a_device_without_float64_finds_the_same(mean, std):
    drawn = torch.randn(4, 6, 5, 32, 32, generator=torch.Generator().manual_seed(0)) * std + mean
    moments = Moments()
    with NoFloat64():
        for response in drawn:
            moments.add(response)
    assert moments.std() == pytest.approx(drawn.double().std(correction=0).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "num_layers"),
    [("plain18_cifar", 17), ("resnet18_cifar", 17), ("resnet34", 33), ("timm/resnet18", 17)],
)
def test_layers_are_counted_as_in_the_paper_without_shortcuts(name, num_layers):
    network = build_random(ModelConfig(name=name), 10).module.eval()
    with torch.no_grad(), recorded_responses(network) as moments:
        network(torch.randn(2, 3, 32, 32))
    assert len(moments) == num_layers
    assert not [layer for layer in moments if "downsample" in layer]
    assert next(iter(moments)) == "bn1"
    stds = [one.std() for one in moments.values()]
    assert np.isfinite(stds).all()
    assert stds[0] > 0  # timm starts the last one of a branch as zero


def test_a_norm_that_holds_its_nonlinearity_responds_before_it():
    network = build_random(ModelConfig(name="timm/tf_efficientnet_lite0"), 10).module.eval()
    norm = network.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    inputs: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, passed: inputs.append(passed[0].clone()))
    with torch.no_grad(), recorded_responses(network) as moments:
        network(torch.randn(2, 3, 32, 32))
    plain = nn.functional.batch_norm(
        inputs[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    expected = plain.double().std(correction=0).item()
    assert moments["bn1"].std() == pytest.approx(expected, rel=1e-4)


def test_nothing_is_recorded_afterwards():
    network = nn.Sequential(nn.BatchNorm2d(3))
    with recorded_responses(network) as moments:
        pass
    network(torch.randn(2, 3, 4, 4))
    assert moments == {}
