"""`pipeline models`: what it prints where, and nothing else."""

import pytest
import torch
from huggingface_hub import constants

from pipeline.config.experiment import ModelConfig
from pipeline.errors import ConfigError
from pipeline.models import hub
from pipeline.models.profile import profile
from pipeline.models.registry import build_random, model_names
from pipeline.models.weights import list_weights
from pipeline.models.weights_source import PACKAGES
from pipeline.stages import models

LITE0 = "timm/tf_efficientnet_lite0"


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what went to stdout; nothing may go to stderr."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_list_names_every_network_and_weights_for_it(capsys):
    models.run(None, 224, 1000, markdown=False)
    rows = {row.split()[1]: row for row in shown(capsys).splitlines() if row.startswith("│")}
    for name in (*model_names(), *PACKAGES, "timm/<name>"):
        assert name in rows
    assert "hub: timm/resnet50.tv_in1k" in rows["resnet50"]
    assert "none" in rows["plain18"]


def test_one_network_is_profiled_and_its_weights_are_told(capsys, monkeypatch):
    monkeypatch.setattr(models, "images_per_second", lambda *_: (1.0, 2.0))
    models.run("resnet50", 196, 1000, markdown=False)
    out = shown(capsys)
    assert "parameters   25,557,032, trainable 25,557,032" in out
    assert "compute      3.47 GMACs, 6.94 GFLOPs" in out
    assert "3.51 GMACs with batch norm" in out
    assert "weights      hub: timm/resnet50.tv_in1k" in out


def test_a_transformer_is_profiled_at_the_size_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(models, "images_per_second", lambda *_: (1.0, 2.0))
    models.run("timm/test_vit", 96, 10, markdown=False)
    assert "37 x 64" in shown(capsys)
    with pytest.raises(ConfigError, match=r"^timm/test_vit: images must be of a size .* are 100 x"):
        models.run("timm/test_vit", 100, 10, markdown=False)


def test_the_table_has_a_row_for_every_network_and_only_published_numbers(capsys, monkeypatch):
    names = ["resnet18", "lenet"]
    monkeypatch.setattr(models, "model_names", lambda: names)
    monkeypatch.setattr(models, "PACKAGES", {})
    models.run(None, 224, 1000, markdown=True)
    *_, header, line, resnet, lenet = shown(capsys).splitlines()
    assert header.startswith("| network | px |")
    assert set(line) == {"|", "-"}
    assert resnet.startswith("| `resnet18` | 224 | 11.69 | 1.81 |")
    assert lenet.startswith("| `lenet` | 200 | 5.20 | 0.05 |  |  |")


def test_every_published_row_is_of_a_network_here():
    assert models.published_figures().keys() <= set(model_names()) | set(PACKAGES)
    for row in models.published_figures().values():
        assert row["source"]
        assert row.keys() <= {"parameters", "gmacs", "source"}


@pytest.mark.parametrize("name", models.published_figures())
def test_our_networks_cost_what_the_papers_print(name):
    row = models.published_figures()[name]
    options = {"stride_on": "1x1"} if row["source"].endswith("; v1 strides") else {}
    config = ModelConfig.model_validate({"name": name, "weights": "none"} | options)
    with torch.device("meta"):
        counted = profile(build_random(config, 1000), 224)
    assert counted.macs / 1e9 == pytest.approx(row["gmacs"], rel=0.02)
    if "parameters" in row:
        assert counted.num_parameters / 1e6 == pytest.approx(row["parameters"], rel=0.003)


def test_a_package_counts_where_it_is_installed(monkeypatch):
    monkeypatch.setitem(PACKAGES, LITE0, "no_such_weights_package")
    package, repository = list_weights(LITE0)
    assert package == "package no_such_weights_package (not installed)"
    assert repository == "hub: timm/tf_efficientnet_lite0.in1k"


def test_the_cache_of_the_hub_is_looked_into_and_nobody_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_download", pytest.fail)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert list_weights("resnet18") == ["hub: timm/resnet18.tv_in1k"]
    home = tmp_path / "models--timm--resnet18.tv_in1k"
    for path, content in (("refs/main", "abc"), ("snapshots/abc/model.safetensors", "")):
        (home / path).parent.mkdir(parents=True)
        (home / path).write_text(content)
    assert list_weights("resnet18") == ["hub: timm/resnet18.tv_in1k (in the cache)"]
    assert list_weights("lenet") == []
