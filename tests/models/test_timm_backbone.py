"""Timm's networks by name and tag, and for other sizes than their own."""

import re

import pytest
import torch
from safetensors.torch import save_file

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.hub import hub_repository
from pipeline.models.hub_address import Repository
from pipeline.models.registry import build_model, build_random, build_trunk
from pipeline.models.weights_source import has_packaged_weights

VIT = "timm/test_vit"


def config(name, weights="none"):
    return ModelConfig(name=name, weights=weights)


def images(side):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_tag_changes_no_network():
    plain, tagged = (
        build_model(config(f"timm/test_resnet{tag}"), 3).module for tag in ("", ".r160_in1k")
    )
    expected = plain.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in tagged.state_dict().items())


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("timm/resnet50", "timm/resnet50.a1_in1k"),
        ("timm/resnet50.tv_in1k", "timm/resnet50.tv_in1k"),
        ("timm/tf_efficientnet_lite0.in1k", "timm/tf_efficientnet_lite0.in1k"),
    ],
)
def test_a_tag_names_the_weights_of_the_hub(name, repository):
    assert hub_repository(name) == Repository(repository)


def test_a_tag_gives_the_network_the_size_of_its_weights():
    with torch.device("meta"):
        trunk = build_trunk(config("timm/vit_small_patch14_dinov2.lvd142m"), 0).module
        assert trunk(torch.empty(1, 3, 518, 518)).shape == (1, 384)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnet50.a1_in2k", "weights of 'resnet50' by the tag, knows no 'a1_in2k'; did you mean"),
        ("test_resnet.qqq", "weights of 'test_resnet' .* knows no 'qqq'; it knows r160_in1k$"),
        ("resnet5000.a1_in1k", "timm must know the network, knows no 'resnet5000'"),
    ],
)
def test_an_unknown_tag_is_refused(name, line):
    with pytest.raises(ConfigError, match=f"^model.name: .*{line}"):
        build_model(config(f"timm/{name}"), 3)


def test_a_package_takes_no_tag_and_auto_takes_the_hub_with_one():
    name = "timm/tf_efficientnet_lite0.in1k"
    line = (
        "^model.name: must have no tag where model.weights is 'package', has 'in1k'; name "
        "'timm/tf_efficientnet_lite0', or set model.weights=hub$"
    )
    with pytest.raises(ConfigError, match=line):
        build_model(config(name, "package"), 3)
    assert not has_packaged_weights(name)


@pytest.mark.parametrize(
    "name", ["volo_d1_224", "deit_tiny_distilled_patch16_224", "levit_128s", "inception_v3"]
)
def test_a_gradient_reaches_auxiliary_and_distilled_heads(name):
    """Processes that train together would wait forever for what gets none."""
    with torch.device("meta"):
        module = build_model(config(f"timm/{name}"), 3).module.train()
        side = 299 if name == "inception_v3" else 224
        module(torch.empty(2, 3, side, side)).sum().backward()
    dead = [key for key, weight in module.named_parameters() if weight.grad is None]
    assert dead == []


@pytest.mark.parametrize("name", [VIT, "timm/test_vit_relpos", "timm/test_convnext"])
@pytest.mark.parametrize("side", [96, 160, 224])
def test_a_network_is_built_for_the_size_of_the_images(name, side):
    network = build_random(config(name), 3, size_px=side)
    trunk = build_trunk(config(name), 0, size_px=side).module.eval()
    with torch.no_grad():
        assert network.module.eval()(images(side)).shape == (2, 3)
        assert trunk(images(side)).shape[0] == 2


def test_without_a_size_it_is_the_networks_own():
    module = build_random(config("timm/test_vit_relpos"), 3).module.eval()
    with torch.no_grad(), pytest.raises(AssertionError, match=r"Input height \(96\)"):
        module(images(96))


def test_weights_of_another_size_are_fitted_to_it(tmp_path):
    path = tmp_path / "vit.safetensors"
    stored = build_random(config(VIT), 3, seed=9).module.state_dict()
    save_file(stored, path)
    fitted = build_model(config(VIT, str(path)), 3, size_px=96).module.state_dict()
    assert stored["pos_embed"].shape == (1, 101, 64)
    assert fitted["pos_embed"].shape == (1, 37, 64)
    rest = fitted.keys() - {"pos_embed"}
    assert rest
    assert all(torch.equal(fitted[key], stored[key]) for key in rest)
    # The class token's embedding is nobody's place.
    torch.testing.assert_close(fitted["pos_embed"][:, 0], stored["pos_embed"][:, 0])


@pytest.mark.parametrize(
    ("name", "side", "own"),
    [(VIT, 167, 160), ("timm/efficientformer_l1", 192, 224), ("timm/halonet26t", 224, 256)],
)
def test_a_size_that_a_network_cannot_take_is_one_line(name, side, own):
    line = (
        f"^{name}: images must be of a size that it can take, are {side} x {side} pixels "
        rf"\(.+\); its own is images\.size_px={own}$"
    )
    for build in (
        lambda: build_random(config(name), 3, size_px=side),
        lambda: build_trunk(config(name), 0, size_px=side),
    ):
        with torch.device("meta"), pytest.raises(ConfigError, match=line) as caught:
            build()
        assert not re.search(r"\n", str(caught.value))
