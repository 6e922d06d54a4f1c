import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from pipeline.errors import ArtifactError, ConfigError
from pipeline.scoring.metrics import (
    Score,
    confusion,
    evaluate,
    get_metric,
    interval,
    macro_f1,
    score,
)
from pipeline.store.predictions import FloatArray, IntArray
from tests.scoring.drawn import OF_ONE_CLASS


def drawn(num: int = 300, num_classes: int = 5, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Targets and probabilities that are right about half of the time."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, num_classes, num)
    weights = rng.random((num, num_classes)) + 0.4 * np.eye(num_classes)[targets]
    return targets, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def test_scores_equal_those_of_scikit_learn():
    targets, probs = drawn()
    accuracy = reference.accuracy_score(targets, probs.argmax(axis=1))
    log_loss = reference.log_loss(targets, probs, labels=range(5))
    assert score("accuracy", targets, probs) == pytest.approx(accuracy, abs=1e-12)
    assert score("log_loss", targets, probs) == pytest.approx(log_loss, rel=1e-6)


def test_other_metrics_equal_those_of_scikit_learn():
    targets, probs = drawn()
    predicted = probs.argmax(axis=1)
    expected = {
        "macro_f1": reference.f1_score(targets, predicted, average="macro"),
        "micro_f1": reference.f1_score(targets, predicted, average="micro"),
        "quadratic_kappa": reference.cohen_kappa_score(targets, predicted, weights="quadratic"),
        "mean_column_auc": reference.roc_auc_score(np.eye(5)[targets], probs, average="macro"),
    }
    for name, value in expected.items():
        assert score(name, targets, probs) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_area_under_the_curve_counts_ties_half_as_scikit_learn_does(decimals):
    targets, probs = drawn(num_classes=2)
    column = probs[:, 1].round(decimals)
    expected = reference.roc_auc_score(targets, column)
    tied = np.column_stack([1 - column, column])
    assert score("roc_auc", targets, tied) == pytest.approx(expected, abs=1e-12)
    assert score("mean_column_auc", targets, tied) == pytest.approx(expected, abs=1e-12)


def test_area_of_the_other_of_two_classes_is_the_same():
    targets, probs = drawn(num_classes=2)
    mirrored = score("roc_auc", 1 - targets, probs[:, ::-1])
    assert score("roc_auc", targets, probs) == pytest.approx(mirrored)


@pytest.mark.parametrize("metric", OF_ONE_CLASS)
def test_perfect_predictions_score_best(metric):
    targets = np.array([0, 1, 2, 2, 1])
    best = 0 if metric == "log_loss" else 1
    assert score(metric, targets, np.eye(3)[targets]) == best


def test_kappa_knows_the_classes_that_do_not_occur():
    targets, predicted = np.array([0, 5, 2, 0]), np.array([0, 2, 0, 5])
    weighted = reference.cohen_kappa_score(targets, predicted, labels=range(6), weights="quadratic")
    assert score("quadratic_kappa", targets, np.eye(6)[predicted]) == pytest.approx(weighted)


def test_log_loss_rescales_rows_that_do_not_sum_to_1():
    probs = np.array([[0.2, 0.2], [3.0, 1.0]])
    by_hand = -(np.log(0.5) + np.log(0.25)) / 2
    assert score("log_loss", np.array([0, 1]), probs) == pytest.approx(by_hand)
    assert np.isfinite(score("log_loss", np.array([0]), np.zeros((1, 2))))


UNDEFINED = {
    "an area for images of one class": ("roc_auc", [1, 1, 1], 2),
    "areas for images of one class of several": ("mean_column_auc", [2, 2], 3),
    "kappa for one class rightly predicted": ("quadratic_kappa", [1, 1], 3),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_metric_that_is_not_defined_is_nan_and_so_is_its_interval(name):
    metric, targets, num_classes = UNDEFINED[name]
    probs = np.eye(num_classes)[targets]
    assert np.isnan(score(metric, np.array(targets), probs))
    assert np.isnan(interval(metric, np.array(targets), probs)).all()


def test_class_that_no_image_has_is_left_out_of_the_mean_of_areas():
    targets, probs = drawn(num_classes=3)
    known = targets < 2
    areas = [
        reference.roc_auc_score(targets[known] == index, probs[known, index]) for index in (0, 1)
    ]
    assert score("mean_column_auc", targets[known], probs[known]) == pytest.approx(np.mean(areas))


def test_resamples_without_a_class_are_left_out_of_the_interval():
    targets = np.array([1] + [0] * 5)  # every third resample has no image of class 1
    ranks = np.array([0.8, 0.9, 0.7, 0.6, 0.5, 0.4])
    low, high = interval("roc_auc", targets, np.column_stack([1 - ranks, ranks]))
    assert low == pytest.approx(0.4, abs=0.1)
    assert high == 1


PERFECT = [
    ("roc_auc", 2),
    ("log_loss", 3),
    ("macro_f1", 1),
    ("macro_f1", 5),
    ("quadratic_kappa", 4),
    ("mean_column_auc", 4),
]


@pytest.mark.parametrize(("metric", "num_classes"), PERFECT)
def test_interval_of_a_perfect_score_knows_the_number_of_images(metric, num_classes):
    widths = []
    for num in (12, 120, 12_000):
        targets = np.arange(num) % num_classes
        low, high = interval(metric, targets, np.eye(max(num_classes, 2))[targets])
        best = 0 if metric == "log_loss" else 1
        assert best in (low, high)
        widths.append(high - low)
    assert widths[0] > 3 * widths[1] > 90 * widths[2] > 0


def test_worse_end_of_a_perfect_score_is_that_of_what_may_be_wrong():
    targets = np.arange(200) % 2
    share = 1 - interval("accuracy", targets, np.eye(2)[targets])[0]
    assert share == pytest.approx(3.84 / 203.84, rel=1e-3)
    wrong = np.array([0.9, 0.1])
    probs = np.where(np.eye(2)[targets] == 1, *wrong)
    expected = -np.log(wrong) @ [1 - share, share]
    assert interval("log_loss", targets, probs)[1] == pytest.approx(expected)
    assert interval("macro_f1", targets, probs)[0] == pytest.approx(1 - share)
    assert interval("quadratic_kappa", targets, probs)[0] == pytest.approx(1 - 2 * share)
    probs[0] = probs[0, ::-1]  # one error is seen, and the bootstrap knows of it
    assert interval("macro_f1", targets, probs)[1] == 1
    assert interval("macro_f1", targets, probs)[0] == pytest.approx(0.985, abs=0.002)
    assert interval("log_loss", targets, probs)[1] < expected


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc", "macro_f1"])
def test_interval_of_images_in_groups_is_that_of_one_image_each(metric):
    targets, probs = drawn(num=100, num_classes=2)
    alone = interval(metric, targets, probs)
    groups = np.repeat(np.arange(100), 3)
    grouped = interval(metric, np.repeat(targets, 3), np.repeat(probs, 3, axis=0), groups=groups)
    assert grouped == pytest.approx(alone, abs=0.002)
    assert interval(metric, targets, probs, groups=np.arange(100)) == pytest.approx(alone)


def test_worse_end_of_a_perfect_score_knows_that_images_come_in_groups():
    targets = np.arange(200) % 2
    probs, groups = np.eye(2)[targets], np.arange(200) // 10
    for metric in ("accuracy", "macro_f1"):
        few = interval(metric, targets[:20], probs[:20])[0]
        assert interval(metric, targets, probs, groups=groups)[0] == pytest.approx(few)


@pytest.mark.parametrize("metric", ["roc_auc", "macro_f1", "quadratic_kappa"])
def test_interval_holds_the_score_and_is_that_of_resampled_images(metric):
    targets, probs = drawn(num=200, num_classes=2)
    low, high = interval(metric, targets, probs)
    assert low < score(metric, targets, probs) < high
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 200, 200) for _ in range(2000)]
    by_hand = np.quantile([score(metric, targets[d], probs[d]) for d in draws], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(by_hand), abs=1e-12)


def test_log_loss_stays_finite_for_a_certain_error():
    targets = np.array([1])
    probs = np.array([[1.0, 0.0]], dtype=np.float32)
    assert score("log_loss", targets, probs) == pytest.approx(-np.log(1e-15))


def test_log_loss_by_hand():
    probs = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)
    by_hand = -(np.log(0.75) + np.log(0.5)) / 2
    assert score("log_loss", np.array([1, 0]), probs) == pytest.approx(by_hand)


def test_every_metric_says_which_way_is_better():
    targets, probs = drawn()
    perfect = np.eye(5, dtype=np.float32)[targets]
    for name, metric in OF_ONE_CLASS.items():
        gain = score(name, targets, perfect) - score(name, targets, probs)
        assert (gain > 0) == metric.greater_is_better


def test_wilson_interval_is_the_textbook_one():
    targets = np.zeros(100, dtype=np.int64)
    predicted = np.where(np.arange(100) < 90, 0, 1)
    low, high = interval("accuracy", targets, np.eye(2, dtype=np.float32)[predicted])
    assert [low, high] == pytest.approx([0.8256, 0.9448], abs=1e-4)


@given(num=st.integers(1, 200), num_right=st.integers(0, 200))
def test_accuracy_lies_in_its_interval_which_lies_in_0_and_1(num, num_right):
    targets = np.zeros(num, dtype=np.int64)
    predicted = np.where(np.arange(num) < num_right, 0, 1)
    probs = np.eye(2, dtype=np.float32)[predicted]
    low, high = interval("accuracy", targets, probs)
    assert 0 <= low <= score("accuracy", targets, probs) <= high <= 1
    assert high - low > 0


@pytest.mark.parametrize("metric", OF_ONE_CLASS)
def test_interval_narrows_with_more_images_and_less_confidence(metric):
    targets, probs = drawn(num=100)
    low, high = interval(metric, targets, probs)
    unsure = interval(metric, targets, probs, confidence=0.5)
    for narrower in (interval(metric, *drawn(num=1600)), unsure):
        assert narrower[1] - narrower[0] < high - low


def test_bootstrap_is_reproducible_and_near_the_normal_interval():
    targets, probs = drawn(num=1000)
    losses = -np.log(probs[np.arange(1000), targets])
    half_width = 1.96 * losses.std() / np.sqrt(1000)
    low, high = interval("log_loss", targets, probs)
    assert (low, high) == interval("log_loss", targets, probs)
    assert low < score("log_loss", targets, probs) < high
    assert high - low == pytest.approx(2 * half_width, rel=0.1)


def test_evaluate_joins_score_and_interval():
    targets, probs = drawn()
    found = evaluate("accuracy", targets, probs)
    expected = (score("accuracy", targets, probs), *interval("accuracy", targets, probs))
    assert (found.value, found.low, found.high) == expected


def test_score_reads_as_value_and_interval():
    assert str(Score("accuracy", 0.90124, 0.88727, 0.91371)) == "0.9012 [0.8873, 0.9137]"


def test_unknown_metric_is_refused_with_those_there_are():
    with pytest.raises(
        ConfigError, match=r"must be one of accuracy, log_loss, .*, rmse, mae, is 'auc'"
    ):
        get_metric("auc")


@pytest.mark.parametrize("metric", OF_ONE_CLASS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_probabilities_of_a_diverged_training_are_refused(metric, bad):
    targets, probs = drawn()
    probs[[7, 9], 2] = bad
    with pytest.raises(ArtifactError, match=r"2 of 300 rows aren't, the first is row 7"):
        score(metric, targets, probs)


def test_macro_f1_counts_every_class_alike():
    targets, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert macro_f1(targets, predicted) == pytest.approx((6 / 7 + 0) / 2)


def test_macro_f1_ignores_classes_that_a_subset_lacks():
    assert macro_f1(np.array([0, 3]), np.array([0, 3])) == 1


def test_confusion_has_the_truth_in_rows_and_every_class():
    counts = confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def weighted_area(targets: IntArray, scores: FloatArray) -> float:
    """Add up ALASKA2's slices along scikit-learn's curve, by a fine grid of true positive rates."""
    false, true, _ = reference.roc_curve(targets, scores, drop_intermediate=False)
    heights = np.unique(np.concatenate([true, [0.4]]))
    total = 0.0
    for low, high in itertools.pairwise(heights):
        at = int(np.searchsorted(true, low, side="right"))  # the step that rises from `low`
        begin, end = (
            np.interp(height, true[at - 1 : at + 1], false[at - 1 : at + 1])
            for height in (low, high)
        )
        total += (high - low) * (1 - (begin + end) / 2) * (2 if high <= 0.4 else 1)
    return total / 1.4


@pytest.mark.parametrize("decimals", [1, 2, 7])
@pytest.mark.parametrize("num", [5, 12, 300])
def test_weighted_area_is_the_sum_of_its_slices(num, decimals):
    targets, probs = drawn(num, num_classes=2, seed=num)
    column = probs[:, 1].round(decimals)
    found = score("weighted_auc", targets, np.column_stack([1 - column, column]))
    assert found == pytest.approx(weighted_area(targets, column), abs=1e-12)


def test_weighted_area_of_a_coin_is_what_the_diagonal_leaves():
    targets = np.array([0, 1] * 50)
    by_hand = (2 * (0.4 - 0.4**2 / 2) + 0.6 - (1 - 0.4**2) / 2) / 1.4
    assert score("weighted_auc", targets, np.full((100, 2), 0.5)) == pytest.approx(by_hand)
    assert np.isnan(score("weighted_auc", np.ones(4, dtype=np.int64), np.full((4, 2), 0.5)))


def test_precision_at_k_is_one_over_the_place_of_the_true_class():
    probs = np.array([[0.4, 0.3, 0.2, 0.06, 0.04]] * 5)
    targets = np.arange(5)
    assert score("map_at_3", targets, probs) == pytest.approx((1 + 1 / 2 + 1 / 3) / 5)
    by_place = (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5
    assert score("map_at_5", targets, probs) == pytest.approx(by_place)


def test_class_that_a_short_list_lacks_has_no_place():
    assert score("map_at_5", np.array([1]), np.array([[0.0, 0.0, 1.0]])) == 0
