"""What can't be trained is told without images, and what can passes."""

from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.config.competition import MOST_DENSE
from pipeline.config.experiment import Experiment
from pipeline.config.experiment_files import load_experiments
from pipeline.errors import ConfigError
from pipeline.training.prepare_network import check_trainable
from tests import tiny

FOLDER = Path(pipeline.__file__).parent / "experiments"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))
# One of each kind of method, network and head.
QUICK = {"lite0-probe", "lite0-lda", "lite0-finetune", "cifar-attention-head", "vit-finetune"}
RECIPE = {"recipe": "custom", "transforms": ({"name": "Blurr"},)}


def experiment(network: str = "resnet18_cifar", **tables: Any) -> Experiment:
    model = {"name": network, "weights": "none"} | tables.pop("model", {})
    return tiny.experiment(**{"method": "finetune", "model": model} | tables)


FAULTS = {
    r"views\.transforms\.0, 'Blurr': .* did you mean 'Blur'": experiment(views=RECIPE),
    r"model\.name: timm must know the network, knows no 'nonesuch'": experiment("timm/nonesuch"),
    r"model\.dropout: must be 0 for 'lenet'": experiment("lenet", model={"dropout": 0.5}),
    r"model\.weights: the hub must have weights for 'timm/coatnet_0_224'": experiment(
        "timm/coatnet_0_224", model={"weights": "hub"}, images={"size_px": 224}
    ),
    r"lenet: images must be 200 x 200 pixels, are 32 x 32": experiment("lenet"),
    r"timm/test_vit: images must be of a size that it can take, are 30 x 30": experiment(
        "timm/test_vit", images={"size_px": 30}
    ),
    r"train\.optimizer\.name: must name an optimizer of timm, is 'timm/adamq'": experiment(
        train={"optimizer": {"name": "timm/adamq"}}
    ),
    r"train\.freeze: must be 'none', 'trunk' or the name of a layer, is 'layer9'": experiment(
        train={"freeze": "layer9"}
    ),
    r"train\.gradient_checkpointing: must be false for a network that has no": experiment(
        "sample_resnet", train={"gradient_checkpointing": True}
    ),
    r"train\.init_head: must be 'random' for a network whose head is more": experiment(
        "resnet50_attention", train={"init_head": "probe"}
    ),
    r"train\.mixing\.cutmix_alpha: must be 0 where a frozen trunk's features are": experiment(
        train={"freeze": "trunk", "mixing": {"cutmix_alpha": 1.0}}
    ),
    r"train\.precision: must be auto, bf16 or fp32 on this device": experiment(
        train={"precision": "fp16"}
    ),
}


@pytest.mark.parametrize("line", FAULTS)
def test_what_cannot_be_trained_is_refused_by_name(line, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ConfigError, match=f"^tiny: {line}"):
        check_trainable(FAULTS[line], 2)


def test_very_many_classes_are_for_probes():
    check_trainable(experiment(method="probe"), MOST_DENSE + 1)
    check_trainable(experiment(), 12)
    with pytest.raises(ConfigError, match=r"^tiny: method must be 'probe' of more than 10,000"):
        check_trainable(experiment(), MOST_DENSE + 1)


@pytest.mark.parametrize("name", ["lenet", "timm/nonesuch"])
def test_a_probes_trunk_is_tried_as_well(name):
    with pytest.raises(ConfigError, match=r"^tiny: (lenet|model\.name): "):
        check_trainable(experiment(name, method="probe"), 2)


@pytest.mark.parametrize(
    "possible",
    [
        experiment("lenet", images={"size_px": 200}),
        experiment("timm/test_vit", images={"size_px": 96}, train={"freeze": "blocks.2"}),
        experiment(
            "timm/test_resnet",
            images={"size_px": 96},
            train={"gradient_checkpointing": True, "init_head": "probe"},
        ),
        experiment(train={"freeze": "layer3", "freeze_batch_norm": True}),
    ],
)
def test_what_can_be_trained_passes(possible):
    check_trainable(possible, 2)


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in SHIPPED]
)
def test_shipped_experiments_pass(name):
    for one in load_experiments(name, ["train.precision=fp32"]):
        check_trainable(one, 12)


@pytest.mark.parametrize(
    "sizes", [{"batch_size": 1}, {"batch_size": 4, "micro_batch_size": 1}], ids=str
)
def test_batches_of_one_image_are_refused_where_batch_norm_sees_one_value(sizes):
    # At 32 pixels the last maps of a ResNet have one place.
    refused = experiment("resnet18", images={"size_px": 32}, train=sizes)
    with pytest.raises(ConfigError, match=r"^t\w*: train\.batch_size and .*: must be 2 at least"):
        check_trainable(refused, 12)
    check_trainable(experiment("resnet18", images={"size_px": 64}, train=sizes), 12)
    frozen = sizes | {"freeze_batch_norm": True}
    check_trainable(experiment("resnet18", images={"size_px": 32}, train=frozen), 12)


@pytest.mark.parametrize(
    ("decay", "line"),
    [
        (0.5, "tiny: layer_decay 0.5 over 9 blocks; the lowest learns at 0.002 of the rate"),
        (
            0.1,
            "warning: tiny: layer_decay 0.1 over 9 blocks; the lowest learns at 1e-09 of the rate",
        ),
        (1.0, ""),
    ],
)
def test_what_layer_decay_makes_of_the_rates_is_said_and_too_little_warned_of(capsys, decay, line):
    check_trainable(experiment(train={"optimizer": {"layer_decay": decay}}), 3)
    assert capsys.readouterr().err.strip() == line
