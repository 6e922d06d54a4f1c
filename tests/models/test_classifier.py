"""The linear layer that is a network's head, and heads that were fitted elsewhere."""

import re

import pytest
import torch

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.network import set_classifier
from pipeline.models.registry import build_model

# The name of the layer, if the head is one.
CLASSIFIERS = {
    "resnet18_cifar": "fc",
    "sample_resnet": "fc",
    "lenet": "fc3",
    "timm/test_resnet": "fc",
    "timm/test_efficientnet": "classifier",
    "timm/test_convnext": "head.fc",
    "timm/test_vit": "head",
    "timm/densenet121": "classifier",
    "timm/dla34": "fc",  # a convolution
}
OTHERS = ["resnet50_attention", "timm/deit_tiny_distilled_patch16_224", "timm/repvit_m0_9"]


def build(name):
    return build_model(ModelConfig(name=name, weights="none"), 5)


@pytest.mark.parametrize(("name", "layer"), CLASSIFIERS.items())
def test_the_head_is_found_where_it_is_one_layer(name, layer):
    with torch.device("meta"):
        network = build(name)
    assert network.classifier is network.module.get_submodule(layer)


@pytest.mark.parametrize("name", OTHERS)
def test_a_head_of_more_is_none_and_refuses_another(name):
    with torch.device("meta"):
        network = build(name)
    assert network.classifier is None
    line = f"^train.init_head: .* linear layer, .*'s is {re.escape(', '.join(network.head_names))}$"
    with pytest.raises(ConfigError, match=line):
        set_classifier(network, torch.zeros(5, 1), torch.zeros(5))


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18_cifar", 32), ("timm/test_vit", 160), ("timm/dla34", 32)]
)
def test_a_head_put_in_gives_its_logits(name, side):
    network = build(name)
    network.module.eval()
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = network.trunk(images)
        weight, bias = torch.randn(5, features.shape[1]), torch.randn(5)
        set_classifier(network, weight, bias)
        torch.testing.assert_close(
            network.module(images), features @ weight.T + bias, atol=1e-4, rtol=1e-4
        )
    assert network.classifier is not None
    assert network.classifier.weight.requires_grad
