"""The shipped recipes fit their networks; that the files load is tested with the configuration."""

import numpy as np
import pytest
import timm
import torch

from pipeline.config.experiment_files import load_experiment, load_experiments
from pipeline.config.strict import built_in_names
from pipeline.models.hub import TWINS, hub_repository
from pipeline.models.preparation import prepared
from pipeline.models.registry import build_model
from pipeline.models.split import split
from pipeline.stages import train
from pipeline.store.predictions import load_predictions
from pipeline.training.device import to_inputs
from pipeline.training.losses import build_criterion
from pipeline.training.optim import build_optimizer
from pipeline.training.prepare_network import set_train_mode
from pipeline.training.stepper import Stepper

EXPERIMENTS = {
    experiment.name: experiment
    for file in built_in_names("experiments")
    for experiment in load_experiments(file, [])
}
FINETUNING = [name for name, made in EXPERIMENTS.items() if made.method == "finetune"]
FROM_HUB = [name for name, made in EXPERIMENTS.items() if made.model.weights == "hub"]


def small_px(name: str, size_px: int) -> int:
    """Return a small size that a network takes; a vision transformer's is of whole patches."""
    return 112 if name.startswith("vit-") else size_px


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
    images = prepared(experiment).images
    assert images.mean == trained.mean
    assert images.std == trained.std


@pytest.mark.slow
@pytest.mark.parametrize("name", FINETUNING)
def test_recipe_takes_a_step_that_moves_what_is_not_frozen(name):
    experiment = load_experiment(name, ["model.weights=none"])
    size = small_px(name, 32)
    network = build_model(experiment.model, 2, experiment.seed, size)
    parts = split(network, experiment.train.freeze, torch.zeros(2, 3, size, size))
    set_train_mode(parts.upper, experiment.train)
    criterion = build_criterion(experiment.train.loss, np.array([2, 2]))
    stepper = Stepper(experiment.train, parts.upper, network.is_head, criterion, seed=0)
    learning = [p for p in parts.upper.parameters() if p.requires_grad]
    before = [parameter.detach().clone() for parameter in learning]

    def prepare(pixels: torch.Tensor) -> torch.Tensor:
        inputs = to_inputs(pixels, experiment.images, torch.device("cpu"))
        return inputs if parts.lower is None else parts.lower(inputs).detach()

    pixels = torch.randint(256, (4, size, size, 3), dtype=torch.uint8)
    targets = torch.eye(2)[torch.arange(4) % 2]
    assert torch.isfinite(stepper.step(pixels, prepare, targets, 0.01, (0, 0, 0)))
    moved = [not torch.equal(a, b) for a, b in zip(before, learning, strict=True)]
    # Drop path may skip a block.
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINETUNING)
def test_recipe_trains_on_a_tiny_cut(name, workspace):
    paths, competition = workspace
    changes = ["model.weights=none", "data.limit=20", "train.epochs=1"]
    changes += [f"images.size_px={small_px(name, 64)}", "train.schedule.warmup_epochs=1"]
    # A head that was probed on an untrained trunk diverges at the recipe's own rate.
    changes.append("train.optimizer.learning_rate=1e-6")
    train.run(paths, competition, [name], [], changes)
    probs = load_predictions(paths.experiment(name).test, "").probs
    assert probs.shape == (8, 2)


@pytest.mark.parametrize("more", [{}, {"mask_token": torch.zeros(1, 384)}], ids=["timm", "authors"])
def test_the_transformer_recipe_takes_a_users_file_of_dinov2(more, tmp_path):
    published = timm.create_model("vit_small_patch14_dinov2").state_dict()  # of 518 px
    assert published["pos_embed"].shape[1] == 37 * 37 + 1
    path = tmp_path / "dinov2_vits14_pretrain.pth"
    torch.save(published | more, path)
    experiment = prepared(load_experiment("vit-finetune-dinov2", [f"model.weights={path}"]))
    assert experiment.images.mean == (0.485, 0.456, 0.406)
    network = build_model(experiment.model, num_classes=12, size_px=112)
    own = network.module.state_dict()
    assert own["head.weight"].shape == (12, 2 * 384)  # class token beside the mean of patches
    assert own["pos_embed"].shape[1] == 8 * 8 + 1
    resized = {"pos_embed"}
    for name in published.keys() - resized:
        assert torch.equal(own[name], published[name]), name
    # A grid made smaller keeps its mean.
    gap = own["pos_embed"][:, 1:].mean(1) - published["pos_embed"][:, 1:].mean(1)
    assert gap.abs().max() < 0.01
