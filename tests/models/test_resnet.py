"""Our ResNets are the references': same names, same shapes, same outputs."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import timm
import torch
import torchvision  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional as F

from pipeline.models.resnet import Architecture, PaddedShortcut, ResNet, named_architectures

NAMED = named_architectures()
SMALL = Architecture("bottleneck", (1, 1, 1, 1))
# Our name → timm's; torchvision's names are ours, and it has no SE.
TIMM_NAMES = {name: name for name in NAMED if name.startswith(("resnet", "resnext"))}
TIMM_NAMES = {name: timm_name for name, timm_name in TIMM_NAMES.items() if "_cifar" not in name}
TIMM_NAMES |= {"se_resnet50": "seresnet50", "se_resnet101": "seresnet101"}


def on_meta(architecture, num_classes=1000):
    with torch.device("meta"):
        return ResNet(architecture, num_classes)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def randomise_norms(module, seed=0):
    """Give batch norms statistics and scales that a mistake can't hide behind."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.3, 0.7, generator=generator)
            nn.init.normal_(norm.bias, 0, 0.1, generator=generator)
            state = norm.state_dict()
            nn.init.normal_(state["running_mean"], 0, 0.1, generator=generator)
            nn.init.uniform_(state["running_var"], 0.5, 1.5, generator=generator)
    return module.eval()


def images(size=64, num=2):
    return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("library", "name"),
    [
        *[("timm", name) for name in ("resnet18", "resnet50", "resnext50_32x4d", "se_resnet50")],
        *[("torchvision", name) for name in ("resnet18", "resnet50", "resnext50_32x4d")],
        *[
            pytest.param("timm", name, marks=pytest.mark.slow)
            for name in ("resnet34", "resnet101", "resnet152", "resnext101_32x8d")
        ],
    ],
)
def test_logits_equal_the_references_on_copied_weights(name, library):
    if library == "timm":
        reference = timm.create_model(TIMM_NAMES[name], pretrained=False, num_classes=7)
    else:
        reference = getattr(torchvision.models, name)(weights=None, num_classes=7)
    randomise_norms(reference)
    ours = ResNet(NAMED[name], 7).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    with torch.inference_mode():
        logits, expected = ours(images()), reference(images())
    assert expected.std() > 0.01
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TIMM_NAMES)
def test_state_dicts_have_the_names_and_shapes_of_timm(name):
    with torch.device("meta"):
        reference = timm.create_model(TIMM_NAMES[name], pretrained=False)
    assert shapes(on_meta(NAMED[name])) == shapes(reference)


@pytest.mark.parametrize("name", [name for name in TIMM_NAMES if not name.startswith("se_")])
def test_state_dicts_have_the_names_and_shapes_of_torchvision(name):
    with torch.device("meta"):
        reference = getattr(torchvision.models, name)(weights=None)
    assert shapes(on_meta(NAMED[name])) == shapes(reference)


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("resnet18", 1000, 11_689_512),
        ("resnet50", 1000, 25_557_032),
        ("resnet50", 10, 23_528_522),
        ("resnet152", 1000, 60_192_808),
        ("resnext50_32x4d", 1000, 25_028_904),
        ("resnext101_32x8d", 1000, 88_791_336),
        # Shorter stem: 3 · 64 · (49 - 9) weights less. No projections: those of three stages less.
        ("resnet18_cifar", 10, 11_173_962),
        ("plain18", 1000, 11_689_512 - (64 * 128 + 128 * 256 + 256 * 512) - 2 * (128 + 256 + 512)),
        # Two layers between C and C / 16 with biases behind each of two blocks per stage.
        (
            "se_resnet18",
            1000,
            11_689_512 + sum(2 * (2 * c * c // 16 + c + c // 16) for c in (64, 128, 256, 512)),
        ),
        (
            "cbam_resnet18",
            1000,
            11_689_512 + sum(2 * (2 * c * c // 16 + 98) for c in (64, 128, 256, 512)),
        ),
    ],
)
def test_parameter_counts(name, num_classes, expected):
    assert count(on_meta(NAMED[name], num_classes)) == expected


def test_shortcut_options_count_their_projections():
    keys: list[Literal["A", "B", "C"]] = ["A", "B", "C"]
    options = {key: count(on_meta(replace(NAMED["resnet34"], shortcut=key))) for key in keys}
    projections = [(64, 128), (128, 256), (256, 512)]
    assert options["B"] - options["A"] == sum(a * b + 2 * b for a, b in projections)
    assert options["B"] == 21_797_672
    identities = {64: 3, 128: 3, 256: 5, 512: 2}  # blocks that change no shape
    assert options["C"] - options["B"] == sum(n * (c * c + 2 * c) for c, n in identities.items())


def test_option_a_samples_places_and_pads_with_zero_channels():
    x = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    padded = PaddedShortcut(num_new_channels=2, stride=2)(x)
    assert padded.shape == (2, 5, 2, 2)
    assert torch.equal(padded[:, :3], x[..., ::2, ::2])
    assert padded[:, 3:].count_nonzero() == 0


def test_option_a_adds_the_padded_input_to_the_branch():
    network = randomise_norms(ResNet(replace(NAMED["resnet18"], shortcut="A"), 3))
    block = network.layer2[0]
    x = torch.rand(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    expected = F.relu(branch + F.pad(x[..., ::2, ::2], (0, 0, 0, 0, 0, 64)))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("stride_on", "strides"), [("1x1", (2, 1)), ("3x3", (1, 2))])
def test_the_stride_sits_on_the_chosen_convolution(stride_on, strides):
    network = on_meta(replace(NAMED["resnet50"], stride_on=stride_on))
    for stage in (network.layer2, network.layer3, network.layer4):
        block = stage[0]
        assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
        assert block.conv3.stride[0] == 1
        assert block.downsample[0].stride[0] == 2
        assert {block.conv1.stride[0] * block.conv2.stride[0] for block in stage[1:]} <= {1}
    assert NAMED["resnet50"].stride_on == "3x3"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("resnet18", (64, 8, 8), (512, 1, 1)), ("resnet18_cifar", (64, 32, 32), (512, 4, 4))],
)
def test_a_cifar_stem_keeps_the_size(name, first, last):
    network = on_meta(NAMED[name])
    x = torch.empty(2, 3, 32, 32, device="meta")
    stem = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    assert stem.shape[1:] == first
    assert network.forward_features(x).shape[1:] == last


def test_plain_networks_have_no_shortcuts():
    network = randomise_norms(ResNet(NAMED["plain18"], 3))
    assert not [name for name in network.state_dict() if "downsample" in name]
    block = network.layer1[0]
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(block.bn2.bias)
    assert block(torch.rand(1, 64, 4, 4)).count_nonzero() == 0  # an identity would show through


def test_zero_initialisation_lets_every_residual_branch_start_as_zero():
    network = ResNet(replace(SMALL, zero_init_last=True, shortcut="A"), 3).eval()
    x = torch.rand(1, 1024, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = F.pad(x[..., ::2, ::2], (0, 0, 0, 0, 0, 1024))
    assert torch.equal(network.layer4[0](x), expected)


def test_initialisation_is_he_et_al_s():
    torch.manual_seed(0)
    block: Any = ResNet(SMALL, 3).layer4[0]  # 1024 channels come in, 512 go out
    assert block.conv1.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.01)
    assert block.conv2.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


def norm(x, module, part=slice(None)):
    """Apply some channels of a batch norm in eval mode."""
    return F.batch_norm(
        x,
        module.running_mean[part],
        module.running_var[part],
        module.weight[part],
        module.bias[part],
    )


def branches(block, x, cardinality):
    """The paths of figure 3a up to their 3x3 convolution, each with its own small weights."""
    width = block.conv1.out_channels // cardinality
    for number in range(cardinality):
        part = slice(number * width, (number + 1) * width)
        path = F.relu(norm(F.conv2d(x, block.conv1.weight[part]), block.bn1, part))
        path = F.conv2d(path, block.conv2.weight[part], padding=1)
        yield part, F.relu(norm(path, block.bn2, part))


def test_the_three_forms_of_a_resnext_block_are_one():
    """Xie et al. 2017, figure 3: a splits, b concatenates early, c (ours) groups."""
    cardinality = 4
    architecture = replace(SMALL, cardinality=cardinality, base_width=16)
    block = randomise_norms(ResNet(architecture, 3)).layer1[0].double()
    x = torch.rand(2, 64, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    paths = list(branches(block, x, cardinality))
    split = sum(F.conv2d(path, block.conv3.weight[:, part]) for part, path in paths)
    concatenated = F.conv2d(torch.cat([path for _, path in paths], 1), block.conv3.weight)
    shortcut = block.downsample(x)
    assert len(paths) == cardinality
    for merged in (split, concatenated):
        torch.testing.assert_close(F.relu(norm(merged, block.bn3) + shortcut), block(x))
