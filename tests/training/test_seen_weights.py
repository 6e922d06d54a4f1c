"""Checkpoints of a competition as weights of its experiments."""

import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ConfigError
from pipeline.stages import train
from pipeline.store.paths import Paths
from pipeline.store.predictions import load_predictions
from pipeline.training.fold_stamps import check_unseen
from tests import tiny

FINETUNE = (
    'method = "finetune"\ntrain = { epochs = 1, batch_size = 16 }\nviews = { flip = false }\n'
)


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):
    """A root with an experiment whose first fold is trained; never change it."""
    root = tmp_path_factory.mktemp("seen") / "root"
    shutil.copytree(drawn[0], root)
    toml = tiny.write_toml(root / "first.toml", FINETUNE)
    train.run(Paths(root, drawn[1].name), drawn[1], [toml], [0], [])
    return root


@pytest.fixture
def workspace(trained, drawn, tmp_path):
    """A copy of it to work in."""
    shutil.copytree(trained, tmp_path / "root")
    return Paths(tmp_path / "root", drawn[1].name), drawn[1]


@pytest.fixture
def learned(workspace):
    """Paths, and the folds of the experiment whose first fold is trained."""
    paths, _ = workspace
    return paths, pd.read_csv(paths.folds_csv, dtype={"image_id": str})


def config(path):
    return tiny.experiment(model={"name": "timm/test_resnet", "weights": str(path)}).model


def test_a_checkpoint_serves_the_fold_that_it_has_not_seen_and_no_other(learned):
    paths, folds = learned
    own = paths.experiment("first").fold(0).checkpoint
    check_unseen(paths, config(own), folds, [0])
    with pytest.raises(
        ConfigError, match=r"from the images of fold 1, .* checkpoint of first/fold0"
    ):
        check_unseen(paths, config(own), folds, [0, 1])


def test_a_copy_under_another_name_is_known_by_its_digest(learned, tmp_path):
    paths, folds = learned
    copy = tmp_path / "downloaded.safetensors"
    shutil.copy(paths.experiment("first").fold(0).checkpoint, copy)
    with pytest.raises(ConfigError, match=r"^model\.weights: must not have learned from"):
        check_unseen(paths, config(copy), folds, [1])
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1  # of as many bytes
    copy.write_bytes(content)
    check_unseen(paths, config(copy), folds, [1])


def test_after_another_split_what_the_checkpoint_held_out_decides(learned):
    paths, folds = learned
    fold = paths.experiment("first").fold(0)
    held_out = load_predictions(fold.oof, "train").image_ids
    narrower = folds.assign(fold=folds["image_id"].isin(held_out[1:]).map({True: 7, False: 8}))
    check_unseen(paths, config(fold.checkpoint), narrower, [7])
    wider = folds.assign(fold=7)
    with pytest.raises(ConfigError, match="images of fold 7"):
        check_unseen(paths, config(fold.checkpoint), wider, [7])
    fold.oof.unlink()  # nothing tells any more what it hasn't seen
    with pytest.raises(ConfigError, match="images of fold 7"):
        check_unseen(paths, config(fold.checkpoint), narrower, [7])


def test_train_refuses_it_before_any_work(learned, workspace, tmp_path):
    (paths, _), competition = learned, workspace[1]
    path = tiny.write_toml(tmp_path / "again.toml", FINETUNE)
    weights = f"model.weights={paths.experiment('first').fold(0).checkpoint}"
    with pytest.raises(ConfigError, match=r"^again: model\.weights: must not have learned"):
        train.run(paths, competition, [path], [], [weights])
    assert not paths.experiment("again").experiment_dir.exists()
    train.run(paths, competition, [path], [0], [weights])


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": {f"model.{name}": one for name, one in tensors.items()}},
        lambda tensors: {name: one.half() for name, one in tensors.items()},
    ],
    ids=["plain", "wrapped", "half"],
)
def test_a_checkpoint_that_was_written_again_is_known_by_its_tensors(learned, tmp_path, rewrite):
    paths, folds = learned
    tensors = load_file(paths.experiment("first").fold(0).checkpoint)
    file = tmp_path / "converted.pth"
    torch.save(rewrite(tensors), file)
    check_unseen(paths, config(file), folds, [0])
    with pytest.raises(ConfigError, match=r"fold 1, .* checkpoint of first/fold0"):
        check_unseen(paths, config(file), folds, [1])
    last = "fc.bias"
    torch.save(rewrite(tensors | {last: tensors[last] + 1}), file)
    check_unseen(paths, config(file), folds, [1])


def test_weights_that_only_the_frozen_layers_share_have_learned_nothing(learned, tmp_path):
    paths, folds = learned
    tensors = load_file(paths.experiment("first").fold(0).checkpoint)
    file = tmp_path / "public.pth"
    torch.save(tensors | {"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}, file)
    check_unseen(paths, config(file), folds, [0, 1])
    torch.save({name: one for name, one in tensors.items() if name[:3] != "fc."}, file)
    check_unseen(paths, config(file), folds, [0, 1])


def test_a_checkpoint_of_another_root_is_known_by_the_fold_that_it_lies_in(learned, tmp_path):
    paths, folds = learned
    elsewhere = Paths(tmp_path / "elsewhere", paths.competition)
    own = paths.experiment("first").fold(0).checkpoint
    check_unseen(elsewhere, config(own), folds, [0])
    with pytest.raises(ConfigError, match=r"fold 1, .* checkpoint of first/fold0"):
        check_unseen(elsewhere, config(own), folds, [1])
    others = folds.assign(image_id="x" + folds["image_id"])  # of another competition
    check_unseen(elsewhere, config(own), others, [1])


def test_what_else_lies_in_a_fold_s_folder_has_learned_what_the_fold_has(learned):
    paths, folds = learned
    state = paths.experiment("first").fold(0).fold_dir / "finished.pt"
    torch.save(load_file(state.with_name("checkpoint.safetensors")), state)
    with pytest.raises(ConfigError, match=r"fold 1, .* checkpoint of first/fold0"):
        check_unseen(paths, config(state), folds, [1])
