import re

import pytest
import torch
from accelerate.utils import imports

from pipeline.errors import ConfigError
from pipeline.training.device import (
    Precision,
    check_compiler,
    describe_device,
    fast_dtype,
    pick_device,
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
