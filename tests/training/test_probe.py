from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.images.views import View
from pipeline.scoring.metrics import score
from pipeline.training import probe
from pipeline.training.feature_cache import FeatureRows
from pipeline.training.head import LinearHead, fit_head
from pipeline.training.probe import Probe
from pipeline.training.task import FoldTask, TrainingData
from tests import tiny

NUM, NUM_TEST, NUM_PLAIN = 40, 6, 2


@pytest.fixture
def views():
    """Features of V views, one row per image, that tell the classes apart nearly always."""
    rng = np.random.default_rng(0)
    targets = np.arange(NUM) % 2
    plain = rng.normal(size=(NUM, 8)) + 2 * targets[:, None]
    noise = rng.normal(scale=0.1, size=(3, NUM, 8))
    return (plain + noise).astype(np.float16), targets


@pytest.fixture
def make(monkeypatch, views):
    """Build a Probe on given features instead of an extractor's."""
    features, targets = views
    asked = {}

    class Extractor:
        def __init__(self, *_):
            pass

        def extract(self, images, wanted, what):
            asked[what] = (len(images), wanted)
            given = features if what == "train" else features[:NUM_PLAIN, :NUM_TEST]
            return [FeatureRows([view], [len(view)]) for view in given]

    monkeypatch.setattr(probe, "FeatureExtractor", Extractor)

    def build(own_targets=targets, groups=None):
        files: Any = "paths"
        table = pd.DataFrame({"group": np.arange(NUM) if groups is None else groups})
        data = TrainingData(table, own_targets, table.head(0), num_classes=2, metric="accuracy")
        return Probe(files, tiny.experiment(), data), asked

    return build


def held_out(fold, is_val):
    return FoldTask(fold, is_val, key="", state_path=Path())


def test_training_sees_all_views_and_predictions_the_plain_ones(make):
    _, asked = make()
    plain = [View(), View(is_mirrored=True)]
    assert asked == {"train": (NUM, [*plain, View("light")]), "test": (0, plain)}


def test_a_fold_is_predicted_and_told(make, views):
    method, _ = make()
    is_val = np.arange(NUM) < 10
    result = method.fit_fold(held_out(0, is_val))
    assert (result.val_probs.shape, result.test_probs.shape) == ((10, 2), (NUM_TEST, 2))
    row = result.history.iloc[0]
    assert list(result.history.columns) == [
        "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
    ]  # fmt: skip
    assert row["val_accuracy"] == pytest.approx(score("accuracy", views[1][:10], result.val_probs))
    assert row["val_loss"] == pytest.approx(
        score("log_loss", views[1][:10], result.val_probs), abs=1e-6
    )
    expected = LinearHead(**result.weights).predict(views[0][:NUM_PLAIN, :NUM_TEST])
    np.testing.assert_array_equal(result.test_probs, expected)


def test_what_is_held_out_changes_nothing_learned(make, views):
    is_val = np.arange(NUM) % 4 < 2
    flipped = np.where(is_val, 1 - views[1], views[1])
    first, second = (
        make()[0].fit_fold(held_out(0, is_val)),
        make(flipped)[0].fit_fold(held_out(0, is_val)),
    )
    np.testing.assert_array_equal(first.weights["weight"], second.weights["weight"])
    np.testing.assert_array_equal(first.val_probs, second.val_probs)
    assert first.history["val_accuracy"][0] == pytest.approx(1 - second.history["val_accuracy"][0])


def test_folds_do_not_disturb_each_other(make):
    is_val = np.arange(NUM) % 4 < 2
    method, _ = make()
    alone = make()[0].fit_fold(held_out(0, is_val))
    method.fit_fold(held_out(1, ~is_val))
    np.testing.assert_array_equal(method.fit_fold(held_out(0, is_val)).val_probs, alone.val_probs)


def test_every_view_of_an_image_teaches_its_own_label(make, views, monkeypatch):
    seen = {}

    def fit(features, targets, num_classes, config, groups):
        np.testing.assert_array_equal(groups, np.tile(np.arange(10, NUM) // 2, 3))
        seen["features"], seen["targets"] = features.copy(), targets
        return fit_head(features, targets, num_classes, config)

    monkeypatch.setattr(probe, "fit_head", fit)
    is_val = np.arange(NUM) < 10
    make(groups=np.arange(NUM) // 2)[0].fit_fold(held_out(0, is_val))
    features, targets = views
    np.testing.assert_array_equal(seen["targets"], np.tile(targets[10:], 3))
    np.testing.assert_array_equal(seen["features"], np.concatenate(list(features[:, 10:])))


def sided(rng, noise):
    """Features of plain and mirrored views: the first one says left or right, and is mirrored."""
    targets = np.arange(NUM) % 2
    side = np.where(targets, 1.5, -1.5)[:, None] * np.eye(1, 8)
    plain = side + rng.normal(scale=noise, size=(NUM, 8))
    mirrored = plain * np.where(np.arange(8) == 0, -1, 1)
    return np.stack([plain, mirrored, plain]).astype(np.float16), targets


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_mirrored_views_that_exchange_the_classes_are_told_once(make, noise, capsys):
    features, _ = sided(np.random.default_rng(1), noise)
    method, _ = make()
    method._train = [FeatureRows([view], [NUM]) for view in features]
    method._asks_of_flips = True
    is_val = np.arange(NUM) % 4 < 2
    for fold, (rows, left) in enumerate(((is_val, 2), (~is_val, 1))):
        method.fit_fold(replace(held_out(fold, rows), num_folds_left=left))
    said = capsys.readouterr().err
    assert said.count("mirrored views do harm: without them a probe's accuracy is +0.") == 1
    assert f"of {NUM} images; if left and right" in said
    assert "write horizontal_flip = false" in said


def test_mirrored_views_that_keep_the_classes_are_no_doubt(make, capsys):
    method, _ = make()
    method._asks_of_flips = True
    method.fit_fold(held_out(0, np.arange(NUM) % 4 < 2))
    assert "mirrored views" not in capsys.readouterr().err
