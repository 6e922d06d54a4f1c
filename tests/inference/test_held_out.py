"""Which network explains a training image: that of the fold that held it out."""

import json
import shutil

import numpy as np
import pytest
import torch

from pipeline.data.training_table import load_training_table
from pipeline.inference import fold_models
from pipeline.inference.fold_models import FoldModels
from pipeline.inference.grad_cam import grad_cam
from pipeline.inference.held_out import explain
from pipeline.stages import train
from pipeline.store.freshness import Stamp, digest
from pipeline.store.paths import Paths
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from tests import tiny

FINETUNE = """
method = "finetune"
train = { epochs = 1, batch_size = 16 }
"""


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    """A probe and a fine-tuned network; the networks of fold 1 say nothing for any class."""
    root, competition = tmp_path_factory.mktemp("explanation") / "root", drawn[1]
    shutil.copytree(drawn[0], root)
    paths = Paths(root, competition.name)
    for name, text in (("probe", ""), ("finetune", FINETUNE)):
        train.run(paths, competition, [tiny.write_toml(root / f"{name}.toml", text)], [], [])
        silence(paths, name, fold=1)
    return paths, competition


def silence(paths: Paths, name: str, fold: int) -> None:
    """Set a fold's head to zero, and its stamp to what stands there now."""
    files = paths.experiment(name).fold(fold)
    heads = ("weight", "fc.weight")
    tensors = {
        key: np.zeros_like(one) if key in heads else one
        for key, one in load_checkpoint(files.checkpoint).items()
    }
    save_checkpoint(files.checkpoint, tensors)
    record = json.loads(files.stamp.read_text(encoding="utf-8"))
    record["outputs"]["checkpoint.safetensors"] = digest(files.checkpoint)
    files.stamp.write_text(json.dumps(record), encoding="utf-8")
    assert not Stamp(files.stamp, {}).damaged()


@pytest.mark.parametrize("name", ["probe", "finetune"])
def test_an_image_is_explained_by_the_network_that_did_not_learn_from_it(trained, name):
    paths, competition = trained
    images, folds = load_training_table(paths)
    rows = np.array([*np.flatnonzero(folds["fold"] == 1)[:3], *np.flatnonzero(folds["fold"] == 0)])
    models = FoldModels(paths, competition, name)
    assert models.has_maps()
    held_out = folds["fold"].to_numpy()[rows]
    classes = np.tile([0, 1], (len(rows), 1))
    found = explain(paths, models, images.iloc[rows], held_out, classes)
    assert not any(one.maps.any() for one in found[:3])
    assert all(one.maps.any() for one in found[3:])


def test_an_image_is_shown_as_the_network_sees_it(trained):
    paths, competition = trained
    images, folds = load_training_table(paths)
    models = FoldModels(paths, competition, "probe")
    args = folds["fold"].to_numpy(), np.zeros((len(images), 1), dtype=np.int64)
    found = explain(paths, models, images, *args)
    assert len(found) == len(images)
    assert {one.pixels.shape for one in found} == {(32, 32, 3)}
    assert len({one.pixels.tobytes() for one in found}) > len(images) / 2


def test_a_gpus_large_batches_explain_alike_and_are_halved_until_they_fit(trained, monkeypatch):
    paths, competition = trained
    images, folds = load_training_table(paths)
    models = FoldModels(paths, competition, "finetune")
    args = folds["fold"].to_numpy(), np.tile([0, 1], (len(images), 1))
    small = explain(paths, models, images, *args)
    asked = []

    def maps_of(network, inputs, classes):
        asked.append(len(inputs))
        if len(inputs) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return grad_cam(network, inputs, classes)

    monkeypatch.setattr(models, "_device", torch.device("cuda"))
    assert models.images_at_once(8, num_views=4) == 64
    monkeypatch.setattr(models, "images_at_once", lambda *_: 256)
    monkeypatch.setattr(models, "_device", torch.device("cpu"))
    monkeypatch.setattr(fold_models, "grad_cam", maps_of)
    large = explain(paths, models, images, *args)
    assert max(asked) == max(np.bincount(folds["fold"]))
    for one, other in zip(small, large, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_allclose(one.maps, other.maps, atol=1e-4)
