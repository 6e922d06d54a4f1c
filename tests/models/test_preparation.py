"""Images are prepared as the weights need them, unless the recipe says otherwise."""

import json
import re

import pytest
import timm
import torch

from pipeline.config.experiment import Experiment, ImageConfig
from pipeline.errors import ArtifactError
from pipeline.models import preparation
from pipeline.models.preparation import prepared, weights_preparation
from tests import tiny

HALVES = (0.5, 0.5, 0.5)
CLIP = "timm/vit_base_patch32_clip_224"


def experiment(name, images=None, weights="hub"):
    values = {"name": "x", "model": {"name": name, "weights": weights}, "images": images or {}}
    return Experiment.model_validate(values)


@pytest.mark.parametrize(
    "name",
    ["tf_efficientnet_lite0", "vit_base_patch32_clip_224", "resnet50.tv_in1k", "inception_v3",
     "convnext_tiny.in12k_ft_in1k_384", "tf_efficientnet_b4_ns",
     "vit_large_patch14_clip_336.openai_ft_in12k_in1k"],
)  # fmt: skip
def test_what_a_recipe_leaves_out_is_as_timm_says_of_the_weights(name):
    images = prepared(experiment(f"timm/{name}")).images
    trained = timm.get_pretrained_cfg(timm.models.get_deprecated_models().get(name) or name)
    assert trained is not None
    found = (images.size_px, images.crop_fraction, images.mean, images.std)
    assert found == (trained.input_size[-1], trained.crop_pct, trained.mean, trained.std)
    assert images.interpolation == trained.interpolation
    assert images.crop_mode == trained.crop_mode
    assert images.left_to_weights == []


def test_a_network_written_here_is_prepared_as_the_weights_of_its_twin():
    images = prepared(experiment("resnet50")).images
    assert (images.size_px, images.interpolation) == (224, "bilinear")


def test_what_a_recipe_says_counts():
    images = prepared(experiment(CLIP, {"size_px": 96, "crop_fraction": 0.7})).images
    assert (images.size_px, images.crop_fraction) == (96, 0.7)
    assert images.mean[0] == pytest.approx(0.481, abs=0.001)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("convnext_base.fb_in22k_ft_in1k_384", "squash"), ("vit_base_patch32_clip_224", "center"),
     ("coatnet_rmlp_2_rw_384", "squash")],
)  # fmt: skip
def test_oblong_images_are_squashed_where_the_weights_learned_them_so(name, mode):
    made = prepared(experiment(f"timm/{name}"))
    assert made.images.crop_mode == mode
    assert ("by squash" in preparation.describe(made.images)) == (mode == "squash")


def test_a_crop_of_more_than_the_picture_is_the_whole_of_it():
    trained = timm.get_pretrained_cfg("volo_d4_448.sail_in1k")
    assert trained is not None
    assert trained.crop_pct > 1
    assert prepared(experiment("timm/volo_d4_448.sail_in1k")).images.crop_fraction == 1


@pytest.mark.parametrize("name", ["timm/tf_efficientnet_lite0", "lenet"])
def test_networks_without_weights_get_the_defaults(name):
    made = experiment(name, weights="none")
    assert prepared(made) == made
    assert made.images == ImageConfig()


def test_the_recipes_own_colours_are_warned_of_where_they_contradict_the_weights(capsys):
    prepared(experiment("timm/tf_efficientnet_lite0", {"mean": (0.4,) * 3}), is_told=True)
    warned = [line for line in capsys.readouterr().err.splitlines() if "contradict" in line]
    assert len(warned) == 1
    assert "images.mean contradict the weights, which were trained with mean [0.5" in warned[0]
    prepared(
        experiment("timm/tf_efficientnet_lite0", {"mean": HALVES, "std": HALVES}), is_told=True
    )
    assert "contradict" not in capsys.readouterr().err


def test_what_is_taken_from_the_weights_is_logged_in_one_line(capsys):
    prepared(experiment("timm/tf_efficientnet_lite0", {"size_px": 64}), is_told=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "x: images as the weights need them: 64 px, crop 0.875, bicubic, mean 0.5 0.5 0.5, "
        "std 0.5 0.5 0.5"
    )


def write_config(folder, **changes):
    config = {"input_size": [3, 96, 96], "crop_pct": 0.9, "mean": [0.1] * 3, "std": [0.2] * 3}
    stated = {"architecture": "test_resnet", "pretrained_cfg": config | changes}
    (folder / "config.json").write_text(json.dumps(stated))
    path = folder / "model.safetensors"
    path.touch()
    return path


def test_a_file_beside_timms_description_is_prepared_by_it(tmp_path):
    path = write_config(tmp_path, interpolation="bilinear")
    for place in (path, tmp_path):
        images = prepared(experiment("timm/test_resnet", weights=str(place))).images
        assert images == ImageConfig(
            size_px=96, crop_fraction=0.9, mean=(0.1,) * 3, std=(0.2,) * 3, interpolation="bilinear"
        )


def test_a_fold_of_an_experiment_here_is_prepared_as_it_was_trained(tmp_path):
    recorded = experiment("timm/test_resnet", {"size_px": 40, "mean": (0.3,) * 3}, "none")
    (tmp_path / "fold1").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(recorded.model_dump(mode="json")))
    path = tmp_path / "fold1" / "checkpoint.safetensors"
    path.touch()
    assert prepared(experiment("timm/test_vit", weights=str(path))).images == recorded.images


def test_a_file_of_ones_own_is_prepared_as_the_networks_weights(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save({}, path)
    own = weights_preparation(experiment(CLIP, weights=str(path)).model)
    assert own is not None
    assert own.mean == prepared(experiment(CLIP)).images.mean


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"mean": [0.1, 0.2]}, "not enough values"), ({"crop_pct": "all"}, "could not convert"),
     ({"input_size": None}, "not subscriptable"), ({"std": [0, 0, 0]}, "greater than 0")],
)  # fmt: skip
def test_a_description_that_cannot_be_used_is_one_line(tmp_path, changes, reason):
    path = write_config(tmp_path, **changes)
    line = rf"config\.json: must say how images are prepared .*\(.*{reason}.*\); correct its"
    with pytest.raises(ArtifactError, match=line):
        prepared(experiment("timm/test_resnet", weights=str(path)))


def test_values_left_to_the_weights_are_told_from_the_same_ones_set():
    left, given = experiment("lenet"), experiment("lenet", ImageConfig().model_dump())
    assert left.images == given.images
    assert left.as_given() != given.as_given()
    changed = left.changed({"seed": 3}, "x")
    assert changed.images.left_to_weights == left.images.left_to_weights
    assert given.changed({"seed": 3}, "x").images.left_to_weights == []


def test_the_training_records_what_it_used(monkeypatch, workspace):
    from pipeline.stages import train

    paths, competition = workspace
    own = ImageConfig(size_px=32, crop_fraction=0.5, mean=HALVES, std=HALVES)
    monkeypatch.setattr(preparation, "weights_preparation", lambda _: own)
    path = tiny.write_toml(paths.root / "tiny.toml")
    train.run(paths, competition, [path], [], ["images.mean=[0.1,0.1,0.1]"])
    recorded = json.loads(paths.experiment("tiny").config.read_text())["images"]
    assert recorded == own.model_dump(mode="json") | {"mean": [0.1] * 3}


def test_a_repository_of_transformers_is_refused_in_one_line(tmp_path):
    from pipeline.models.hub import read_config

    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": ["ViTForImageClassification"]}))
    line = "must describe a network of timm, doesn't (is of transformers, ViTForImageClassif"
    with pytest.raises(ArtifactError, match=re.escape(line)) as caught:
        read_config(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[]", "names no network"), ("{", "Expecting"), ('{"architecture": 3}', "names '3'"),
     ('{"architecture": "no_such_net"}', "'no_such_net', which timm .* doesn't have"),
     ('{"architecture": "resnet18", "pretrained_cfg": 3}', "")],
)  # fmt: skip
def test_a_broken_description_is_refused_in_one_line(tmp_path, text, reason):
    from pipeline.models.hub import read_config

    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=f"must describe a network of timm, .*{reason}") as got:
        read_config(path)
    assert len(str(got.value).splitlines()) == 1
