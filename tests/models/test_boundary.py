"""What timm builds is its trunk and then its head, also where the head has a norm of its own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_model, build_random, build_trunk
from pipeline.models.split import split
from pipeline.models.timm_backbone import check_boundary


def network(name, size_px=None):
    return build_random(ModelConfig(name=name, weights="none"), 3, size_px=size_px)


def images(side, num=2):
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(1))


def unsettle(module):
    """Let batch norms do something: as they are drawn, they are hardly to be seen."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert norm.running_var is not None
            assert norm.running_mean is not None
            nn.init.uniform_(norm.running_var, 0.5, 2, generator=generator)
            nn.init.normal_(norm.running_mean, 0, 0.5, generator=generator)
    return module.eval()


@pytest.mark.parametrize(
    ("name", "norm"),
    [("efficientvit_m0", "head.bn.weight"), ("shvit_s1", "head.bn.weight")],
)
def test_a_norm_that_timm_drops_with_the_head_belongs_to_it(name, norm):
    net = network(f"timm/{name}", 224)
    unsettle(net.module)
    with torch.no_grad():
        features = net.trunk(images(224))
        torch.testing.assert_close(net.head(features), net.module(images(224)))
    assert net.is_head(norm)
    frozen = split(net, "trunk", images(224))
    assert norm in dict(frozen.upper.named_parameters())
    assert features.ndim == 2


@pytest.mark.parametrize("name", ["efficientvit_m0", "shvit_s1"])
def test_a_probe_and_a_frozen_trunk_read_the_same_features(tmp_path, name):
    net = network(f"timm/{name}", 224)
    unsettle(net.module)
    torch.save(net.module.state_dict(), tmp_path / "a.pth")
    config = ModelConfig(name=f"timm/{name}", weights=str(tmp_path / "a.pth"))
    trunk = build_trunk(config, 0, 224).module.eval()
    with torch.no_grad():
        torch.testing.assert_close(trunk(images(224)), net.trunk(images(224)))


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_resnet", "test_byobnet"])
def test_a_head_alone_stays_one_linear_layer(name):
    assert network(f"timm/{name}").classifier is not None


def test_a_boundary_that_leaves_something_out_is_refused():
    net = network("timm/test_resnet")
    line = r"^model\.name: head\(trunk\(x\)\) must give .* differs for 'timm/x' by [\d.e+-]+ of"
    with pytest.raises(ConfigError, match=line):
        check_boundary(replace(net, head=lambda x: net.head(x * 1.01)), "timm/x", 64)
    check_boundary(net, "timm/x", 64)


def test_the_boundary_is_checked_once_for_what_is_built(monkeypatch):
    from pipeline.models import registry

    asked = []
    monkeypatch.setattr(registry, "_checked", set())
    monkeypatch.setattr(
        registry, "check_boundary", lambda _, name, size: asked.append((name, size))
    )
    for size in (64, 64, 96):
        build_model(ModelConfig(name="timm/test_resnet", weights="none"), 3, size_px=size)
    build_model(ModelConfig(name="resnet18_cifar", weights="none"), 3)
    assert asked == [("timm/test_resnet", 64), ("timm/test_resnet", 96)]
