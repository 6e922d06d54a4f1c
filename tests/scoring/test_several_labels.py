"""Several labels an image: metrics are scikit-learn's, thresholds are chosen on other folds."""

import math
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline.errors import ConfigError
from pipeline.scoring.decisions import Decisions, decide_out_of_fold, decided, fit_decisions
from pipeline.scoring.metrics import METRICS, interval, score
from pipeline.scoring.probability_measures import f_beta
from pipeline.store.predictions import FloatArray, IntArray
from tests.editions import shipped

AVERAGES = {"sample": "samples", "micro": "micro", "macro": "macro"}
F_BETAS = [name for name in METRICS if "_f" in name and METRICS[name].of_labels]
DRAWS = [
    "random",
    "no label is true",
    "none is predicted",
    "all are true",
    "one image",
    "one label",
]


def drawn(kind: str = "random", num: int = 200, num_labels: int = 5) -> tuple[IntArray, FloatArray]:
    """Targets and probabilities that know something of them; or degenerate ones."""
    rng = np.random.default_rng(len(kind))
    shape = (1 if kind == "one image" else num, 1 if kind == "one label" else num_labels)
    targets = (rng.random(shape) < 0.3).astype(np.int64)
    probs = (0.7 * rng.random(shape) + 0.3 * targets).astype(np.float32)
    if kind == "no label is true":
        targets[:] = 0
    if kind == "all are true":
        targets[:] = 1
    if kind == "none is predicted":
        probs /= 3
    return targets, probs


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("name", F_BETAS)
def test_f_betas_equal_those_of_scikit_learn(name, kind):
    targets, probs = drawn(kind)
    average, _, beta = name.partition("_f")
    predicted = (probs > 0.5).astype(int)
    options = {"zero_division": 0, "beta": int(beta)}
    if targets.shape[1] == 1:  # scikit-learn takes one column for two classes
        targets, probs = np.hstack([targets, targets]), np.hstack([probs, probs])
        predicted = np.hstack([predicted, predicted])
    expected = reference.fbeta_score(targets, predicted, average=AVERAGES[average], **options)
    assert score(name, targets, probs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", DRAWS)
def test_log_loss_is_the_mean_of_the_labels_own(kind):
    targets, probs = drawn(kind)
    columns = zip(targets.T, probs.T.astype(np.float64), strict=True)
    own = [reference.log_loss(one, column, labels=[0, 1]) for one, column in columns]
    assert score("log_loss", targets, probs) == pytest.approx(np.mean(own), abs=1e-9)


def published_weighted_loss(targets: IntArray, probs: FloatArray) -> float:
    """The organisers' formula, image by image and label by label."""
    losses = []
    for truth, row in zip(targets.tolist(), probs.astype(np.float64).tolist(), strict=True):
        total = weights = 0.0
        for place, (is_there, prob) in enumerate(zip(truth, row, strict=True)):
            prob = min(max(prob, 1e-15), 1 - 1e-15)
            weight = (len(row) - 1 if place == 0 else 1) * (2 if is_there else 1)
            total -= weight * math.log(prob if is_there else 1 - prob)
            weights += weight
        losses.append(total / weights)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", [one for one in DRAWS if one != "one label"])
@pytest.mark.parametrize("num_labels", [2, 8])
def test_weighted_log_loss_is_the_published_formula(kind, num_labels):
    targets, probs = drawn(kind, num_labels=num_labels)
    expected = published_weighted_loss(targets, probs)
    assert score("weighted_log_loss", targets, probs) == pytest.approx(expected, abs=1e-9)


def test_seven_vertebrae_count_as_much_as_any_of_them():
    targets = np.array([[1, 1, 0, 0, 0, 0, 0, 0]])
    right, wrong = np.full((1, 8), 1e-15), np.full((1, 8), 1e-15)
    right[0, :2] = 1
    wrong[0] = [0, 1, *right[0, 2:]]
    assert score("weighted_log_loss", targets, right) == pytest.approx(0, abs=1e-9)
    expected = 14 / (14 + 2 + 6) * -math.log(1e-15)
    assert score("weighted_log_loss", targets, wrong) == pytest.approx(expected)


def test_accuracy_is_of_whole_sets():
    targets, probs = drawn()
    expected = reference.accuracy_score(targets, probs > 0.5)
    assert score("accuracy", targets, probs) == pytest.approx(expected, abs=1e-12)


def test_areas_are_averaged_over_the_labels_that_have_a_curve():
    targets, probs = drawn()
    expected = reference.roc_auc_score(targets, probs, average="macro")
    assert score("mean_column_auc", targets, probs) == pytest.approx(expected, abs=1e-12)
    pair = score("mean_column_auc", targets[:, :2], probs[:, :2])
    expected = reference.roc_auc_score(targets[:, :2], probs[:, :2], average="macro")
    assert pair == pytest.approx(expected, abs=1e-12)
    targets[:, 0] = 0
    expected = reference.roc_auc_score(targets[:, 1:], probs[:, 1:], average="macro")
    assert score("mean_column_auc", targets, probs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [*F_BETAS, "accuracy", "log_loss", "mean_column_auc"])
def test_intervals_hold_the_score_and_narrow_with_more_images(name):
    widths = []
    for num in (60, 600):
        targets, probs = drawn(num=num)
        low, high = interval(name, targets, probs)
        assert low <= score(name, targets, probs) <= high
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 0


@pytest.mark.parametrize("name", F_BETAS)
def test_interval_of_a_perfect_score_knows_that_some_may_be_wrong(name):
    targets, _ = drawn(num=50)
    targets[:, 0] = 1
    low, high = interval(name, targets, targets.astype(np.float32))
    assert high == 1 or name.startswith("macro")
    assert low < 1


def test_metrics_of_one_class_and_of_labels_are_told_apart():
    targets, probs = drawn()
    with pytest.raises(ConfigError, match="'quadratic_kappa' is not one of images with several"):
        score("quadratic_kappa", targets, probs)
    with pytest.raises(ConfigError, match="'sample_f1' is not one of images with one class"):
        score("sample_f1", targets[:, 0], probs)


def test_labels_above_the_threshold_and_the_likeliest_are_predicted():
    probs = np.array([[0.1, 0.2, 0.15], [0.5, 0.4, 0.6]], dtype=np.float32)
    assert Decisions(0.45).apply(probs).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_threshold_is_the_one_that_scores_best():
    targets, probs = drawn(num=400)
    measure = f_beta(1, "micro")
    found = fit_decisions(measure, targets, probs)
    best = measure(targets, found.apply(probs)).of_sample()
    others = [
        measure(targets, Decisions(float(one)).apply(probs)).of_sample()
        for one in np.linspace(0.05, 0.95, 37)
    ]
    assert best >= max(others) - 1e-3
    assert best > measure(targets, Decisions(0.9).apply(probs)).of_sample() + 0.05


def test_certain_labels_are_decided_as_they_are():
    targets, _ = drawn(num=30)
    targets[:, 0] = 1
    probs = targets.astype(np.float32)
    assert (fit_decisions(f_beta(2, "sample"), targets, probs).apply(probs) == targets).all()


def test_no_label_of_a_fold_has_a_say_in_its_threshold():
    targets, probs = drawn(num=90)
    folds = np.arange(90) % 3
    fit = partial(fit_decisions, f_beta(1, "sample"))
    before = decide_out_of_fold(fit, targets, probs, folds)
    changed = targets.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    after = decide_out_of_fold(fit, changed, probs, folds)
    assert (before[folds == 1] == after[folds == 1]).all()
    assert (before[folds != 1] != after[folds != 1]).any()


def test_probabilities_stay_where_a_metric_takes_them():
    targets, probs = drawn()
    folds = np.arange(len(targets)) % 2
    ranked, counted = (
        shipped("ranzcr-clip-catheter-line-classification"),
        shipped("imet-2020-fgvc7"),
    )
    assert decided(ranked, targets, probs, folds) is probs
    assert set(np.unique(decided(counted, targets, probs, folds))) == {0, 1}
