import re

import pytest
import torch
from accelerate.utils import imports

from pipeline.config.experiment import ImageConfig
from pipeline.errors import ConfigError
from pipeline.training import device
from pipeline.training.device import (
    Precision,
    check_compiler,
    describe_device,
    fast_dtype,
    lacking_kernels,
    pick_device,
    to_inputs,
    unseen_gpus,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_picked(monkeypatch, has_cuda, has_mps, expected):
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert pick_device().type == expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_can(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_dtype(CPU) == expected


def test_the_launcher_may_demand_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert pick_device().type == "cpu"


@pytest.mark.parametrize(
    ("is_native", "capability", "expected"),
    [(True, (8, 0), "bfloat16"), (False, (7, 5), "float16"), (False, (6, 0), "float32")],
)
def test_a_gpu_never_emulates_bfloat16(monkeypatch, is_native, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    def supported(*, including_emulation=True):
        return is_native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert fast_dtype(torch.device("cuda")) == getattr(torch, expected)


def test_other_devices_compute_in_float32():
    assert fast_dtype(torch.device("mps")) == torch.float32


@pytest.mark.parametrize(("is_macos_14", "name"), [(True, "bf16"), (False, "auto")])
def test_bfloat16_by_name_is_taken_where_accelerate_takes_it(monkeypatch, is_macos_14, name):
    monkeypatch.setattr(imports, "is_cuda_available", lambda: False)
    monkeypatch.setattr(imports, "is_mps_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: is_macos_14)
    expected = torch.bfloat16 if is_macos_14 else torch.float32
    assert Precision.choose(name, torch.device("mps")).dtype == expected
    if not is_macos_14:
        line = (
            r"^train\.precision: must be what this device \(mps\) can compute in, is bf16; set it"
        )
        with pytest.raises(ConfigError, match=line):
            Precision.choose("bf16", torch.device("mps"))


def test_a_device_is_described_with_its_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    threads = torch.get_num_threads()
    assert describe_device(CPU) == f"cpu, {threads} threads, bfloat16"
    assert describe_device(torch.device("mps")) == "mps, float32"


@pytest.mark.parametrize(("cxx", "named"), [("no-such-compiler", "no-such-compiler"), ("", "g++")])
def test_compiling_without_a_compiler_is_refused_before_any_work(monkeypatch, cxx, named):
    monkeypatch.setenv("CXX", cxx)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.platform", "linux")
    line = rf"^train\.compile: must be false without a compiler, '{re.escape(named)}' isn't on the"
    with pytest.raises(ConfigError, match=line):
        check_compiler(torch.device("cpu"))


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that there is a GPU of some capability, and a torch with kernels for some."""

    def pretend(capability, *built):
        monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(built))

    return pretend


@pytest.mark.parametrize(
    ("capability", "built", "is_served"),
    [
        ((7, 0), ("sm_75", "sm_80"), False),
        ((6, 0), ("sm_75", "compute_90"), False),
        ((7, 5), ("sm_75",), True),
        ((8, 6), ("sm_80",), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_90a",), True),
        ((12, 0), ("sm_80", "sm_90"), False),
        ((12, 0), ("sm_80", "compute_90"), True),
        ((3, 7), (), True),  # a build that doesn't say
    ],
)
def test_a_gpu_without_kernels_is_refused_by_name(gpu, capability, built, is_served):
    gpu(capability, *built)
    assert (lacking_kernels(0) is None) == is_served
    if is_served:
        assert pick_device().type == "cuda"
        return
    line = r"^Tesla: must be of a capability that torch .+ has kernels for \(.+\), is of \d+\.\d; "
    with pytest.raises(ConfigError, match=line):
        pick_device()


def test_gpus_that_the_driver_sees_and_torch_does_not_are_told_once(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "DRIVER_GPUS", tmp_path)
    device._warn_of_unseen_gpus.cache_clear()
    (tmp_path / "0000:01:00.0").mkdir()
    assert (pick_device(), pick_device()) == (CPU, CPU)
    assert capsys.readouterr().err.count("the driver sees 1 GPUs, torch") == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert unseen_gpus() == 0
    device._warn_of_unseen_gpus.cache_clear()


def test_inputs_are_normalised_alike_with_and_without_gradients():
    pixels = torch.arange(2 * 3 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 4, 3)
    config = ImageConfig(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    with torch.inference_mode():
        first = to_inputs(pixels, config, CPU)
    again = to_inputs(pixels, config, CPU).requires_grad_()
    again.square().sum().backward()
    assert torch.equal(first, again)
    expected = (pixels.double() / 255 - torch.tensor(config.mean)) / torch.tensor(config.std)
    torch.testing.assert_close(first, expected.permute(0, 3, 1, 2).float())
