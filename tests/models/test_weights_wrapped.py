"""Weights as training scripts and other libraries save them; no code of a file is ever run."""

import argparse
import collections
import os
import pathlib
import pickle
import re
import shutil
import types
import warnings

import numpy as np
import pytest
import timm
import torch
import torchvision  # type: ignore[import-untyped]
from torch.optim.swa_utils import AveragedModel

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError
from pipeline.models import hub
from pipeline.models.registry import build_model

NAME = "timm/test_resnet"
NUM_CLASSES = 3


class Meter:
    """What a script might keep beside its weights."""

    def __init__(self) -> None:
        self.values = [1, 2]


class Settings(dict):  # type: ignore[type-arg]
    """As Lightning's hyperparameters, addict and their like."""


class Names(list):  # type: ignore[type-arg]
    """As OmegaConf's."""


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=NUM_CLASSES)


def load(path, name=NAME, num_classes=NUM_CLASSES, size_px=None):
    config = ModelConfig(name=name, weights=str(path))
    return build_model(config, num_classes, 0, size_px).module


def prefixed(state, *prefixes):
    return {prefix + name: one for prefix in prefixes for name, one in state.items()}


def script(state):
    values = argparse.Namespace(model="x", lr=0.1, path=pathlib.PurePosixPath("a"))
    return {"state_dict": state, "args": values, "epoch": 3, "metric": np.float64(0.9)}


WRAPPED = {
    "timm": script,
    "torchvision": lambda state: {"model": state, "args": argparse.Namespace(a=1), "scaler": None},
    "lightning": lambda state: {"state_dict": prefixed(state, "net."), "loops": {}},
    "lightning with a loss": lambda state: {
        "state_dict": prefixed(state, "model.") | {"criterion.weight": torch.ones(3)}
    },
    "two copies": lambda state: (
        {f"ema_model.module.{name}": one for name, one in state.items()}
        | {f"model.{name}": torch.zeros_like(one) for name, one in state.items()}
    ),
    "mmpretrain": lambda state: {
        "meta": {"epoch": 3},
        "state_dict": {
            ("head." if name.startswith("fc.") else "backbone.") + name: one
            for name, one in state.items()
        },
    },
    "an average": lambda state: {
        "model": {name: torch.zeros_like(one) for name, one in state.items()},
        "model_ema": prefixed(state, "module.") | {"n_averaged": torch.tensor(7)},
    },
    "swa": lambda state: {"swa_state_dict": prefixed(state, "module."), "state_dict": {}},
    "compiled and distributed": lambda state: prefixed(state, "module._orig_mod."),
    "params": lambda state: {"params": state},
    "an object of the script": lambda state: {"model": state, "meter": Meter()},
    "a dict of the script": lambda state: {"model": state, "hyper_parameters": Settings(a=1)},
    "a list of the script": lambda state: {"model": state, "names": Names(["a", "b"])},
    "a simple namespace": lambda state: {"model": state, "opt": types.SimpleNamespace(a=Meter())},
    "numpy beside": lambda state: {"net": state, "probs": np.zeros((3, 2)), "n": np.int64(3)},
    "defaults": lambda state: {"net": state, "counts": collections.OrderedDict(a=1)},
    "numbers among tensors": lambda state: state | {"epoch": 3},
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("suffix", [".pth.tar", ".ckpt"])
def test_a_checkpoint_of_a_script_fills_the_network(tmp_path, reference, name, suffix):
    state = reference.state_dict()
    path = tmp_path / f"a{suffix}"
    torch.save(WRAPPED[name](state), path)
    found = load(path).state_dict()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_file_of_the_old_format_and_of_large_letters_is_taken(tmp_path, reference):
    state = reference.state_dict()
    path = tmp_path / "A.PTH"
    torch.save(script(state), path, _use_new_zipfile_serialization=False)
    assert torch.equal(load(path).state_dict()["fc.weight"], state["fc.weight"])


def test_torchs_average_of_a_network_is_taken(tmp_path, reference):
    torch.save(AveragedModel(reference).state_dict(), tmp_path / "a.pth")
    found = load(tmp_path / "a.pth").state_dict()
    assert torch.equal(found["fc.weight"], reference.state_dict()["fc.weight"])


def test_parts_that_are_left_out_are_said(tmp_path, reference, capsys):
    state = prefixed(reference.state_dict(), "model.") | {"criterion.weight": torch.ones(3)}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    load(tmp_path / "a.pth")
    said = capsys.readouterr().err
    assert "of it 1 tensors of other parts are not used, the first is 'criterion.weight'" in said


class Trap:
    """Makes a folder when it is unpickled by a reader that trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


class Caller:
    """Calls a function of a third library when it is unpickled by a reader that trusts it."""

    def __reduce__(self):
        return (shutil.rmtree, ("nowhere",))


def test_what_would_run_code_is_refused_by_its_name(tmp_path, reference):
    state = reference.state_dict()
    for thing, name in ((Trap(tmp_path / "sprung"), "posix.mkdir"), (Caller(), "shutil.rmtree")):
        torch.save({"model": state, "a": thing}, tmp_path / "a.pth")
        with pytest.raises(ArtifactError, match=rf"\(it would call {name}\); save the state"):
            load(tmp_path / "a.pth")
    assert not (tmp_path / "sprung").exists()


class Calls:
    """Reduces to a call of this module's own function."""

    def __reduce__(self):
        return (note, ("called",))


NOTES: list[str] = []


def note(text):
    NOTES.append(text)


def test_functions_of_a_script_are_never_called(tmp_path, reference):
    torch.save({"model": reference.state_dict(), "a": Calls()}, tmp_path / "a.pth")
    load(tmp_path / "a.pth")
    assert NOTES == []


def test_a_whole_pickled_network_is_refused_with_its_class(tmp_path, reference):
    for stored in (reference, {"ema": reference, "epoch": 3}):
        torch.save(stored, tmp_path / "a.pth")
        line = r"holds a whole timm\.models\.resnet\.ResNet, .*; save the state dict alone, best as"
        with pytest.raises(ArtifactError, match=line):
            load(tmp_path / "a.pth")


def test_a_torchscript_program_and_a_list_of_folds_are_refused_in_one_line(tmp_path, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that programs of this kind are old
        traced = torch.jit.trace(reference.eval(), torch.zeros(1, 3, 32, 32))
        torch.jit.save(traced, tmp_path / "a.pt")
    torch.save([reference.state_dict()] * 2, tmp_path / "b.pt")
    for name, line in (("a.pt", "a TorchScript program"), ("b.pt", "list of 2 state dicts")):
        with pytest.raises(ArtifactError, match=line) as caught:
            load(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1


def test_a_broken_pickle_of_stand_ins_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Meter(), protocol=2)[:20])
    with pytest.raises(ArtifactError, match=r"cannot be read \(.+\)"):
        load(path)


def as_first_published(state):
    """Name a densenet's tensors as torchvision's first files do."""
    renamed = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): one
        for name, one in state.items()
    }
    return {name: one for name, one in renamed.items() if "num_batches" not in name}


@pytest.mark.parametrize(
    ("name", "theirs", "renamed"),
    [("densenet121", "densenet121", as_first_published), ("regnety_004", "regnet_y_400mf", dict),
     pytest.param("vgg11", "vgg11", dict, marks=pytest.mark.slow)],
)  # fmt: skip
def test_torchvisions_published_files_are_translated_by_timm(tmp_path, name, theirs, renamed):
    torch.manual_seed(0)
    module = torchvision.models.get_model(theirs, weights=None, num_classes=5).eval()
    torch.save(renamed(module.state_dict()), tmp_path / "a.pth")
    own = load(tmp_path / "a.pth", f"timm/{name}", 5, 224).eval()
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(own(images), module(images), rtol=1e-3, atol=1e-4)


def test_a_size_that_does_not_fit_names_the_key(tmp_path):
    state = build_model(ModelConfig(name="timm/test_vit", weights="none"), 3).module.state_dict()
    torch.save(state | {"pos_embed": torch.zeros(1, 7, 3)}, tmp_path / "a.pth")
    line = r"'pos_embed' must have the shape .*; set images\.size_px to that of these weights"
    with pytest.raises(ArtifactError, match=line):
        load(tmp_path / "a.pth", "timm/test_vit")


def test_old_names_of_timm_are_those_of_today():
    assert hub.current_name("tf_efficientnet_b4_ns") == "tf_efficientnet_b4.ns_jft_in1k"
    assert hub.hub_repository("timm/convnext_tiny_in22ft1k") == hub.hub_repository(
        "timm/convnext_tiny.fb_in22k_ft_in1k"
    )
    with torch.device("meta"):
        build_model(ModelConfig(name="timm/convnext_tiny_in22ft1k", weights="none"), 3)


def test_a_file_in_torch_hubs_cache_is_known_by_its_digest(tmp_path, monkeypatch):
    from pipeline.store.freshness import file_sha256

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save({}, tmp_path / "a")
    digest = file_sha256(tmp_path / "a")[:8]
    for url, is_found in ((f"x/net-{digest}.pth", True), ("x/net-00000000.pth", False)):
        monkeypatch.setattr(hub, "network_config", lambda _, url=url: {"url": f"https://{url}"})
        shutil.copy(tmp_path / "a", tmp_path / "checkpoints" / url[2:])
        assert (hub.find_torch_hub("timm/net") is not None) == is_found


def test_a_copy_of_a_hubs_cache_is_a_folder_of_weights(tmp_path, reference):
    folder = tmp_path / "models--a--b" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    torch.save(reference.state_dict(), folder / "pytorch_model.bin")
    found = load(tmp_path / "models--a--b").state_dict()
    assert torch.equal(found["fc.weight"], reference.state_dict()["fc.weight"])
