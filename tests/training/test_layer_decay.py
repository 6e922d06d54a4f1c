import functools

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn

from pipeline.config.experiment import ModelConfig
from pipeline.config.train_table import OptimizerConfig
from pipeline.models.registry import build_model, build_random
from pipeline.models.split import split
from pipeline.training.optim import number_blocks, rate_factors

# The lowest and the highest numbers of a network's blocks, each with a parameter of it.
BLOCKS = {
    "resnet18": {1: "bn1.bias", 2: "layer1.0.conv1.weight", 9: "layer4.1.bn2.bias"},
    "cbam_resnet18": {4: "layer2.0.downsample.0.weight", 9: "layer4.1.cbam.spatial.conv.weight"},
    "sample_resnet": {1: "conv1.weight", 2: "block1.conv1.weight", 4: "block2.bn2.bias"},
    "lenet": {1: "conv1.bias", 2: "conv2.weight", 3: "fc1.weight", 4: "fc2.bias"},
    "resnet50_attention": {1: "trunk.bn1.weight", 17: "trunk.layer4.2.conv3.weight"},
    "timm/resnet18": {1: "conv1.weight", 4: "layer2.0.downsample.1.bias", 9: "layer4.1.bn2.bias"},
    "timm/tf_efficientnet_lite0": {
        1: "bn1.weight",
        2: "blocks.0.0.conv_dw.weight",
        17: "bn2.bias",
    },
    "timm/convnext_atto": {
        1: "stem.1.bias",
        4: "stages.1.downsample.1.weight",
        13: "head.norm.weight",
    },
    "timm/vit_tiny_patch16_224": {
        1: "cls_token",
        2: "blocks.0.attn.qkv.weight",
        13: "norm.bias",
    },
}


@functools.cache
def network(name):
    return build_model(ModelConfig(name=name, weights="none"), num_classes=2)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_numbered_from_the_image_to_the_head(name):
    numbers = number_blocks(network(name).module, network(name).is_head)
    expected = {parameter: number for number, parameter in BLOCKS[name].items()}
    assert {parameter: numbers[parameter] for parameter in expected} == expected
    assert sorted(set(numbers.values())) == list(range(1, max(expected.values()) + 1))


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_learns_at_a_fraction_of_the_one_above(name):
    module, is_head = network(name).module, network(name).is_head
    config = OptimizerConfig(layer_decay=0.5, head_factor=10.0)
    factors = rate_factors(module, is_head, config)
    top = max(BLOCKS[name])
    for number, parameter in BLOCKS[name].items():
        assert factors[parameter] == 0.5 ** (top + 1 - number)
    heads = {factors[parameter] for parameter, _ in module.named_parameters() if is_head(parameter)}
    assert heads == {10.0}


def test_without_decay_and_head_factor_all_learn_alike():
    module, is_head = network("resnet18").module, network("resnet18").is_head
    assert set(rate_factors(module, is_head, OptimizerConfig()).values()) == {1.0}


def test_a_head_alone_has_no_blocks_below():
    config = OptimizerConfig(layer_decay=0.5)
    factors = rate_factors(nn.Linear(2, 2), lambda _: True, config)
    assert factors == {"weight": 1.0, "bias": 1.0}


def test_networks_that_number_nothing_are_cut_by_the_first_part_of_their_names():
    net = nn.Module()
    net.stem = nn.Conv2d(3, 4, 3)
    net.norm = nn.BatchNorm2d(4)
    net.body = nn.Conv2d(4, 4, 3)
    assert number_blocks(net, lambda _: False) == {
        "stem.weight": 1,
        "stem.bias": 1,
        "norm.weight": 1,
        "norm.bias": 1,
        "body.weight": 2,
        "body.bias": 2,
    }


@pytest.mark.parametrize(
    "name", ["hrnet_w18_small", "densenet121", "focalnet_tiny_srf", "test_convnext", "test_vit"]
)
def test_blocks_of_timms_networks_are_its_own_groups(name):
    """Names would make a block of every parallel branch, and one of a whole DenseNet."""
    with torch.device("meta"):
        net = build_random(ModelConfig(name=f"timm/{name}", weights="none"), 2)
        theirs = param_groups_layer_decay(timm.create_model(name), layer_decay=0.5)
    factors = rate_factors(net.module, net.is_head, OptimizerConfig(layer_decay=0.5))
    assert min(factors.values()) == min(group["lr_scale"] for group in theirs)


def test_what_learns_above_a_cut_has_the_networks_groups():
    net = build_random(ModelConfig(name="timm/test_vit", weights="none"), 2, size_px=96)
    whole = number_blocks(net.module, net.is_head)
    upper = split(net, "blocks.2", torch.zeros(2, 3, 96, 96)).upper
    numbers = number_blocks(upper, net.is_head)
    assert numbers
    assert {whole[name] - number for name, number in numbers.items()} == {4}
