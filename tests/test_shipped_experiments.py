"""The shipped recipes fit their networks; that the files load is tested with the configuration."""

import pytest
import timm
import torch

from pipeline.config import load_experiment, load_experiments
from pipeline.models.hub import TWINS, hub_repository
from pipeline.models.registry import build_model
from pipeline.predictions import load_predictions
from pipeline.stages import train
from pipeline.strict import built_in_names
from pipeline.training.optim import build_optimizer

EXPERIMENTS = {
    experiment.name: experiment
    for file in built_in_names("experiments")
    for experiment in load_experiments(file, [])
}
FINETUNING = [name for name, made in EXPERIMENTS.items() if made.method == "finetune"]
FROM_HUB = [name for name, made in EXPERIMENTS.items() if made.model.weights == "hub"]


@pytest.mark.parametrize("name", FINETUNING)
def test_recipe_builds_its_network_and_optimizer(name):
    experiment = load_experiment(name, ["model.weights=none"])
    with torch.device("meta"):  # shapes, no numbers
        network = build_model(experiment.model, num_classes=12)
    config = experiment.train.optimizer
    groups = build_optimizer(config, network.module, network.is_head).param_groups
    factors = {group["rate_factor"] for group in groups}
    assert (min(factors) < max(factors)) == (config.layer_decay < 1 or config.head_factor != 1)


@pytest.mark.parametrize("name", FROM_HUB)
def test_weights_of_a_hub_get_inputs_scaled_as_in_their_training(name):
    experiment = EXPERIMENTS[name]
    model = experiment.model.name
    assert hub_repository(model).files
    trained = timm.get_pretrained_cfg(TWINS.get(model) or model.removeprefix("timm/"))
    assert trained is not None
    assert experiment.images.mean == trained.mean
    assert experiment.images.std == trained.std


@pytest.mark.slow
@pytest.mark.parametrize("name", FINETUNING)
def test_recipe_trains_on_a_tiny_cut(name, workspace):
    paths, competition = workspace
    changes = ["model.weights=none", "images.size_px=64", "data.limit=20", "train.epochs=1"]
    train.run(paths, competition, [name], [], changes)
    probs = load_predictions(paths.experiment(name).test, "").probs
    assert probs.shape == (8, 2)
