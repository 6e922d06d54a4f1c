"""The class token of a vision transformer and the mean of its places, beside each other."""

from typing import Any

import pytest
import torch

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_model, build_random, build_trunk
from pipeline.models.split import split

IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def config(name="timm/test_vit", pool="token+mean", weights="none"):
    return ModelConfig(name=name, weights=weights, pool=pool)


def test_features_are_the_token_and_the_mean_of_the_places():
    network = build_model(config(), 3, size_px=96)
    module: Any = network.module.eval()
    with torch.no_grad():
        tokens = module.forward_features(IMAGES)
        features = network.trunk(IMAGES)
        torch.testing.assert_close(network.head(features), module(IMAGES))
    expected = torch.cat([tokens[:, 0], tokens[:, module.num_prefix_tokens :].mean(1)], dim=1)
    torch.testing.assert_close(features, expected)
    assert network.classifier is not None
    assert network.classifier.in_features == 128


def test_a_trunk_of_the_same_weights_gives_the_same_features(tmp_path):
    network = build_random(config(), 3, seed=9, size_px=96)
    torch.save(network.module.state_dict(), tmp_path / "a.pth")
    trunk = build_trunk(config(weights=str(tmp_path / "a.pth")), 0, 96)
    own = build_trunk(config(pool=None, weights=str(tmp_path / "a.pth")), 0, 96)
    with torch.no_grad():
        network.module.eval()
        torch.testing.assert_close(trunk.module.eval()(IMAGES), network.trunk(IMAGES))
    assert trunk.weights_sha256 != own.weights_sha256


@pytest.mark.parametrize("freeze", ["trunk", "blocks.2"])
def test_it_can_be_frozen(freeze):
    network = build_random(config(), 3, size_px=96)
    parts = split(network, freeze, IMAGES)
    assert parts.lower is not None
    with torch.no_grad():
        torch.testing.assert_close(parts.upper(parts.lower(IMAGES)), network.module(IMAGES))


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit2", "timm/test_convnext"])
def test_a_network_without_a_class_token_refuses(name):
    with pytest.raises(ConfigError, match=f"^model.pool: must be left out for '{name}', is 'token"):
        build_random(config(name), 3)


def test_a_network_written_here_refuses():
    with pytest.raises(ConfigError, match=r"^model\.pool: must be left out for 'resnet18', appl"):
        build_random(config("resnet18"), 3)
