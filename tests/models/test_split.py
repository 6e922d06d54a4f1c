"""Networks cut in two: the halves are the whole, and only the upper one learns."""

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.network import Network
from pipeline.models.registry import build_model
from pipeline.models.split import Split, split

NUM_CLASSES = 4
# A network, a layer of it, and the shape that it puts out for one image.
CUTS = [
    ("resnet18", "layer2", (128, 8, 8)),
    ("resnet18", "layer2.0", (128, 8, 8)),
    ("resnet18", "maxpool", (64, 16, 16)),
    ("resnet18_cifar", "layer1", (64, 16, 16)),
    ("plain18", "layer2.1", (128, 8, 8)),
    ("plain18", "layer2.1.conv1", (128, 8, 8)),  # no shortcut goes around it
    ("cbam_resnet18", "layer3", (256, 4, 4)),
    ("se_resnet18", "layer1", (64, 16, 16)),
    ("sample_resnet", "block1", (128, 16, 16)),
    ("lenet", "conv1", (16, 200, 200)),
    ("timm/test_resnet", "layer2", (48, 8, 8)),
    ("timm/test_efficientnet", "blocks.1", (24, 16, 16)),
    ("timm/test_convnext", "stages.1", (32, 8, 8)),
    ("timm/regnetx_002", "s2", (56, 8, 8)),
    ("timm/test_vit", "blocks.3", (101, 64)),
    ("timm/test_vit", "blocks", (101, 64)),
    pytest.param("resnet50_attention", "trunk.layer3", (1024, 4, 4), marks=pytest.mark.slow),
    # Its class token joins after the blocks: a parameter of the network itself, and of the upper.
    pytest.param("timm/cait_xxs24_224", "blocks.20", (196, 192), marks=pytest.mark.slow),
]
TRUNKS = [
    ("resnet18", (512,), {"fc"}),
    ("lenet", (64,), {"fc3"}),
    ("timm/test_resnet", (96,), {"fc"}),
    ("timm/test_efficientnet", (256,), {"classifier"}),
    ("timm/test_convnext", (64,), {"head"}),
    ("timm/test_vit", (64,), {"head"}),
    ("resnet50_attention", (2048, 2, 2), {"reduce", "attention", "fc"}),
]


def build(name: str, **options: Any) -> Network:
    return build_model(ModelConfig(name=name, weights="none", **options), NUM_CLASSES)


def images(name: str, num: int = 3) -> torch.Tensor:
    side = {"lenet": 200, "timm/test_vit": 160, "timm/cait_xxs24_224": 224}.get(name, 64)
    side = 16 if name.endswith("_cifar") else side
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(5))


def cut(network: Network, freeze: str, example: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    parts = split(network, freeze, torch.zeros_like(example[:2]))
    assert parts.lower is not None
    return parts.lower, parts.upper


def gradients(module: nn.Module) -> dict[str, bool]:
    """Tell which parameters have a gradient."""
    return {name: weight.grad is not None for name, weight in module.named_parameters()}


@pytest.mark.parametrize(("name", "layer", "shape"), CUTS)
def test_a_network_cut_after_a_layer_is_its_two_parts(name, layer, shape):
    network, batch = build(name), images(name)
    names = list(network.module.state_dict())
    lower, upper = cut(network, layer, batch)
    with torch.no_grad():
        between = lower(batch)
        assert between.shape == (len(batch), *shape)
        torch.testing.assert_close(upper(between), network.module(batch))
    assert list(network.module.state_dict()) == names
    check_that_only_the_upper_part_learns(network, lower, upper, between)


@pytest.mark.parametrize(("name", "shape", "head"), TRUNKS)
def test_a_frozen_trunk_leaves_the_head_to_learn(name, shape, head):
    network, batch = build(name), images(name)
    lower, upper = cut(network, "trunk", batch)
    with torch.no_grad():
        between = lower(batch)
        assert between.shape == (len(batch), *shape)
        torch.testing.assert_close(between, network.trunk(batch))
        torch.testing.assert_close(upper(between), network.module(batch))
    assert {name.partition(".")[0] for name, _ in upper.named_parameters()} == head
    check_that_only_the_upper_part_learns(network, lower, upper, between)


def check_that_only_the_upper_part_learns(network, lower, upper, between):
    own, above = dict(network.module.named_parameters()), dict(upper.named_parameters())
    assert 0 < len(above) < len(own)
    for name, parameter in above.items():
        assert parameter is own[name]
        assert parameter.requires_grad
    below = {id(parameter) for parameter in lower.parameters()}
    assert below == {id(own[name]) for name in own.keys() - above.keys()}
    assert not any(parameter.requires_grad for parameter in lower.parameters())
    upper.train()
    F.cross_entropy(upper(between), torch.arange(len(between)) % NUM_CLASSES).backward()
    assert gradients(network.module) == {name: name in above for name in own}


def test_nothing_is_frozen_without_need():
    network = build("resnet18")
    assert split(network, "none", images("resnet18")) == Split(None, network.module)
    assert all(parameter.requires_grad for parameter in network.module.parameters())


def test_to_train_the_upper_part_is_to_train_the_network():
    network, batch = build("timm/test_resnet"), images("timm/test_resnet")
    lower, upper = cut(network, "layer2", batch)
    before = copy.deepcopy(network.module.state_dict())
    optimizer = torch.optim.SGD(upper.parameters(), lr=0.1)
    for _ in range(2):
        upper.train()
        upper(lower(batch)).square().sum().backward()
        optimizer.step()
    changed = {
        name.partition(".")[0]
        for name, tensor in network.module.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {"layer3", "layer4", "fc"}
    network.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(upper(lower(batch)), network.module(batch))


def test_the_lower_part_stays_in_evaluation_whatever_is_switched():
    network, batch = build("resnet18"), images("resnet18")
    lower, upper = cut(network, "layer2", batch)
    expected = lower(batch)
    for module in (network.module, lower, upper):
        module.train()
    assert upper.get_submodule("layer3").training
    assert not any(module.training for module in lower.modules())
    assert torch.equal(lower(batch), expected)


def test_to_train_the_upper_part_leaves_the_networks_lower_layers_in_evaluation():
    network = build("resnet18")
    _, upper = cut(network, "trunk", images("resnet18"))
    upper.train()
    assert {name for name, module in network.module.named_modules() if module.training} == {"fc"}


@pytest.mark.parametrize(
    ("name", "freeze"),
    [
        ("resnet18", "layer3"),
        ("resnet18", "trunk"),
        ("timm/test_efficientnet", "blocks.2"),
        ("timm/test_efficientnet", "trunk"),
        ("timm/test_vit", "trunk"),
    ],
)
def test_dropout_before_the_head_is_the_upper_parts(name, freeze):
    network, batch = build(name, dropout=0.5), images(name)
    lower, upper = cut(network, freeze, batch)
    with torch.no_grad():
        between = lower(batch)
        upper.eval()
        assert torch.equal(upper(between), upper(between))
        upper.train()
        for module in upper.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()  # its statistics would move between the calls
        assert not torch.equal(upper(between), upper(between))


def test_a_copy_of_the_upper_part_has_tensors_of_its_own():
    network, batch = build("timm/test_vit"), images("timm/test_vit")
    lower, upper = cut(network, "blocks.1", batch)
    average = copy.deepcopy(upper)
    pairs = itertools.zip_longest(average.parameters(), upper.parameters())
    assert all(one is not other for one, other in pairs)
    with torch.no_grad():
        expected = upper(lower(batch))
        for parameter in upper.parameters():
            parameter.zero_()
        assert torch.equal(average(lower(batch)), expected)


@pytest.mark.parametrize("layer", ["layer1.0.conv1", "layer2.0.downsample"])
def test_a_layer_with_a_way_around_it_is_refused(layer):
    line = (
        "^train.freeze: must name a layer after which nothing earlier is used and something "
        rf"learns, '{layer}' isn't \(.*before the layer.*\); choose from layer1, layer2, layer3, "
        "layer4$"
    )
    with pytest.raises(ConfigError, match=line):
        split(build("resnet18"), layer, images("resnet18"))


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("timm/test_resnet", "fc", "nothing above it learns"),
        ("timm/test_resnet", "", "nothing above it learns"),
        ("timm/test_convnext", "head.fc", "nothing above it learns"),
    ],
)
def test_a_layer_with_nothing_above_it_to_learn_is_refused(name, layer, reason):
    with pytest.raises(ConfigError, match=rf"'{layer}' isn't \(.*{reason}"):
        split(build(name), layer, images(name))


class Tied(nn.Module):
    """One linear layer before and behind another, and a layer that isn't used."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(3, 3)
        self.middle = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = images.mean((2, 3))
        logits: torch.Tensor = self.fc(self.twice(self.middle(self.twice(pooled))))
        return logits


@pytest.mark.parametrize("layer", ["twice", "middle", "unused"])
def test_a_cut_that_ties_or_idleness_forbid_is_refused(layer):
    module = Tied()
    network = Network(module, lambda images: images, module, ("fc",))
    with pytest.raises(ConfigError, match=rf"'{layer}' isn't \("):
        split(network, layer, torch.randn(2, 3, 4, 4))


class Counting(nn.Module):
    """Remembers below a layer how many images there are, and uses it above."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Linear(3, 3)
        self.fc = nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count = len(images)
        logits: torch.Tensor = self.fc(self.middle(images.mean((2, 3))).view(count, 3))
        return logits


def test_a_number_of_images_kept_from_below_the_cut_is_noticed():
    module = Counting()
    network = Network(module, lambda images: images, module, ("fc",))
    with pytest.raises(
        ConfigError, match=r"'middle' isn't \(shape '\[2, 3\]' is invalid for input"
    ):
        split(network, "middle", torch.randn(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("freeze", "hint"),
    [("layer22", "did you mean 'layer2'"), ("qqq", "choose from layer1, layer2, layer3, layer4$")],
)
def test_an_unknown_layer_is_refused_with_known_ones(freeze, hint):
    line = f"^train.freeze: must be 'none', 'trunk' or the name of a layer, is '{freeze}'; {hint}"
    with pytest.raises(ConfigError, match=line):
        split(build("resnet18"), freeze, images("resnet18"))


def test_a_refusal_changes_no_tensor_of_the_network():
    network = build("timm/test_resnet")
    before = copy.deepcopy(network.module.state_dict())
    with pytest.raises(ConfigError, match="choose from"):
        split(network, "qqq", images("timm/test_resnet"))
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.requires_grad for parameter in network.module.parameters())
