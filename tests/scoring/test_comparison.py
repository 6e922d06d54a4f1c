import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.scoring.comparison import (
    Comparison,
    bonferroni,
    compare,
    compare_all,
    compare_folds,
    compare_trainings,
)
from pipeline.scoring.metrics import score
from pipeline.store.predictions import FloatArray
from tests.scoring.drawn import OF_ONE_CLASS, member

NUM = 600
TARGETS = np.arange(NUM) % 3


def right(num_right: int, seed: int) -> FloatArray:
    """Sure predictions, so many of which are right, drawn which."""
    is_right = np.random.default_rng(seed).permutation(NUM) < num_right
    return np.eye(3, dtype=np.float32)[np.where(is_right, TARGETS, (TARGETS + 1) % 3)]


def test_difference_is_that_of_the_scores():
    first, second = member(1, 0, NUM), member(1.5, 1, NUM)
    for metric in OF_ONE_CLASS:
        found = compare(metric, TARGETS, first, second)
        expected = score(metric, TARGETS, second) - score(metric, TARGETS, first)
        assert found.difference == pytest.approx(expected, abs=1e-9)
        assert found.low < found.difference < found.high
        assert (found.metric, found.confidence) == (metric, 0.95)


@pytest.mark.parametrize("metric", OF_ONE_CLASS)
def test_better_and_worse_follow_the_metrics_direction(metric):
    bad, good = member(1, 0, NUM), member(3, 1, NUM)
    assert compare(metric, TARGETS, bad, good).verdict == "better"
    assert compare(metric, TARGETS, good, bad).verdict == "worse"
    assert compare(metric, TARGETS, good, member(3, 2, NUM)).verdict == "can't tell"


def test_equal_predictions_cannot_be_told_apart():
    one = member(1, 0, NUM)
    found = compare("log_loss", TARGETS, one, one)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.verdict == "can't tell"


def test_pairing_sees_what_separate_intervals_hide():
    probs = right(500, 0)
    first_wrong = np.flatnonzero(probs.argmax(axis=1) != TARGETS)[:12]
    better = probs.copy()
    better[first_wrong] = np.eye(3, dtype=np.float32)[TARGETS[first_wrong]]
    found = compare("accuracy", TARGETS, probs, better)
    assert found.verdict == "better"
    assert found.difference == pytest.approx(12 / NUM)
    unpaired = compare("accuracy", TARGETS, right(500, 1), right(512, 2))
    assert unpaired.verdict == "can't tell"


def test_bootstrap_interval_is_near_the_paired_t_interval():
    first, second = member(1, 0, NUM), member(1.3, 1, NUM)
    rows = np.arange(NUM)
    differences = np.log(first[rows, TARGETS]) - np.log(second[rows, TARGETS])
    standard_error = differences.std(ddof=1) / np.sqrt(NUM)
    found = compare("log_loss", TARGETS, first, second)
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.06)


def test_of_many_pairs_without_a_difference_few_are_called_different():
    called = sum(
        compare("accuracy", TARGETS, right(450, 2 * seed), right(450, 2 * seed + 1)).verdict
        != "can't tell"
        for seed in range(20)
    )
    assert called <= 3


def test_a_challenger_fares_the_same_alone_as_among_others():
    baseline = member(1, 0, NUM)
    challengers = {"first": member(1.5, 1, NUM), "second": member(0.5, 2, NUM)}
    together = compare_all("log_loss", TARGETS, baseline, challengers)
    assert list(together) == ["first", "second"]
    for name, probs in challengers.items():
        assert together[name] == compare("log_loss", TARGETS, baseline, probs)


def test_more_confidence_widens_the_interval():
    first, second = member(1, 0, NUM), member(1.2, 1, NUM)
    narrow, wide = (
        compare("log_loss", TARGETS, first, second, confidence) for confidence in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bonferroni_shares_the_error_out():
    assert bonferroni(0.95, 1) == pytest.approx(0.95)
    assert bonferroni(0.95, 5) == pytest.approx(0.99)


def test_fold_interval_is_the_corrected_one_by_hand():
    baseline, challenger = [0.90, 0.91, 0.92, 0.93, 0.94], [0.92, 0.92, 0.95, 0.94, 0.97]
    differences = np.subtract(challenger, baseline)
    error = np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    half_width = stats.t.ppf(0.975, 4) * error
    found = compare_folds("accuracy", baseline, challenger)
    assert found.difference == pytest.approx(0.02)
    assert [found.low, found.high] == pytest.approx([0.02 - half_width, 0.02 + half_width])
    assert found.verdict == "better"


def test_folds_that_do_not_define_the_metric_are_left_out():
    nan = float("nan")
    with_gap = compare_folds("roc_auc", [0.8, nan, 0.82, 0.79], [0.9, nan, 0.91, 0.9])
    assert with_gap == compare_folds("roc_auc", [0.8, 0.82, 0.79], [0.9, 0.91, 0.9])
    assert with_gap.verdict == "better"
    assert compare_folds("log_loss", [0.8, nan], [0.9, 0.5]).verdict == "can't tell"


def test_folds_that_disagree_tell_nothing():
    found = compare_folds("accuracy", [0.90, 0.91, 0.92], [0.93, 0.90, 0.92])
    assert found.verdict == "can't tell"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10))
def test_the_corrected_fold_interval_holds_the_plain_one(pairs):
    baseline, challenger = zip(*pairs, strict=True)
    found = compare_folds("accuracy", baseline, challenger)
    spread = np.subtract(challenger, baseline).std(ddof=1)
    plain = stats.t.ppf(0.975, len(pairs) - 1) * spread / np.sqrt(len(pairs))
    assert found.high - found.low >= 2 * plain - 1e-12


def test_a_comparison_reads_as_signed_difference_and_interval():
    found = Comparison("accuracy", 0.01234, -0.001, 0.02, 0.95)
    assert str(found) == "+0.0123 [-0.0010, +0.0200]"
    assert found.record() == {
        "metric": "accuracy",
        "difference": 0.01234,
        "interval": [-0.001, 0.02],
        "confidence": 0.95,
        "verdict": "can't tell",
    }


def test_a_recipe_of_one_seed_is_compared_as_a_single_training():
    first, second = member(1, 0, NUM), member(1.5, 1, NUM)
    alone = compare_all("log_loss", TARGETS, first, {"other": second})
    assert compare_trainings("log_loss", TARGETS, [first], {"other": [second]}) == alone


def test_recipes_are_compared_by_their_means_over_the_seeds():
    first, second = ([member(s, seed, NUM) for seed in range(3)] for s in (1, 1.5))
    found = compare_trainings("accuracy", TARGETS, first, {"other": second})["other"]
    means = [np.mean([score("accuracy", TARGETS, one) for one in s]) for s in (first, second)]
    assert found.difference == pytest.approx(means[1] - means[0], abs=1e-9)


@pytest.mark.parametrize("metric", OF_ONE_CLASS)
def test_a_recipe_is_never_better_than_itself(metric):
    seeds = [member(1, seed, NUM) for seed in range(3)]
    found = compare_trainings(metric, TARGETS, seeds, {"same": seeds})["same"]
    assert (found.low, found.difference, found.high) == (0, 0, 0)
    assert found.verdict == "can't tell"


def test_seeds_that_disagree_widen_the_interval():
    baseline = [right(400, 0)] * 3
    steady = [right(440, 1)] * 3
    moody = [right(num, 1) for num in (400, 440, 480)]
    found = compare_trainings("accuracy", TARGETS, baseline, {"steady": steady, "moody": moody})
    assert found["steady"].difference == pytest.approx(found["moody"].difference)
    widths = {name: one.high - one.low for name, one in found.items()}
    assert widths["moody"] > 1.2 * widths["steady"]
