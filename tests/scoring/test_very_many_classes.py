"""Of very many classes each image's likeliest are kept: scores are those of whole tables."""

import numpy as np
import pytest

from pipeline.errors import ArtifactError, ConfigError
from pipeline.scoring.metrics import evaluate, score
from pipeline.store import predictions as module
from pipeline.store.predictions import (
    FloatArray,
    IntArray,
    Likeliest,
    Predictions,
    load_predictions,
    mean_of,
)

METRICS = ["accuracy", "micro_f1", "macro_f1", "map_at_3", "map_at_5", "map_at_10", "log_loss"]


def drawn(seed: int = 0, num: int = 200, num_classes: int = 30) -> tuple[IntArray, FloatArray]:
    """Targets and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, num_classes, num)
    weights = rng.uniform(0, 1, (num, num_classes)) ** 4
    weights[np.arange(num), targets] += rng.uniform(0, 0.5, num)
    return targets, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_of_all_classes_are_those_of_the_table(metric):
    targets, probs = drawn()
    assert score(metric, targets, Likeliest.of(probs)) == pytest.approx(
        score(metric, targets, probs), abs=1e-6
    )


@pytest.mark.parametrize("metric", [one for one in METRICS if one != "log_loss"])
def test_scores_of_the_likeliest_classes_are_those_of_the_table(metric, monkeypatch):
    monkeypatch.setattr(module, "NUM_LIKELIEST", 10)
    targets, probs = drawn()
    assert evaluate(metric, targets, Likeliest.of(probs)) == pytest.approx(
        evaluate(metric, targets, probs), abs=1e-6
    )


def test_classes_that_are_not_kept_share_what_is_left(monkeypatch):
    monkeypatch.setattr(module, "NUM_LIKELIEST", 2)
    kept = Likeliest.of(np.array([[0.5, 0.05, 0.3, 0.15]], dtype=np.float32))
    assert kept.classes.tolist() == [[0, 2]]
    found = [float(kept.of_classes(np.array([one]))[0]) for one in range(4)]
    assert found == pytest.approx([0.5, 0.1, 0.3, 0.1])


def test_mean_is_that_of_the_tables():
    parts = [drawn(seed)[1] for seed in range(3)]
    mean = mean_of([Likeliest.of(part) for part in parts])
    table = np.mean(parts, axis=0)
    for one in range(30):
        found = mean.of_classes(np.full(200, one))
        np.testing.assert_allclose(found, table[:, one], atol=1e-6)


def test_mean_of_few_kept_classes_counts_the_others_alike(monkeypatch):
    monkeypatch.setattr(module, "NUM_LIKELIEST", 2)
    one = np.array([[0.6, 0.3, 0.05, 0.05]], dtype=np.float32)
    other = np.array([[0.1, 0.5, 0.3, 0.1]], dtype=np.float32)
    mean = mean_of([Likeliest.of(one), Likeliest.of(other)])
    assert mean.classes.tolist() == [[1, 0]]
    np.testing.assert_allclose(mean.probs, [[0.4, 0.35]], atol=1e-6)


def test_file_of_the_likeliest_is_read_back(tmp_path):
    _, probs = drawn(num=5)
    names = [str(index) for index in range(30)]
    Predictions(list("abcde"), Likeliest.of(probs), names, "0").save(tmp_path / "oof.npz")
    read = load_predictions(tmp_path / "oof.npz", "train").reordered(list("edcba"), "oof")
    assert isinstance(read, Likeliest)
    np.testing.assert_array_equal(read.argmax(), probs.argmax(axis=1)[::-1])


@pytest.mark.parametrize("change", ["no class", "another shape", "too much"])
def test_file_of_impossible_classes_is_refused(tmp_path, change):
    kept = Likeliest.of(drawn(num=3)[1])
    classes, probs = kept.classes.copy(), kept.probs.copy()
    if change == "no class":
        classes[1, 0] = 30
    if change == "another shape":
        classes = classes[:, :-1]
    if change == "too much":
        probs[1] += 1
    damaged = Likeliest(classes, probs, 30)
    names = [str(index) for index in range(30)]
    Predictions(list("abc"), damaged, names, "0").save(tmp_path / "oof.npz")
    with pytest.raises(ArtifactError, match="every row must hold classes and probabilities"):
        load_predictions(tmp_path / "oof.npz", "train")


def test_metric_of_all_probabilities_is_refused():
    targets, probs = drawn()
    with pytest.raises(ConfigError, match="'mean_column_auc' is not one of very many classes"):
        score("mean_column_auc", targets, Likeliest.of(probs))
