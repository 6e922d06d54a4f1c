"""The training loop, on the tiny drawn competition and small networks."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import Experiment
from pipeline.errors import ArtifactError
from pipeline.models.registry import build_model
from pipeline.paths import Paths
from pipeline.scoring.oof import targets_of
from pipeline.tables import load_train
from pipeline.training.engine import Engine, _shuffled_batches
from tests import tiny


def finetune(model: str = "resnet18_cifar", **train: Any) -> Experiment:
    """Return an experiment that trains a small network on plain pictures of 32 pixels."""
    defaults = {"epochs": 1, "batch_size": 8, "schedule": {"name": "constant"}}
    return tiny.experiment(
        method="finetune",
        model={"name": model, "weights": "none"},
        views={"flip": False, "recipe": "source-catdog"},
        train=defaults | train,
    )


@pytest.fixture
def images(drawn):
    root, competition = drawn
    paths = Paths(root, competition.name)
    train = load_train(paths).groupby("label").head(8).reset_index(drop=True)
    return paths, train, targets_of(competition, train)


def fit(images: Any, experiment: Experiment, seed: int = 0) -> Any:
    paths, train, targets = images
    network = build_model(experiment.model, 2, experiment.seed)
    engine = Engine(paths, experiment, network, seed)
    history = engine.fit(train, targets, lambda: engine.measure(train, targets), lambda _: None)
    return engine, network, history


def test_a_few_images_are_learned_by_heart(images):
    experiment = finetune(epochs=20, optimizer={"name": "adam", "learning_rate": 0.001})
    _, _, history = fit(images, experiment)
    assert history["val_accuracy"].iloc[-1] == 1.0
    assert history["train_loss"].iloc[-1] < 0.2 * history["train_loss"].iloc[0]


def test_two_runs_are_bitwise_equal_and_another_seed_is_not(images):
    probs = []
    for seed in (0, 0, 1):
        engine, _, _ = fit(images, finetune(), seed)
        probs.append(engine.predict(images[1]))
    np.testing.assert_array_equal(probs[0], probs[1])
    assert (probs[0] != probs[2]).any()


def test_frozen_trunk_keeps_its_weights_and_its_batch_norm(images):
    experiment = finetune(freeze="trunk", optimizer={"learning_rate": 0.1})
    before = build_model(experiment.model, 2, experiment.seed).module.state_dict()
    _, network, _ = fit(images, experiment)
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, before[name]) != network.is_head(name), name


def test_probabilities_come_in_the_order_of_the_table(images):
    engine, _, _ = fit(images, finetune())
    forwards, backwards = engine.predict(images[1]), engine.predict(images[1][::-1])
    np.testing.assert_allclose(forwards, backwards[::-1], atol=0.02)  # bf16, other batches
    np.testing.assert_allclose(forwards.sum(axis=1), 1, atol=1e-5)


def test_loss_that_is_not_finite_stops_at_once_and_names_the_images(images):
    experiment = finetune(optimizer={"name": "sgd", "learning_rate": 1e30}, epochs=3)
    expected = r"tiny: the loss must be finite, is (nan|inf) at step \d on (cat|dog)_\d+\.jpg"
    with pytest.raises(ArtifactError, match=expected):
        fit(images, experiment)


def test_history_has_a_row_per_epoch_with_its_rate(images):
    schedule = {"name": "constant", "warmup_epochs": 2.0}
    _, _, history = fit(images, finetune(epochs=2, schedule=schedule))
    assert history["epoch"].tolist() == [0, 1]
    assert history["step"].tolist() == [2, 4]
    assert history["learning_rate"].tolist() == pytest.approx([0.0005, 0.001])


def test_an_image_alone_joins_the_batch_before():
    sizes = [len(batch) for batch in _shuffled_batches(17, 8, (0, 0))]
    assert sizes == [8, 9]


def test_every_epoch_visits_every_image_once_in_another_order():
    first, second = (
        [row for batch in _shuffled_batches(20, 8, (0, epoch)) for row in batch] for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_a_cut_trains_and_predicts_only_so_many_images(workspace, tmp_path):
    from pipeline.predictions import load_predictions
    from pipeline.stages import train

    paths, competition = workspace
    extra = 'method = "finetune"\ndata = { limit = 12 }\ntrain = { epochs = 1, batch_size = 8 }\n'
    path = tiny.write_toml(tmp_path / "cut.toml", extra)
    train.run(paths, competition, [path], [], [])
    files = paths.experiment("cut")
    assert len(load_predictions(files.oof, "").image_ids) == 12
    assert len(load_predictions(files.test, "").image_ids) == 8
    ids = set(load_predictions(files.oof, "").image_ids)
    labels = load_train(paths).set_index("image_id").loc[sorted(ids), "label"]
    assert labels.value_counts().to_dict() == {"cat": 6, "dog": 6}
