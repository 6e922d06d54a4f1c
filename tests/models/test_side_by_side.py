"""A probe's head reads the features of several networks side by side."""

import json
import re

import pytest
import torch

from pipeline.config.experiment import Experiment, ImageConfig, ModelConfig
from pipeline.config.strict import parse
from pipeline.errors import ConfigError
from pipeline.models import registry
from pipeline.models.registry import build_random_trunk, build_trunk
from pipeline.models.weights_source import weights_digest
from pipeline.stages import predict, train
from tests import tiny

pytestmark = pytest.mark.slow

RESNET, EFFICIENTNET = "timm/test_resnet", "timm/test_efficientnet"
BOTH = ModelConfig(name=RESNET, weights="none", beside=(EFFICIENTNET,))


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def features(config, images, seed=3):
    with torch.inference_mode():
        return build_trunk(config, seed, 32).module.eval()(images)


def test_features_are_those_of_each_network_one_after_the_other(images):
    alone = [features(one, images) for one in BOTH.each]
    assert alone[0].shape[1] != alone[1].shape[1]
    assert torch.equal(features(BOTH, images), torch.cat(alone, dim=1))


def test_each_network_sees_the_colours_that_it_was_trained_with(images, monkeypatch):
    own = {
        RESNET: ImageConfig(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        EFFICIENTNET: ImageConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    }
    monkeypatch.setattr(registry, "weights_preparation", lambda model: own[model.name])

    def normalised(colours):
        mean, std = (torch.tensor(three)[:, None, None] for three in (colours.mean, colours.std))
        return (images - mean) / std

    first, second = (features(one, normalised(own[one.name])) for one in BOTH.each)
    found = features(BOTH, normalised(own[RESNET]))
    torch.testing.assert_close(found, torch.cat([first, second], dim=1))


def test_what_tells_weights_and_features_apart_names_every_network():
    others = BOTH.model_copy(update={"beside": ("timm/test_vit",)})
    assert build_trunk(BOTH, 0, 32).weights_sha256 != build_trunk(BOTH, 1, 32).weights_sha256
    assert EFFICIENTNET in build_trunk(BOTH, 0, 32).weights_sha256
    assert weights_digest(BOTH) == "none, none"
    assert "test_vit" not in build_trunk(BOTH, 0, 32).weights_sha256
    assert "test_vit" in build_trunk(others, 0, 160).weights_sha256


def test_a_network_without_weights_can_be_built_for_a_check(images):
    assert build_random_trunk(BOTH, 32).eval()(images).shape == features(BOTH, images).shape


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "finetune"}, "model.beside must be left out where method isn't 'probe'"),
        (
            {"model": {"name": RESNET, "weights": "./mine.pth", "beside": [EFFICIENTNET]}},
            "model.beside must be left out where model.weights is a file",
        ),
        (
            {"model": {"name": RESNET, "weights": "none", "beside": [EFFICIENTNET, RESNET]}},
            "model.beside must name networks once each, and not model.name",
        ),
    ],
)
def test_it_is_refused_where_it_would_decide_nothing(changes, reason):
    values = {"name": "x", "model": BOTH.model_dump(mode="json")} | changes
    with pytest.raises(ConfigError, match=re.escape(reason)):
        parse(Experiment, values, "x.toml")


def test_an_experiment_without_it_is_stamped_as_before_there_was_the_key():
    assert "beside" not in tiny.experiment().as_given()["model"]
    given = tiny.experiment(model=BOTH.model_dump())
    assert given.changed({"seed": 1}, "x").model.beside == (EFFICIENTNET,)
    assert given.as_given()["model"]["beside"] == [EFFICIENTNET]


def test_a_probe_is_trained_on_them_and_predicts_a_folder(workspace, tmp_path):
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "both.toml")
    train.run(paths, competition, [path], [], [f'model.beside=["{EFFICIENTNET}"]'])
    recorded = json.loads(paths.experiment("both").config.read_text())
    assert recorded["model"]["beside"] == [EFFICIENTNET]
    out = tmp_path / "out.csv"
    predict.run(paths, competition, "both", paths.images_dir, None, out)
    assert len(out.read_text().splitlines()) > 1


def test_a_name_beside_that_nothing_has_is_refused_before_any_image_is_read(workspace, tmp_path):
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "both.toml")
    with pytest.raises(ConfigError, match="timm must know the network, knows no 'nonesuch'"):
        train.run(paths, competition, [path], [], ['model.beside=["timm/nonesuch"]'])
