"""Test images that join training: which, with what targets, and that nothing leaks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ArtifactError, ConfigError
from pipeline.scoring.oof import class_indices
from pipeline.stages import folds, train
from pipeline.store.freshness import digest
from pipeline.store.predictions import Predictions, load_predictions
from pipeline.store.tables import load_folds, load_test, load_train, write_table
from pipeline.training.probe import Probe
from pipeline.training.pseudo_labels import PseudoLabels, load_pseudo_labels, self_training
from pipeline.training.task import FoldTask, TrainingData, learned_images
from tests import tiny

TEACHER = tiny.experiment()
STUDENT = self_training(TEACHER, 0.8)
FINETUNE = """
method = "finetune"
train = { epochs = 1, batch_size = 16 }
"""


@pytest.fixture
def taught(workspace, tmp_path):
    """Paths and competition with a trained teacher, and its file."""
    path = tiny.write_toml(tmp_path / "tiny.toml")
    paths, competition = workspace
    train.run(paths, competition, [path], [], [])
    return paths, competition, path


@pytest.fixture
def data(workspace):
    paths, competition = workspace
    table = load_train(paths)
    test = load_test(paths).query("width > 0").reset_index(drop=True)
    return TrainingData(table, class_indices(competition, table), test, 2, "accuracy")


def readable(paths):
    return load_test(paths).query("width > 0")["image_id"].tolist()


def overwrite(paths, name, fold, probs):
    """Let a teacher's fold predict something else."""
    files = paths.experiment(name).fold(fold)
    old = load_predictions(files.test, "")
    Predictions(old.image_ids, probs, old.class_names, old.folds_sha256).save(files.test)
    record = json.loads(files.stamp.read_text(encoding="utf-8"))
    record["outputs"]["test.npz"] = digest(files.test)
    files.stamp.write_text(json.dumps(record), encoding="utf-8")


def test_those_of_whose_class_the_fold_s_own_teacher_is_sure_are_chosen(taught):
    paths, competition, _ = taught
    ids = readable(paths)
    for fold in (0, 1):
        probs = load_predictions(paths.experiment("tiny").fold(fold).test, "").reordered(ids, "")
        found = load_pseudo_labels(paths, competition, STUDENT, fold, load_test(paths))
        assert found is not None
        assert 0 < len(found.rows) < len(ids)
        np.testing.assert_array_equal(found.rows, np.flatnonzero(probs.max(axis=1) >= 0.8))
        np.testing.assert_array_equal(found.targets, probs[found.rows])
    test = load_test(paths)
    assert load_pseudo_labels(paths, competition, TEACHER, 0, test) is None


def test_a_student_learns_from_its_fold_s_teacher_alone(taught):
    paths, competition, path = taught
    train.run(paths, competition, [path], [], [], pseudo_label=0.6)
    student = paths.experiment("tiny-pseudo")
    before = [load_predictions(student.fold(fold).oof, "").probs for fold in (0, 1)]
    num_test = len(load_test(paths))
    wrong = np.tile(np.array([[0.99, 0.01]], dtype=np.float32), (num_test, 1))
    overwrite(paths, "tiny", 1, wrong)
    train.run(paths, competition, [path], [], [], pseudo_label=0.6)
    after = [load_predictions(student.fold(fold).oof, "").probs for fold in (0, 1)]
    np.testing.assert_array_equal(before[0], after[0])
    assert after[1][:, 0].mean() > before[1][:, 0].mean() + 0.02


def test_the_held_out_labels_reach_no_student(taught):
    paths, competition, path = taught
    train.run(paths, competition, [path], [0], [], pseudo_label=0.6)
    student = paths.experiment("tiny-pseudo").fold(0)
    before = load_predictions(student.oof, "").probs
    table = load_train(paths)
    in_fold = set(load_predictions(student.oof, "").image_ids)
    swap = {"cat": "dog", "dog": "cat"}
    is_in_fold = table["image_id"].isin(in_fold)
    flipped = table.assign(label=table["label"].where(~is_in_fold, table["label"].map(swap)))
    write_table(flipped, paths.train_csv)
    write_table(load_folds(paths).assign(label=flipped["label"]), paths.folds_csv)
    shutil.rmtree(paths.experiment("tiny").experiment_dir)
    train.run(paths, competition, [path], [0], [])
    train.run(paths, competition, [path], [0], [], pseudo_label=0.6)
    np.testing.assert_array_equal(load_predictions(student.oof, "").probs, before)


def test_without_a_sure_one_the_student_is_its_teacher(taught):
    paths, competition, path = taught
    train.run(paths, competition, [path], [], [], pseudo_label=1.0)
    teacher, student = (
        load_predictions(paths.experiment(name).oof, "").probs for name in ("tiny", "tiny-pseudo")
    )
    np.testing.assert_allclose(teacher, student, atol=1e-5)


def test_a_soft_target_counts_as_rows_of_its_shares(workspace, data):
    """Learning half of each class from an image is learning its copies of both classes."""
    probe = Probe(workspace[0], tiny.experiment(views={"recipe": "none"}), data)
    is_train = np.arange(len(data.train)) < 20
    hard = PseudoLabels(np.array([0, 1]), np.array([[1, 0], [0, 1]], dtype=np.float32))
    head, _ = probe.fit_head(is_train, hard)
    half = PseudoLabels(np.array([0, 1]), np.full((2, 2), 0.5, dtype=np.float32))
    unsure, _ = probe.fit_head(is_train, half)
    features = probe._test[0, :2].astype(np.float32)
    sure, doubtful = (one.logits(features) for one in (head, unsure))
    assert (sure[0, 0] - sure[0, 1]) > (doubtful[0, 0] - doubtful[0, 1])
    assert (sure[1, 1] - sure[1, 0]) > (doubtful[1, 1] - doubtful[1, 0])


def test_test_images_stand_below_the_training_table(data):
    is_val = np.arange(len(data.train)) < 10
    targets = np.array([[0.3, 0.7], [0.9, 0.1]], dtype=np.float32)
    pseudo = PseudoLabels(np.array([1, 3]), targets)
    task = FoldTask(0, is_val, "", Path(), pseudo_labels=pseudo)
    learned = learned_images(data, task)
    ids = learned.images["image_id"].iloc[learned.rows].tolist()
    assert ids[:-2] == data.train["image_id"].tolist()[10:]
    assert ids[-2:] == data.test["image_id"].iloc[[1, 3]].tolist()
    np.testing.assert_array_equal(learned.targets[:-2].argmax(axis=1), data.targets[10:])
    np.testing.assert_array_equal(learned.targets[-2:], targets)
    np.testing.assert_array_equal(learned.targets.sum(axis=1), 1)


def test_a_fine_tuned_network_learns_from_them_too(workspace, tmp_path, capsys):
    paths, competition = workspace
    path = tiny.write_toml(tmp_path / "tuned.toml", FINETUNE)
    train.run(paths, competition, [path], [0], [])
    train.run(paths, competition, [path], [0], [], pseudo_label=0.5)
    num = len(readable(paths))
    assert f"fold 0 learns from {num} test images, too" in capsys.readouterr().err
    teacher, student = (
        load_predictions(paths.experiment(name).fold(0).oof, "").probs
        for name in ("tuned", "tuned-pseudo")
    )
    assert not np.array_equal(teacher, student)


def test_rules_that_forbid_them_are_kept(taught):
    paths, competition, path = taught
    strict = competition.model_copy(update={"allows_pseudo_labels": False})
    with pytest.raises(ConfigError, match=r"^tiny-pseudo: data\.pseudo_label must be left out, as"):
        train.run(paths, strict, [path], [], [], pseudo_label=0.9)


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_must_be_a_probability(threshold):
    with pytest.raises(ConfigError, match=r"^--pseudo-label: 'data\.pseudo_label\.threshold': "):
        self_training(TEACHER, threshold)


def test_an_experiment_does_not_teach_itself(taught):
    paths, competition, path = taught
    override = ['data.pseudo_label={ experiment = "tiny", threshold = 0.9 }']
    with pytest.raises(ConfigError, match=r"must be another experiment, is itself$"):
        train.run(paths, competition, [path], [], override)


def test_a_teacher_that_is_missing_or_of_other_folds_is_refused(taught):
    paths, competition, path = taught
    folds.run(paths, competition, 2, seed=5)
    with pytest.raises(ArtifactError, match=r"must be of today's folds and classes, isn't; run '"):
        train.run(paths, competition, [path], [], [], pseudo_label=0.9)
    shutil.rmtree(paths.experiment("tiny").experiment_dir)
    with pytest.raises(ArtifactError, match=r"must exist to learn from, is missing; run 'pipeline"):
        train.run(paths, competition, [path], [], [], pseudo_label=0.9)
