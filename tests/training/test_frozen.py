"""Frozen layers through OpenVINO: the same as through torch, the same bits in every run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.config.experiment import ImageConfig, ModelConfig
from pipeline.errors import ConfigError
from pipeline.models.registry import build_random
from pipeline.models.split import split
from pipeline.training.device import CPU_BACKEND, Precision, describe_device
from pipeline.training.frozen import frozen_forward

CPU = torch.device("cpu")
FP32 = Precision("cpu", torch.float32)
BF16 = Precision("cpu", torch.bfloat16)


@pytest.fixture(autouse=True)
def _openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv(CPU_BACKEND, "openvino")


def pixels(num: int, size_px: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (num, 3, 8, 8), generator=generator).float()
    images = nn.functional.interpolate(small, size=(size_px, size_px), mode="bicubic")
    return images.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def layers(name: str, size_px: int, cut: str | None = None) -> nn.Module:
    network = build_random(ModelConfig(name=name, weights="none"), 5, 0, size_px)
    module = network.module.eval()
    if cut is None:
        return module
    lower = split(network, cut, torch.zeros(2, 3, size_px, size_px)).lower
    assert lower is not None
    return lower.eval()


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0))


def by_torch(module: nn.Module, given: Tensor, images: ImageConfig) -> Tensor:
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv(CPU_BACKEND, "torch")
        return frozen_forward(module, CPU, FP32, images)(given)


QUICK = [("sample_resnet", 64, None), ("timm/tf_efficientnet_lite0", 64, "blocks.4")]
ALL = [
    ("lenet", 200, None),
    ("resnet18", 64, None),
    ("resnet50", 64, "layer3"),
    ("resnext50_32x4d", 64, None),
    ("plain18", 64, None),
    ("se_resnet50", 64, None),
    ("cbam_resnet50", 64, None),
    ("cbam_resnet50", 64, "layer3"),
    ("resnet50_attention", 64, None),
    ("sample_resnet", 64, "block1"),
    ("timm/tf_efficientnet_lite0", 96, None),
    ("timm/tf_efficientnet_lite1", 96, None),
    ("timm/tf_efficientnet_lite2", 96, None),
    ("timm/vit_tiny_patch16_224", 224, None),
    ("timm/vit_tiny_patch16_224", 224, "blocks.5"),
    ("timm/convnext_atto", 64, None),
    ("timm/convnext_atto", 64, "stages.2"),
]


@pytest.mark.parametrize(
    ("name", "size_px", "cut"),
    [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in ALL)],
)
def test_layers_give_what_torch_gives(name, size_px, cut, capfd):
    module, images = layers(name, size_px, cut), ImageConfig(size_px=size_px)
    given = pixels(20, size_px)  # more than a part, less than two
    expected = by_torch(module, given, images)
    exact = frozen_forward(module, CPU, FP32, images)(given)
    assert exact.shape == expected.shape
    assert float((exact - expected).abs().max()) <= 2e-5 * float(expected.abs().max())
    coarse = frozen_forward(module, CPU, BF16, images)(given)
    assert cosine(coarse, expected) > 0.995
    assert "torch runs it" not in capfd.readouterr().err


def test_an_image_has_the_same_bits_whatever_stands_beside_it():
    module, images = layers("sample_resnet", 64), ImageConfig(size_px=64)
    given, forward = pixels(40, 64), frozen_forward(module, CPU, BF16, images)
    whole = forward(given)
    assert torch.equal(forward(given[:7]), whole[:7])
    assert torch.equal(forward(given[32:]), whole[32:])


def test_inputs_may_come_normalised_and_be_maps():
    upper = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3)).eval()
    maps = torch.randn(5, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = frozen_forward(upper, CPU, FP32)(maps)
        assert torch.allclose(found, upper(maps), atol=1e-5)


class Refused(nn.Module):
    """Layers that no tracer can follow."""

    def forward(self, images: Tensor) -> Tensor:
        if torch._C._get_tracing_state() is not None:
            raise ValueError("not while somebody watches")
        return images.mean((1, 2, 3))[:, None]


def test_layers_that_do_not_convert_run_by_torch_and_one_line_says_so(capfd):
    module, images = Refused().eval(), ImageConfig(size_px=32)
    given = pixels(3, 32)
    found = frozen_forward(module, CPU, FP32, images)(given)
    assert torch.equal(found, by_torch(module, given, images))
    lines = [line for line in capfd.readouterr().err.splitlines() if "torch runs it" in line]
    assert len(lines) == 1
    assert "openvino can't run Refused" in lines[0]


class Wrong(nn.Module):
    """Layers that compute otherwise once they are traced."""

    def forward(self, images: Tensor) -> Tensor:
        sign = -1.0 if torch._C._get_tracing_state() is not None else 1.0
        return sign * images.mean((2, 3))


def test_layers_that_compute_otherwise_once_converted_run_by_torch(capfd):
    module, images = Wrong().eval(), ImageConfig(size_px=32)
    given = pixels(3, 32)
    found = frozen_forward(module, CPU, FP32, images)(given)
    assert torch.equal(found, by_torch(module, given, images))
    assert "computes Wrong otherwise than torch" in capfd.readouterr().err


def test_the_backend_can_be_chosen_and_is_told(monkeypatch):
    assert "openvino 20" in describe_device(CPU)
    monkeypatch.setenv(CPU_BACKEND, "torch")
    assert "openvino" not in describe_device(CPU)
    monkeypatch.setenv(CPU_BACKEND, "onnx")
    with pytest.raises(ConfigError, match="must be 'openvino' or 'torch', is 'onnx'"):
        describe_device(CPU)


def test_a_wanted_backend_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("pipeline.training.device.is_installed", lambda _: False)
    with pytest.raises(ConfigError, match="must be what is installed, is 'openvino'"):
        describe_device(CPU)
    monkeypatch.delenv(CPU_BACKEND)
    assert "openvino" not in describe_device(CPU)


@pytest.mark.slow
def test_the_number_of_cores_does_not_change_a_bit(tmp_path: Path) -> None:
    code = """
import sys, numpy as np, torch
from tests.training.test_frozen import *
forward = frozen_forward(layers("sample_resnet", 64), CPU, BF16, ImageConfig(size_px=64))
np.save(sys.argv[1], forward(pixels(40, 64)).numpy())
"""
    for cores in ("0", "0-1"):
        path = str(tmp_path / f"{cores}.npy")
        subprocess.run(["taskset", "-c", cores, sys.executable, "-c", code, path], check=True)
    assert np.array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "0-1.npy"))
