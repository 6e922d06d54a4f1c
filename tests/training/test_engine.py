"""The training loop, on the tiny drawn competition and small networks."""

import dataclasses
import itertools
import math
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState

from pipeline.config.experiment import Experiment
from pipeline.config.train_table import TrainConfig
from pipeline.errors import ArtifactError, ConfigError, StoppedError
from pipeline.images.views import View
from pipeline.models.registry import build_model, trunk_of
from pipeline.scoring.targets import class_indices
from pipeline.store.tables import load_test, load_train
from pipeline.training import inputs
from pipeline.training.checkpoint import TrainingProgress, close_state
from pipeline.training.finetune import Finetune
from pipeline.training.loader import ViewLoader
from pipeline.training.predictor import predict
from pipeline.training.probe import Probe
from pipeline.training.stepper import Stepper
from pipeline.training.task import FoldResult, FoldTask, TrainingData
from tests import tiny

# Without batch norm, which sees whole batches, an image's gradient doesn't depend on the others.
NO_NORM: Any = {"freeze_batch_norm": True}


def finetune(model: str = "timm/test_resnet", **train: Any) -> Experiment:
    """Return an experiment that trains a small network on plain pictures of 32 pixels."""
    defaults = {"epochs": 1, "batch_size": 8, "schedule": {"name": "constant"}}
    return tiny.experiment(
        method="finetune",
        model={"name": model, "weights": "none"},
        views={"flip": False, "recipe": "none"},
        train=defaults | train,
    )


@pytest.fixture
def data(workspace):
    paths, competition = workspace
    train = load_train(paths).groupby("label").head(8).reset_index(drop=True)
    test = load_test(paths).query("width > 0").head(4).reset_index(drop=True)
    targets = class_indices(competition, train)
    return paths, TrainingData(train, targets, test, num_classes=2, metric="accuracy")


@pytest.fixture
def fit(data, tmp_path):
    """Train one fold of an experiment: learn from all images but the last four, predict those."""
    paths, images = data

    def run(experiment: Experiment, fold: int = 0, *, is_new: bool = True) -> FoldResult:
        is_val = np.arange(len(images.train)) >= len(images.train) - 4
        task = FoldTask(fold, is_val, "key", tmp_path / "training.pt")
        for path in tmp_path.glob("training*") if is_new else ():
            path.unlink()
        return Finetune(paths, experiment, images).fit_fold(task)

    return run


def test_one_batch_is_learned_by_heart(fit):
    optimizer = {"name": "adam", "learning_rate": 0.003}
    settings: Any = {"batch_size": 12, "optimizer": optimizer, "measure_train": True}
    history = fit(finetune("timm/test_resnet", epochs=40, **settings)).history
    assert history["step"].tolist() == [*range(1, 41)]  # all images are one batch
    assert history["train_loss"].iloc[0] > 0.5
    assert history["train_loss"].iloc[-1] < 0.01
    assert history["train_accuracy"].iloc[-1] == 1


@pytest.mark.slow
def test_a_whole_training_in_bfloat16_stays_near_the_one_in_float32(fit):
    rate = {"name": "sgd", "learning_rate": 0.03}
    settings: Any = {"epochs": 20, "batch_size": 12, "optimizer": rate}
    fp32, bf16 = (fit(finetune(precision=one, **settings, **NO_NORM)) for one in ("fp32", "bf16"))
    losses, rough = (one.history["train_loss"].to_numpy() for one in (fp32, bf16))
    assert losses[-1] < 0.75 * losses[0]
    np.testing.assert_allclose(rough, losses, rtol=0.03)
    assert (rough != losses).all()
    np.testing.assert_allclose(bf16.val_probs, fp32.val_probs, atol=0.02)


def test_two_runs_are_bitwise_equal_and_another_fold_is_not(fit):
    first, again, other = (fit(finetune(), fold) for fold in (0, 0, 1))
    np.testing.assert_array_equal(first.test_probs, again.test_probs)
    assert (first.test_probs != other.test_probs).any()


@pytest.mark.parametrize("freeze", ["trunk", "layer3"])
def test_what_is_frozen_keeps_its_weights_and_its_batch_norm(fit, freeze):
    experiment = finetune(freeze=freeze, optimizer={"learning_rate": 0.1})
    before = build_model(experiment.model, 2, experiment.seed).module.state_dict()
    weights = fit(experiment).weights
    learned = ("fc.",) if freeze == "trunk" else ("layer4.", "fc.")
    for name, tensor in before.items():
        is_same = np.array_equal(weights[name], tensor.float().numpy())
        assert is_same != name.startswith(learned), name


def test_cached_features_train_like_the_frozen_layers_themselves(fit, data):
    rate = {"name": "sgd", "learning_rate": 0.01}
    experiment = finetune(freeze="layer3", epochs=2, precision="fp32", optimizer=rate)
    views = {"flip": True, "recipe": "light"}
    cycled = tiny.experiment(**(experiment.model_dump() | {"views": views | {"cycle": 2}}))
    drawn = tiny.experiment(**(experiment.model_dump() | {"views": views}))
    cached, computed = fit(cycled), fit(drawn)
    assert list(data[0].features_dir.rglob("*.npy"))
    np.testing.assert_array_equal(cached.val_probs, computed.val_probs)


def test_a_training_on_cached_features_goes_on_after_ctrl_c_to_the_same(fit, data, monkeypatch):
    values = finetune(freeze="layer3", epochs=3).model_dump()
    cycled = tiny.experiment(**(values | {"views": {"recipe": "light", "cycle": 2}}))
    expected = fit(cycled)
    assert list(data[0].features_dir.rglob("*.npy"))
    step, numbers = Stepper.step, itertools.count(1)

    def stopped(*arguments: Any) -> torch.Tensor:
        if next(numbers) == 4:  # of 6
            signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(Stepper, "step", stopped)
    with pytest.raises(StoppedError, match="after step 4"):
        fit(cycled)
    resumed = fit(cycled, is_new=False)
    for name, weight in expected.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weight)
    np.testing.assert_array_equal(resumed.val_probs, expected.val_probs)
    np.testing.assert_array_equal(resumed.test_probs, expected.test_probs)
    columns = ["epoch", "step", "train_loss", "val_loss"]
    assert resumed.history[columns].equals(expected.history[columns])


def test_a_probed_head_predicts_before_anything_is_learned_as_the_probe_does(fit, data):
    rate = {"learning_rate": 1e-12}
    experiment = finetune(init_head="probe", optimizer=rate, **NO_NORM)
    paths, images = data
    is_val = np.arange(len(images.train)) >= len(images.train) - 4
    trunk = trunk_of(build_model(experiment.model, 2, experiment.seed))
    probe = Probe(paths, experiment, images, trunk).fit_fold(FoldTask(0, is_val, "", Path()))
    np.testing.assert_allclose(fit(experiment).val_probs, probe.val_probs, atol=0.02)


def test_the_probe_that_a_head_begins_with_tries_whether_mirrors_do_harm(data, monkeypatch):
    tried = []
    monkeypatch.setattr(Probe, "try_without_flips", lambda probe, task: tried.append((probe, task)))
    paths, images = data
    mirrored = finetune(init_head="probe").model_copy(update={"views": tiny.experiment().views})
    method = Finetune(paths, mirrored, images, asks_of_flips=True)
    task = FoldTask(0, np.arange(len(images.train)) < 4, "", None)
    method.fit_fold(task)
    assert [(probe._asks_of_flips, one) for probe, one in tried] == [(True, task)]


@pytest.mark.parametrize(("asks", "flip"), [(True, True), (True, False), (False, True)])
def test_mirrors_that_nothing_tries_are_told(data, capsys, asks, flip):
    views = tiny.experiment(views={"horizontal_flip": flip}).views
    Finetune(data[0], finetune().model_copy(update={"views": views}), data[1], asks_of_flips=asks)
    told = capsys.readouterr()
    assert ("nothing here tries whether they" in told.out + told.err) == (asks and flip)


def test_a_ctrl_c_while_the_last_epoch_is_validated_stops_the_fold_and_costs_nothing(
    fit, data, tmp_path
):
    paths, images = data
    is_val = np.arange(len(images.train)) >= len(images.train) - 4
    expected = fit(finetune(epochs=2))
    close_state(tmp_path / "training.pt", can_go_on=False)
    history_path = tmp_path / "history.csv"

    def interrupt(row: dict[str, float]) -> None:
        assert len(pd.read_csv(history_path)) == row["epoch"] + 1  # there while it is trained
        if row["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

    task = FoldTask(0, is_val, "key", tmp_path / "training.pt", history_path, on_epoch=interrupt)
    with pytest.raises(StoppedError, match="stopped by Ctrl-C after step 4, and saved"):
        Finetune(paths, finetune(epochs=2), images).fit_fold(task)
    task = FoldTask(0, is_val, "key", tmp_path / "training.pt")
    found = Finetune(paths, finetune(epochs=2), images).fit_fold(task)
    np.testing.assert_array_equal(found.test_probs, expected.test_probs)


@pytest.mark.parametrize(("minutes", "expected"), [(5.0, [3]), (0.0, [1, 1, 2, 2, 3, 3])])
def test_states_are_saved_by_the_clock_and_at_the_end(fit, monkeypatch, minutes, expected):
    saved = []

    def save(*arguments):
        saved.append(arguments[2]["position"]["step"])

    monkeypatch.setattr("pipeline.training.engine.save_state", save)
    fit(finetune(epochs=3, batch_size=12, save_minutes=minutes))  # a step an epoch
    assert saved == expected


def test_an_average_is_what_is_kept(fit):
    plain = fit(finetune(epochs=3))
    averaged = fit(finetune(epochs=3, ema_decay=0.9))
    assert plain.history["train_loss"].tolist() == averaged.history["train_loss"].tolist()
    assert any((plain.weights[name] != averaged.weights[name]).any() for name in plain.weights)


def test_the_best_epoch_is_kept_where_it_is_asked_for(fit, data):
    optimizer = {"name": "sgd", "learning_rate": 0.5}
    result = fit(finetune(epochs=6, keep="best", optimizer=optimizer))
    targets = data[1].targets[-4:]
    kept = (result.val_probs.argmax(axis=1) == targets).mean()
    assert kept == result.history["val_score"].max()


def test_epochs_are_validated_as_often_as_asked_and_at_the_end(fit):
    every, some = (fit(finetune(epochs=5, validate_every=number)) for number in (1, 2))
    has_score = some.history["val_score"].notna()
    assert has_score.tolist() == [False, True, False, True, True]
    measured = [name for name in some.history if name.startswith("val_")]
    assert len(measured) == 3
    pd.testing.assert_frame_equal(
        some.history[has_score][measured], every.history[has_score][measured]
    )
    np.testing.assert_array_equal(some.val_probs, every.val_probs)


def test_the_best_is_of_the_epochs_that_were_validated(fit, data):
    optimizer = {"name": "sgd", "learning_rate": 0.5}
    settings: Any = {"epochs": 6, "keep": "best", "optimizer": optimizer, "validate_every": 3}
    result = fit(finetune(**settings, stop_after=2))
    kept = (result.val_probs.argmax(axis=1) == data[1].targets[-4:]).mean()
    assert kept == result.history["val_score"].max()
    assert result.history["val_score"].notna().tolist()[:3] == [False, False, True]


def test_mirrored_views_are_for_the_end(fit, monkeypatch):
    seen = []

    def spying(*arguments: Any, views: Any = None, **named: Any) -> Any:
        seen.append(views)
        return predict(*arguments, views=views, **named)

    monkeypatch.setattr("pipeline.training.finetune.predict", spying)
    fit(tiny.experiment(**finetune(epochs=2).model_dump() | {"views": {"recipe": "none"}}))
    assert seen == [[View()], [View()], None, None]  # two epochs, held-out images, test images


def test_a_gpu_predicts_more_at_once_than_it_learns_from(monkeypatch):
    monkeypatch.setattr(inputs, "pick_device", lambda: torch.device("cuda"))
    sizes = [inputs.images_at_once(finetune(batch_size=size), 2) for size in (8, 512)]
    assert sizes == [128, 512]
    monkeypatch.undo()
    assert inputs.images_at_once(finetune(batch_size=8), 2) == 8


def test_the_same_processes_read_what_is_learned_from_held_out_and_tested(
    data, tmp_path, monkeypatch
):
    paths, images = data
    again = dataclasses.replace(images, test=images.train.tail(4))
    task = FoldTask(0, np.arange(16) >= 12, "key", tmp_path / "training.pt")
    made = []

    class Counting(ViewLoader):
        def __init__(self, *arguments: Any) -> None:
            made.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(inputs, "ViewLoader", Counting)
    result = Finetune(paths, finetune(epochs=2), again).fit_fold(task)
    assert len(made) == 1
    np.testing.assert_array_equal(result.test_probs, result.val_probs)  # of the same images


def test_loss_that_is_not_finite_stops_at_once_and_names_the_images(fit):
    experiment = finetune(optimizer={"name": "sgd", "learning_rate": 1e30}, epochs=3)
    expected = r"step \d: the loss must be finite, is (nan|inf) at learning rate 1e\+30 on "
    batch = r"the 4 images ((cat|dog)_\d+\.jpg(, |; lower)){4}"
    with pytest.raises(ArtifactError, match=expected + batch):
        fit(experiment)


def test_the_bar_tells_loss_rate_speed_and_the_time_that_all_folds_take(data, tmp_path, capsys):
    paths, images = data
    is_val = np.arange(len(images.train)) >= len(images.train) - 4
    task = FoldTask(0, is_val, "key", tmp_path / "training.pt", num_folds_left=3)
    Finetune(paths, finetune(epochs=2), images).fit_fold(task)
    (bar,) = re.findall(r"train tiny fold 0 .*", capsys.readouterr().err)
    told = r"24/24 \d+ img/s \d:\d\d:\d\d loss \d\.\d{3}, lr 1\.0e-03, all folds \d:\d\d"
    assert re.search(told, bar), bar


def test_history_has_a_row_per_epoch_with_its_rate(fit):
    schedule = {"name": "constant", "warmup_epochs": 2.0}
    history = fit(finetune(epochs=2, batch_size=6, schedule=schedule)).history
    assert history["epoch"].tolist() == [0, 1]
    assert history["step"].tolist() == [2, 4]
    assert history["learning_rate"].tolist() == pytest.approx([0.0005, 0.001])


@pytest.mark.parametrize("fault", [{"freeze": "layer9"}, {"gradient_checkpointing": True}])
def test_what_the_network_cannot_do_is_refused_before_a_head_is_fitted(fit, monkeypatch, fault):
    monkeypatch.setattr("pipeline.training.finetune.Probe", None)
    with pytest.raises(ConfigError, match=rf"^train\.{next(iter(fault))}: must"):
        fit(finetune("sample_resnet", init_head="probe", **fault))


def test_images_are_decoded_once_for_all_folds_those_of_the_test_set_too(fit, data):
    first = fit(finetune(), fold=0)
    data[0].images_dir.rename(data[0].images_dir.with_name("away"))
    again = fit(finetune(), fold=0)
    np.testing.assert_array_equal(again.test_probs, first.test_probs)


@pytest.mark.slow
def test_features_that_have_no_room_are_computed_every_time(fit, data, monkeypatch, capsys):
    cycled = finetune(freeze="layer3").model_dump() | {"views": {"flip": False, "cycle": 1}}
    monkeypatch.setenv("PIPELINE_CACHE_GB", "0")
    probs = fit(tiny.experiment(**cycled)).val_probs
    told = capsys.readouterr().err
    assert "has room for 0.0 GB, what the frozen layers make of 16 images in 1 views" in told
    assert not list(data[0].features_dir.rglob("*.npy"))
    monkeypatch.delenv("PIPELINE_CACHE_GB")
    np.testing.assert_array_equal(fit(tiny.experiment(**cycled)).val_probs, probs)


def test_gradient_checkpointing_learns_the_same(fit):
    plain, checkpointed = (fit(finetune(gradient_checkpointing=on)) for on in (False, True))
    np.testing.assert_array_equal(plain.val_probs, checkpointed.val_probs)


def assert_compiled_as_plain(fit: Any, **train: Any) -> None:
    """Train compiled and not; names and shapes must be the same, predictions nearly."""
    rate = {"name": "sgd", "learning_rate": 0.01}
    settings: Any = {"epochs": 2, "optimizer": rate, "ema_decay": 0.9} | train
    plain, compiled = (fit(finetune(compile=on, **settings)) for on in (False, True))
    np.testing.assert_allclose(plain.val_probs, compiled.val_probs, atol=0.05)
    shapes = [
        {name: weight.shape for name, weight in one.weights.items()} for one in (plain, compiled)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("train", [{"precision": "fp32"}, {"precision": "bf16"} | NO_NORM])
def test_a_compiled_network_learns_nearly_the_same(fit, train):
    assert_compiled_as_plain(fit, **train)


@pytest.mark.gpu
def test_a_compiled_network_learns_nearly_the_same_on_a_gpu(fit):
    assert_compiled_as_plain(fit, precision="bf16", **NO_NORM)


def test_processes_that_see_other_states_are_told_to_share_a_folder(fit, monkeypatch):
    monkeypatch.setattr("pipeline.training.engine.processes.gather", lambda step: [step, 7])
    with pytest.raises(ArtifactError, match=r"training\.pt: must be the same file for all proces"):
        fit(finetune())


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_learns_nearly_what_the_cpu_does(fit, monkeypatch, compiled):
    rate = {"name": "sgd", "learning_rate": 0.01}
    settings: Any = {"precision": "fp32", "optimizer": rate, "ema_decay": 0.9}
    on_gpu = fit(finetune(compile=compiled, **settings))
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    on_cpu = fit(finetune(**settings))
    AcceleratorState._reset_state(reset_partial_state=True)
    np.testing.assert_allclose(on_gpu.val_probs, on_cpu.val_probs, atol=0.05)  # TF32


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("freeze", ["none", "layer3"])
def test_a_gpu_learns_a_few_images_by_heart_in_any_precision(fit, precision, compiled, freeze):
    recipe: Any = {
        "precision": precision,
        "compile": compiled,
        "freeze": freeze,
        "ema_decay": 0.9,
        "mixing": {"mixup_alpha": 0.1},
        "optimizer": {"name": "adam", "learning_rate": 0.001},
    }
    history = fit(finetune(epochs=20, **recipe)).history
    assert history["train_loss"].iloc[-1] < 0.6 * history["train_loss"].iloc[0]


def test_an_epoch_whose_score_is_undefined_is_not_taken_for_the_best():
    progress = TrainingProgress()
    config = TrainConfig(keep="best")
    for score in (math.nan, 0.5, 0.7, 0.6):
        progress.finish_epoch({"val_score": score}, config, dict, greater_is_better=True)
    assert (progress.best_epoch, progress.kept_epoch) == (2, 2)
