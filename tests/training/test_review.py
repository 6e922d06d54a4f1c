"""What a fold's model makes of the training images afterwards, for both methods."""

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.scoring.targets import class_indices
from pipeline.store.tables import load_test, load_train
from pipeline.training.finetune import Finetune
from pipeline.training.probe import Probe
from pipeline.training.task import FoldTask, TrainingData
from tests import tiny

FINETUNE = {"epochs": 1, "batch_size": 8, "precision": "fp32"}


@pytest.fixture
def data(workspace):
    paths, competition = workspace
    train = load_train(paths).groupby("label").head(8).reset_index(drop=True)
    test = load_test(paths).query("width > 0").head(4)
    targets = class_indices(competition, train)
    return paths, TrainingData(train, targets, test, num_classes=2, metric="accuracy")


def task(data: TrainingData) -> FoldTask:
    return FoldTask(0, np.arange(len(data.train)) < 5, key="", state_path=None)


@pytest.mark.parametrize("freeze", ["none", "layer2", "trunk"])
def test_a_network_predicts_what_it_predicted_when_it_had_learned(data, freeze):
    paths, images = data
    train = FINETUNE | {"freeze": freeze}
    method = Finetune(paths, tiny.experiment(method="finetune", train=train), images)
    result = method.fit_fold(task(images))
    review = method.review(result.weights)
    np.testing.assert_allclose(review.probs[:5], result.val_probs, atol=1e-5)
    weight, bias = (
        np.asarray(result.weights[f"fc.{name}"], np.float32) for name in ("weight", "bias")
    )
    assert review.features.shape == (len(images.train), weight.shape[1])
    one_view = Finetune(
        paths, tiny.experiment(method="finetune", train=train, views={"flip": False}), images
    ).review(result.weights)
    probs = softmax(one_view.features @ weight.T + bias, axis=1)
    np.testing.assert_allclose(probs, one_view.probs, atol=1e-5)


def test_training_error_is_that_of_the_learned_images_in_plain_views(data):
    paths, images = data
    train = FINETUNE | {"epochs": 2, "measure_train": True}
    method = Finetune(paths, tiny.experiment(method="finetune", train=train), images)
    result = method.fit_fold(task(images))
    found = method.review(result.weights).probs[5:].argmax(axis=1) == images.targets[5:]
    assert result.history["train_accuracy"].iloc[-1] == pytest.approx(found.mean(), abs=1e-6)
    assert len(result.history) == 2


def test_a_head_predicts_what_it_predicted_when_it_was_fitted(data):
    paths, images = data
    method = Probe(paths, tiny.experiment(views={"flip": False}), images)
    result = method.fit_fold(task(images))
    review = method.review(result.weights)
    # Other numbers of rows at once may round otherwise.
    np.testing.assert_allclose(review.probs[:5], result.val_probs, atol=1e-6)
    np.testing.assert_allclose(softmax(review.features, axis=1), review.probs, atol=1e-6)
