"""Every benchmark of training runs, at sizes that tell nothing."""

import numpy as np
import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from benchmarks import (
    data_waiting,
    floor,
    frozen_layers,
    growth,
    prediction,
    ray_cost,
    time_to_accuracy,
    training_step,
)
from benchmarks.input_pipeline import draw, tabulate
from pipeline.models.network import Network
from pipeline.store.paths import Paths
from pipeline.training.device import CPU_BACKEND
from tests import tiny

NETWORK, SIZE_PX = "timm/test_resnet", 32


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()
    draw(folder, 40, [(48, 40)])
    return tabulate(folder)


@pytest.mark.parametrize(
    "build",
    [
        training_step.ours,
        training_step.plain,
        training_step.timms_bf16,
        training_step.timms_float32,
    ],
)
def test_every_side_of_a_training_step_learns(build):
    torch.manual_seed(0)
    step = build(NETWORK, SIZE_PX)
    losses = [step() for _ in range(5)]
    assert losses[-1] < losses[0]


def test_waiting_is_read_from_the_second_row_of_the_history(images, tmp_path):
    changes = {"method": "finetune", "train": {"epochs": 2, "batch_size": 16}}
    row = data_waiting.second_epoch(
        Paths(tmp_path, "benchmark"), images, tiny.experiment(**changes)
    )
    assert row["epoch"] == 1
    assert 0 <= row["waiting_for_data"] <= 1


def test_the_network_alone_and_the_prediction_run(images, tmp_path, capsys):
    prediction.compare_rates(images.head(32), tmp_path, NETWORK, SIZE_PX)
    assert "against the network alone: " in capsys.readouterr().out


def test_finished_models_predict_by_either_backend(images, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "NETWORK", NETWORK)
    monkeypatch.setattr(prediction, "SIZE_PX", SIZE_PX)
    for backend in ("openvino", "torch"):
        monkeypatch.setenv("PIPELINE_CPU_BACKEND", backend)
        probs = prediction.finished(images.head(4), tmp_path, backend)()
        assert isinstance(probs, np.ndarray)
        assert probs.shape == (4, prediction.NUM_CLASSES)


def test_the_network_alone_sees_as_many_views_as_the_prediction(images, tmp_path):
    experiment, module = prediction.fine_tuned(NETWORK, SIZE_PX)
    counts = {"prediction": 0, "bare": 0}
    for key, work in (
        ("prediction", prediction.prediction(images.head(32), tmp_path, experiment, module)),
        ("bare", prediction.bare(32, experiment, module)),
    ):
        hook = module.register_forward_pre_hook(
            lambda _, inputs, key=key: counts.update({key: counts[key] + len(inputs[0])})
        )
        work()
        hook.remove()
    assert counts == {"prediction": 64, "bare": 64}


@pytest.mark.slow
def test_memory_of_a_prediction_is_told_for_both_numbers(tmp_path, capsys):
    folder = tmp_path / "small"
    folder.mkdir()
    prediction.compare_memory(folder, tmp_path, (8, 16))
    assert "peak memory: 8 images " in capsys.readouterr().out


def test_rates_of_the_floor_are_positive():
    assert floor.matrix_flops(torch.bfloat16, side=64) > 0
    assert floor.copy_bandwidth(2**16) > 0


def test_a_step_passes_over_what_its_layers_read_and_write_in_three_passes():
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), BatchNormAct2d(4)  # an activation is within it
    module = nn.Sequential(conv, nn.Identity(), norm)
    network = Network(module, trunk=module, head=nn.Identity(), head_names=())
    pixels = training_step.BATCH_SIZE * 5 * 5
    assert floor.step_flops(network, size_px=5) == 3 * 2 * pixels * 3 * 4
    assert floor.step_bytes(network, size_px=5) == 3 * 2 * pixels * (3 + 4 + 4 + 4 + 4 + 4)


def test_the_other_way_to_accuracy_counts_the_seconds_of_all_epochs(workspace, monkeypatch):
    paths, competition = workspace
    monkeypatch.setattr(time_to_accuracy, "load_experiment", lambda *_: tiny.experiment())
    monkeypatch.setattr(time_to_accuracy, "num_cpus", lambda: 0)
    epochs = time_to_accuracy.fine_tune(paths, competition)
    (first, _), (second, accuracy) = next(epochs), next(epochs)
    assert 0 < first < second
    assert 0 <= accuracy <= 1


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_features_are_measured_by_each_backend(backend, monkeypatch):
    monkeypatch.setattr(frozen_layers, "NUM_IMAGES", 2)
    monkeypatch.setenv(CPU_BACKEND, "")  # the benchmark sets its own
    frozen_layers.features(NETWORK, SIZE_PX, backend)()


def test_a_step_and_a_forward_pass_of_gated_networks_are_measured():
    for learns in (True, False):
        frozen_layers.training("sample_resnet", 2, learns=learns)()


@pytest.mark.slow
def test_every_command_is_run_to_see_how_it_grows(tmp_path):
    costs = growth.costs_at(40, tmp_path)
    assert list(costs) == list(growth.commands(tmp_path))
    assert all(cost.cpu_seconds > 0 and cost.peak_mb > 0 for cost in costs.values())


def test_rays_cost_is_measured_over_the_same_fifteen_folds(monkeypatch, capsys):
    started = []

    class Done:
        args = "train"

        def wait(self):
            return 0

    def start(_, command, *words, num_cores=1):
        started.append((command, *words, num_cores))
        return Done()

    monkeypatch.setattr(ray_cost, "start", start)
    monkeypatch.setattr(ray_cost, "is_installed", lambda _: True)
    monkeypatch.setattr("sys.argv", ["ray_cost", "0.1"])
    ray_cost.main()
    trainings = [words for words in started if words.count("--experiment") == 3]
    # By Ray, by one command on two cores, by two commands, and by one on a core.
    assert [words[-1] for words in trainings] == [1, 2, 1, 1, 1]
    assert ["--gpus" in words for words in trainings] == [True, False, False, False, False]
    assert "15 jobs of" in capsys.readouterr().out
