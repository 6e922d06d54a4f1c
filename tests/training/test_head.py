from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.config.experiment import HeadConfig
from pipeline.errors import ArtifactError
from pipeline.scoring.calibration import fit_temperature
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.head import LinearHead, fit_head, fit_head_in_parts

CONFIG = HeadConfig(l2=0.01)


def lda(shrinkage: float) -> HeadConfig:
    return HeadConfig(kind="lda", shrinkage=shrinkage)


def sample(num_classes: int, num: int = 90, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Overlapping clouds, each feature with a scale and an offset of its own."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(num) % num_classes)
    features = rng.normal(size=(num, 6)) + 2 * rng.normal(size=(num_classes, 6))[targets]
    return (features * [1, 10, 0.1, 1, 5, 1] + [0, 50, 0, -3, 0, 1]).astype(np.float32), targets


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_a_head_equals_sklearn_on_standardised_features(num_classes):
    features, targets = sample(num_classes)
    head, steps = fit_head(features.copy(), targets, num_classes, CONFIG)
    standardised = StandardScaler().fit_transform(features.astype(np.float64))
    reference = LogisticRegression(C=1 / (CONFIG.l2 * len(features)), max_iter=1000, tol=1e-8)
    expected = reference.fit(standardised, targets).predict_proba(standardised)
    found = softmax(head.logits(features), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert 0 < steps <= CONFIG.max_steps


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_a_discriminant_head_is_sklearn_s_at_another_temperature(num_classes, shrinkage):
    features, targets = sample(num_classes)
    head, steps = fit_head(features.copy(), targets, num_classes, lda(shrinkage))
    standardised = StandardScaler().fit_transform(features.astype(np.float64))
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    expected = reference.fit(standardised, targets).decision_function(standardised)
    if num_classes == 2:  # sklearn gives the second class's alone
        expected = np.stack([np.zeros(len(expected)), expected], axis=1)
    found = head.logits(features).astype(np.float64)
    expected, found = (logits - logits[:, :1] for logits in (expected, found))
    temperature = (expected * found).sum() / (found * found).sum()
    np.testing.assert_allclose(found * temperature, expected, rtol=1e-3, atol=1e-2)
    assert steps == 1


def test_a_discriminant_head_is_as_sure_as_it_is_right():
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 3
    features = rng.normal(size=(400, 150)).astype(np.float32)  # few rows for so many features
    features[:, :3] += 1.5 * np.eye(3, dtype=np.float32)[targets]
    learned, new = slice(200), slice(200, 400)
    head, _ = fit_head(features[learned].copy(), targets[learned], 3, lda(0.1))
    probs = softmax(head.logits(features[new]), axis=1)
    assert 0.7 < fit_temperature(probs, targets[new]).temperature < 1.4


def test_a_discriminant_head_of_copies_is_as_sure_as_without_them():
    rng = np.random.default_rng(0)
    targets = np.arange(120) % 3
    features = rng.normal(size=(120, 90)).astype(np.float32)
    features[:, :3] += 1.5 * np.eye(3, dtype=np.float32)[targets]
    alone, _ = fit_head(features.copy(), targets, 3, lda(0.1))
    copies, twice = np.repeat(features, 2, axis=0), np.repeat(targets, 2)
    grouped, _ = fit_head(copies.copy(), twice, 3, lda(0.1), np.repeat(np.arange(120), 2))
    np.testing.assert_allclose(grouped.weight, alone.weight, rtol=0.01, atol=1e-3)
    torn, _ = fit_head(copies, twice, 3, lda(0.1))  # most copies of what is held out are learned
    assert np.linalg.norm(torn.weight) > 1.2 * np.linalg.norm(alone.weight)


def test_a_discriminant_head_of_very_few_rows_is_finite():
    features, targets = sample(3, num=3)
    head, _ = fit_head(features.copy(), targets, 4, lda(0.5))
    assert np.isfinite(head.weight).all()
    assert head.logits(features).argmax(axis=1).tolist() == targets.tolist()
    assert head.bias[3] < -50


def test_two_classes_get_symmetric_logits():
    features, targets = sample(2)
    head, _ = fit_head(features.copy(), targets, 2, CONFIG)
    logits = head.logits(features)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-5)


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_a_class_without_rows_is_never_predicted(missing):
    present = [number for number in range(4) if number != missing]
    features, targets = sample(3)
    head, _ = fit_head(features.copy(), np.array(present)[targets], 4, CONFIG)
    full, _ = fit_head(features.copy(), targets, 3, CONFIG)
    probs = head.predict(features[None].astype(np.float16))
    assert probs[:, missing].max() < 1e-20
    expected = full.predict(features[None].astype(np.float16))
    np.testing.assert_allclose(probs[:, present], expected, atol=1e-6)


def test_two_of_three_classes_are_told_apart_as_two_of_two():
    features, targets = sample(2)
    two, _ = fit_head(features.copy(), targets, 2, CONFIG)
    three, _ = fit_head(features.copy(), targets * 2, 3, CONFIG)
    np.testing.assert_array_equal(three.logits(features)[:, [0, 2]], two.logits(features))


def test_a_constant_feature_weighs_nothing():
    features, targets = sample(3)
    features[:, 2] = 0.3
    head, _ = fit_head(features.copy(), targets, 3, CONFIG)
    probs = head.predict(features[None].astype(np.float16))
    assert np.isfinite(head.weight).all()
    assert np.isfinite(probs).all()
    assert np.abs(head.weight[:, 2]).max() < 1e-3


def test_two_fits_give_the_same_bits():
    features, targets = sample(5)
    first, _ = fit_head(features.copy(), targets, 5, CONFIG)
    second, _ = fit_head(features.copy(), targets, 5, CONFIG)
    assert first.weight.tobytes() == second.weight.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()


def test_features_are_standardised_in_place():
    features, targets = sample(3)
    fit_head(features, targets, 3, CONFIG)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-4)


def test_more_penalty_gives_smaller_weights():
    features, targets = sample(3)
    norms = [
        np.linalg.norm(fit_head(features.copy(), targets, 3, HeadConfig(l2=l2))[0].weight)
        for l2 in (0.001, 0.1, 10.0)
    ]
    assert norms[0] > 2 * norms[1] > 4 * norms[2]


def test_the_penalty_is_per_row():
    features, targets = sample(3)
    once, _ = fit_head(features.copy(), targets, 3, CONFIG)
    twice, _ = fit_head(np.tile(features, (2, 1)), np.tile(targets, 2), 3, CONFIG)
    np.testing.assert_allclose(once.weight, twice.weight, atol=5e-3)


def test_the_limit_of_steps_holds_without_a_warning():
    features, targets = sample(5)
    _, steps = fit_head(features, targets, 5, HeadConfig(l2=1e-6, max_steps=2))
    assert steps == 2


def test_predictions_average_the_probabilities_of_views():
    features, targets = sample(3)
    head, _ = fit_head(features.copy(), targets, 3, CONFIG)
    views = np.stack([features, features[::-1]]).astype(np.float16)
    probs = head.predict(views)
    alone = [head.predict(view[None]) for view in views]
    np.testing.assert_allclose(probs, (alone[0] + alone[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    assert probs.dtype == np.float32


def test_a_head_round_trips(tmp_path):
    features, targets = sample(3)
    head, _ = fit_head(features.copy(), targets, 3, CONFIG)
    save_checkpoint(tmp_path / "head.safetensors", head.tensors())
    loaded = LinearHead.load(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(loaded.logits(features), head.logits(features))


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "gone"])
def test_a_damaged_head_is_refused(tmp_path, damage):
    path = tmp_path / "head.safetensors"
    features, targets = sample(2)
    save_checkpoint(path, fit_head(features, targets, 2, CONFIG)[0].tensors())
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        renamed = content.replace(b'"weight"', b'"w8ight"')
        path.write_bytes({"cut": content[:-8], "empty": b"", "other": renamed}[damage])
    with pytest.raises(
        ArtifactError, match=r"must be a (checkpoint|linear head), .+; train again"
    ) as caught:
        LinearHead.load(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("config", [HeadConfig(l2=0.01, max_steps=500), lda(0.3)])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_features_that_come_in_parts_give_the_same_head(config, num_classes):
    features, targets = sample(num_classes, num=97)
    groups = np.arange(97) // 2
    whole, _ = fit_head(features.copy(), targets, num_classes, config, groups)
    parts = lambda: (part.copy() for part in np.array_split(features, 4))  # noqa: E731
    found, steps = fit_head_in_parts(parts, targets, num_classes, config, groups)
    expected = softmax(whole.logits(features), axis=1)
    np.testing.assert_allclose(softmax(found.logits(features), axis=1), expected, atol=2e-3)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.std, whole.std, rtol=1e-4)
    assert steps >= 1


def test_in_parts_too_a_class_without_rows_is_never_predicted():
    features, targets = sample(2)
    head, _ = fit_head_in_parts(lambda: iter([features.copy()]), 2 * targets, 4, CONFIG, targets)
    assert set(head.logits(features).argmax(axis=1)) == {0, 2}


def test_a_head_of_shares_finds_their_mean_and_never_leaves_the_range():
    features, _ = sample(3)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    targets: Any = expit(standardised[:, :1] - 0.5 * standardised[:, 1:2]).astype(np.float64)
    head, steps = fit_head(features.copy(), targets, 1, CONFIG)
    assert steps > 1
    found = expit(head.logits(features))
    assert np.corrcoef(found[:, 0], targets[:, 0])[0, 1] > 0.98
    assert found.mean() == pytest.approx(targets.mean(), abs=1e-3)
    parts, _ = fit_head_in_parts(lambda: iter([features.copy()]), targets, 1, CONFIG, targets)
    np.testing.assert_allclose(expit(parts.logits(features)), found, atol=2e-3)


def test_each_of_several_labels_gets_the_regression_of_scikit_learn():
    features, _ = sample(3)
    rng = np.random.default_rng(0)
    noisy = features[:, :4] + features.std() * rng.normal(size=(len(features), 4))
    targets = (noisy > np.median(noisy, axis=0)).astype(np.int64)
    targets[:, 2], targets[:, 3] = 0, 1
    head, steps = fit_head(features.copy(), targets, 4, CONFIG)
    assert steps > 1
    probs = head.predict(features[None].astype(np.float16), has_several=True)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LogisticRegression(C=1 / (CONFIG.l2 * len(features)), max_iter=CONFIG.max_steps)
    for label in (0, 1):
        expected = model.fit(standardised, targets[:, label]).predict_proba(standardised)[:, 1]
        np.testing.assert_allclose(probs[:, label], expected, atol=5e-3)
    assert probs[:, 2].max() < 1e-6
    assert probs[:, 3].min() > 1 - 1e-6


def test_features_in_parts_give_the_same_regressions_of_labels():
    features, _ = sample(3)
    rng = np.random.default_rng(1)
    noisy = features[:, :3] + features.std() * rng.normal(size=(len(features), 3))
    targets = (noisy > np.median(noisy, axis=0)).astype(np.int64)
    targets[:, 2] = 0
    config = HeadConfig(l2=0.03, max_steps=500)
    whole, _ = fit_head(features.copy(), targets, 3, config)
    parts = lambda: (part.copy() for part in np.array_split(features, 4))  # noqa: E731
    found, steps = fit_head_in_parts(parts, targets, 3, config, np.arange(len(features)))
    assert steps > 1
    np.testing.assert_allclose(
        expit(found.logits(features)), expit(whole.logits(features)), atol=5e-3
    )
