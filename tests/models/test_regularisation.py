"""`model.drop_path` and `model.dropout`: felt in training, not in evaluation nor in names."""

import pytest
import torch
from timm.layers.drop import DropPath
from torch import nn

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_model, build_trunk

NETWORKS = ["resnet18_cifar", "cbam_resnet18", "timm/test_resnet", "timm/test_vit"]


def build(name, **options):
    return build_model(ModelConfig(name=name, weights="none", **options), 4)


def images(name):
    side = 160 if name == "timm/test_vit" else 32
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [{"drop_path": 0.6}, {"dropout": 0.6}])
@pytest.mark.parametrize("name", NETWORKS)
def test_dropping_is_felt_in_training_only(name, options):
    plain, dropping = build(name).module, build(name, **options).module
    assert list(plain.state_dict()) == list(dropping.state_dict())
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.ones_(norm.weight)  # timm lets residual branches start as zero
    dropping.load_state_dict(plain.state_dict())
    batch = images(name)
    with torch.no_grad():
        assert torch.equal(plain.eval()(batch), dropping.eval()(batch))
        first, second = (dropping.train()(batch) for _ in range(2))
        assert not torch.equal(first, second)
        assert torch.equal(plain.train()(batch), plain(batch))


def test_stochastic_depth_rises_linearly_from_the_first_block_to_the_last():
    parts = build("resnet18", drop_path=0.7).module.modules()
    rates = [part.drop_prob for part in parts if isinstance(part, DropPath)]
    assert rates == pytest.approx([0.1 * number for number in range(8)])


def test_a_skipped_branch_leaves_its_shortcut():
    network = build("resnet18", drop_path=0.5).module.train()
    block = network.get_submodule("layer4.1")
    assert isinstance(block.drop_path, DropPath)
    block.drop_path.drop_prob = 1 - 1e-12
    x = torch.rand(2, 512, 2, 2)
    assert torch.equal(block(x), x)


def test_dropout_stands_before_the_linear_layer():
    network = build("resnet18_cifar", dropout=0.5)
    features = torch.ones(200, 512)
    seen: list[torch.Tensor] = []
    network.module.get_submodule("fc").register_forward_hook(lambda _, args, __: seen.append(*args))
    network.module.train()
    network.head(features)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert seen[0].mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("plain18", {"drop_path": 0.1}, "model.drop_path: .* 'plain18', which without shortcuts"),
        ("lenet", {"drop_path": 0.1}, "model.drop_path: must be 0 for 'lenet', applies to"),
        ("lenet", {"dropout": 0.1}, "model.dropout: must be 0 for 'lenet', applies to"),
        ("resnet50_attention", {"dropout": 0.1}, "model.dropout: .* 'resnet50_attention'"),
        ("timm/vgg11", {"drop_path": 0.1}, "model.drop_path: .* 'timm/vgg11', which takes none$"),
    ],
)
def test_a_network_that_takes_none_says_so(name, options, line):
    with torch.device("meta"), pytest.raises(ConfigError, match=f"^{line}"):
        build(name, **options)


def test_a_frozen_trunk_is_the_same_with_and_without():
    trunks = [
        build_trunk(ModelConfig(name="timm/test_resnet", weights="none", dropout=rate), 0)
        for rate in (0.0, 0.5)
    ]
    assert trunks[0].weights_sha256 == trunks[1].weights_sha256
    found, expected = (trunk.module.state_dict() for trunk in trunks)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
