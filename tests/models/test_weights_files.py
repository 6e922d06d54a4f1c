"""Weights from a file or folder of one's own."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ArtifactError, ConfigError
from pipeline.models.network import Network
from pipeline.models.registry import build_model, build_trunk

NAME = "timm/test_resnet"
NUM_CLASSES = 3


def trained(name: str = NAME, num_classes: int = NUM_CLASSES) -> dict[str, torch.Tensor]:
    """A state dict that no seed of the tests draws."""
    module = build_model(ModelConfig(name=name, weights="none"), num_classes, seed=99).module
    return module.state_dict()


def load(path: Path | str, num_classes: int = NUM_CLASSES, name: str = NAME) -> Network:
    return build_model(ModelConfig(name=name, weights=str(path)), num_classes)


def assert_equal(network: Network, expected: dict[str, torch.Tensor]) -> None:
    found = network.module.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt", "a.bin"])
def test_a_file_of_any_kind_fills_the_whole_network(tmp_path, name, capsys):
    expected = trained()
    (save_file if name.endswith("tensors") else torch.save)(expected, tmp_path / name)
    assert_equal(load(tmp_path / name), expected)
    assert capsys.readouterr().err.splitlines()[-1] == f"weights {NAME}: file {tmp_path / name}"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"model_state_dict": state},
        lambda state: {"state_dict_ema": state, "state_dict": {"fc.weight": torch.zeros(1)}},
        lambda state: {"model": {"state_dict": state}, "args": None},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"model.{name}": state[name] for name in state}},
        lambda state: {f"_orig_mod.module.{name}": state[name] for name in state},
    ],
)
def test_the_usual_containers_and_prefixes_are_taken_off(tmp_path, wrap):
    expected = trained()
    torch.save(wrap(expected), tmp_path / "a.pth")
    assert_equal(load(tmp_path / "a.pth"), expected)


def test_a_folder_gives_its_only_file_or_model_safetensors(tmp_path):
    expected = trained()
    torch.save(expected, tmp_path / "last.pth")
    (tmp_path / "notes.txt").touch()
    assert_equal(load(tmp_path), expected)
    save_file(expected, tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "last.pth")
    assert_equal(load(tmp_path), expected)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    torch.save(trained(), tmp_path / "a.pth")
    assert_equal(load("~/a.pth"), trained())


def test_a_folder_of_several_files_or_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"exactly one file of .*, holds none; name the file$"):
        load(tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save({}, tmp_path / name)
    with pytest.raises(ConfigError, match=r", holds 2 \(a\.pth, b\.pth\); name the file$"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("no/such.pth", r"or a file that exists, 'no/such\.pth' doesn't"),
        ("~/no-such-folder", "'~/no-such-folder' doesn't"),
    ],
)
def test_a_path_to_nothing_is_refused(place, line):
    with pytest.raises(ConfigError, match=f"^model.weights: must be 'package'.*{line}"):
        load(place)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ConfigError, match=r"must end in one of \.safetensors, .*, is '.*a\.onnx'"):
        load(tmp_path / "a.onnx")


def test_another_class_count_drops_the_head_and_says_so(tmp_path, capsys):
    stored = trained(num_classes=1000)
    save_file(stored, tmp_path / "a.safetensors")
    network = load(tmp_path / "a.safetensors")
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == [
        f"weights {NAME}: file {tmp_path / 'a.safetensors'}; its head of 1000 classes is dropped, "
        "one of 3 is drawn with seed 0"
    ]
    drawn = build_model(ModelConfig(name=NAME, weights="none"), NUM_CLASSES).module.state_dict()
    kept = {key: drawn[key] if network.is_head(key) else stored[key] for key in drawn}
    assert_equal(network, kept)


def test_a_file_without_a_head_leaves_the_networks_to_the_seed(tmp_path, capsys):
    stored = {key: tensor for key, tensor in trained().items() if key[:3] != "fc."}
    torch.save(stored, tmp_path / "a.pth")
    network = load(tmp_path / "a.pth")
    assert "; without its head, one is drawn with seed 0" in capsys.readouterr().err
    assert all(torch.equal(network.module.state_dict()[key], stored[key]) for key in stored)


@pytest.mark.parametrize("name", [NAME, "resnet18_cifar"])
def test_a_trunk_needs_no_head_and_says_nothing_of_it(tmp_path, capsys, name):
    stored = trained(name, num_classes=7)
    torch.save(stored, tmp_path / "a.pth")
    trunk = build_trunk(ModelConfig(name=name, weights=str(tmp_path / "a.pth")), seed=0)
    whole = load(tmp_path / "a.pth", 7, name)
    said = [f"weights {name}: file {tmp_path / 'a.pth'}"]
    assert list(dict.fromkeys(capsys.readouterr().err.splitlines()[-2:])) == said
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = trunk.module.eval()(images)
        whole.module.eval()
        torch.testing.assert_close(features, whole.trunk(images))
        torch.testing.assert_close(whole.head(features), whole.module(images))


def test_the_digest_of_a_file_tells_options_apart(tmp_path):
    torch.save(trained("resnet18_cifar"), tmp_path / "a.pth")
    config = ModelConfig(name="resnet18_cifar", weights=str(tmp_path / "a.pth"))
    plain = build_trunk(config, 0).weights_sha256
    same = build_trunk(config, 1).weights_sha256
    chosen = build_trunk(config.model_copy(update={"shortcut": "B"}), 0).weights_sha256
    assert len(plain) == 64
    assert plain == same != chosen


def test_a_shape_mismatch_names_the_first_tensor_and_both_shapes(tmp_path):
    stored = trained()
    first, second = "layer1.0.conv1.weight", "layer4.0.bn1.weight"
    torch.save(stored | {second: torch.zeros(1), first: torch.zeros(2, 3)}, tmp_path / "a.pth")
    shape = re.escape(str(tuple(stored[first].shape)))
    line = rf"a\.pth: tensor '{first}' must have the shape {shape} of {NAME}, has \(2, 3\); use"
    with pytest.raises(ArtifactError, match=line):
        load(tmp_path / "a.pth")


def test_a_head_over_other_features_is_a_shape_mismatch(tmp_path):
    torch.save(trained() | {"fc.weight": torch.zeros(NUM_CLASSES, 2)}, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=r"tensor 'fc\.weight' must .*, has \(3, 2\); use"):
        load(tmp_path / "a.pth")


def test_missing_tensors_are_counted_and_the_first_is_named(tmp_path):
    stored = trained()
    gone = [key for key in stored if key.startswith("layer3.") and "num_batches" not in key]
    torch.save({key: stored[key] for key in stored if key not in gone}, tmp_path / "a.pth")
    line = rf"of {NAME} below its head, lacks {len(gone)}, the first is '{gone[0]}'; use"
    with pytest.raises(ArtifactError, match=line):
        load(tmp_path / "a.pth")


def test_a_norm_that_a_headless_network_keeps_in_its_head_is_needed(tmp_path):
    config = ModelConfig(name="timm/test_convnext", weights=str(tmp_path / "a.pth"))
    stored = trained(config.name)
    torch.save(stored, tmp_path / "a.pth")
    trunk = build_trunk(config, 0).module.state_dict()
    assert torch.equal(trunk["head.norm.weight"], stored["head.norm.weight"])
    del stored["head.norm.weight"]
    torch.save(stored, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=r"lacks 1, the first is 'head\.norm\.weight'; use"):
        build_trunk(config, 0)


def test_tensors_without_a_place_are_counted_and_the_first_is_named(tmp_path):
    torch.save(trained("cbam_resnet18"), tmp_path / "a.pth")
    line = r"tensors of resnet18 alone, holds \d+ others, the first is 'layer1\.0\..*'; use"
    with pytest.raises(ArtifactError, match=line):
        load(tmp_path / "a.pth", name="resnet18")


def test_old_files_without_the_batch_norms_counters_are_taken(tmp_path):
    stored = {key: value for key, value in trained().items() if "num_batches" not in key}
    torch.save(stored, tmp_path / "a.pth")
    network = load(tmp_path / "a.pth")
    assert all(torch.equal(network.module.state_dict()[key], stored[key]) for key in stored)


def test_half_precision_is_widened(tmp_path):
    stored = {
        key: value.half() if value.is_floating_point() else value
        for key, value in trained().items()
    }
    torch.save(stored, tmp_path / "a.pth")
    network = load(tmp_path / "a.pth")
    assert network.module.state_dict()["conv1.0.weight"].dtype == torch.float32


def test_the_attention_networks_trunk_takes_a_resnet50(tmp_path, capsys):
    name = "resnet50_attention"
    stored = trained("resnet50", num_classes=NUM_CLASSES)  # as many classes as are wanted
    torch.save(stored, tmp_path / "a.pth")
    network = load(tmp_path / "a.pth", name=name)
    assert "; without its head, one is drawn with seed 0" in capsys.readouterr().err
    drawn = build_model(ModelConfig(name=name, weights="none"), NUM_CLASSES).module.state_dict()
    trunk = {f"trunk.{key}": stored[key] for key in stored if key[:3] != "fc."}
    assert trunk.keys() < drawn.keys()
    assert_equal(network, drawn | trunk)


def test_what_a_networks_authors_store_otherwise_is_translated_by_timm(tmp_path):
    name = "timm/test_vit"
    stored = trained(name)
    key = "patch_embed.proj.weight"
    as_authors = stored | {key: stored[key].flatten(1)}  # a linear layer on flattened patches
    torch.save(as_authors, tmp_path / "a.pth")
    assert_equal(load(tmp_path / "a.pth", name=name), stored)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_pickle_that_runs_code_is_refused_in_one_line_and_never_run(tmp_path, suffix):
    path, sprung = tmp_path / f"a{suffix}", tmp_path / "sprung"
    path.write_bytes(pickle.dumps({"a": Trap(sprung)}, protocol=2))
    with pytest.raises(ArtifactError, match="must hold tensors and nothing else") as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{path}: ")
    assert not sprung.exists()
    torch.save({"state_dict": trained(), "a": Trap(sprung)}, path)
    with pytest.raises(ArtifactError, match=r"\(.+\); save the state dict alone, best as"):
        load(path)
    assert not sprung.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_cut_file_is_refused_in_one_line(tmp_path, name, share):
    path = tmp_path / name
    (save_file if name.endswith("tensors") else torch.save)(trained(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ArtifactError, match=r"cannot be read \(.+\); save") as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, torch.zeros(3), {"state_dict": {"a": 1}}])
def test_a_file_of_other_things_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match="must hold named tensors, holds a"):
        load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("begin", "line"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", r"Git LFS, which 'git lfs"),
        (b"<!DOCTYPE html><html>Not found</html>", r"\(it is a web page\); save"),
        (b'{"error": "Repository not found"}', r"\(it is a text, perhaps an error"),
        (b"\x89HDF\r\n\x1a\n", r"\(it is a file of Keras or MATLAB\); save"),
        (b"nothing known", r"cannot be read \(no pickle of tensors: .+\); save|header"),
    ],
)
@pytest.mark.parametrize("name", ["a.bin", "a.safetensors"])
def test_what_was_saved_instead_of_weights_is_named(tmp_path, name, begin, line):
    path = tmp_path / name
    path.write_bytes(begin)
    with pytest.raises(ArtifactError, match=line) as caught:
        load(path)
    assert "weights_only" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [{0: torch.ones(2)}, {("a.b", 1): torch.ones(2)}])
def test_tensors_without_names_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match="must hold named tensors, holds a dict of other"):
        load(tmp_path / "a.pth")


def test_tensors_with_names_are_found_beside_some_without(tmp_path):
    torch.save(dict([(0, torch.ones(2)), *trained().items()]), tmp_path / "a.pth")
    own = load(tmp_path / "a.pth")
    assert_equal(own, trained())


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda one: one * float("nan"), "must hold numbers, holds NaN: its training has failed"),
        (lambda one: one.to(torch.int8), "must hold floating-point numbers, .*holds torch.int8"),
        (
            lambda one: one.to(torch.complex64),
            "must hold floating-point numbers, .*holds torch.complex64",
        ),
        (lambda one: one.to_sparse(), "must hold floating-point .*torch.sparse_coo"),
    ],
    ids=["nan", "int8", "complex", "sparse"],
)
def test_numbers_that_are_no_weights_are_refused_by_their_tensor(tmp_path, spoil, line):
    state = trained()
    torch.save(state | {"conv1.0.weight": spoil(state["conv1.0.weight"])}, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=rf"a\.pth: tensor 'conv1\.0\.weight' {line}"):
        load(tmp_path / "a.pth")
