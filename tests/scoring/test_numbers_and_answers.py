"""Numbers, ordered classes and answers of several images: measures, thresholds and pooling."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from pipeline.config.competition import Competition
from pipeline.config.images_table import Answers
from pipeline.errors import DataError
from pipeline.scoring.decisions import (
    OrderedDecisions,
    decide_out_of_fold,
    decided,
    fit_ordered_decisions,
)
from pipeline.scoring.measures import Values, quadratic_kappa
from pipeline.scoring.metrics import interval, score
from pipeline.scoring.oof import describe_oof, scored_anew
from pipeline.scoring.targets import Judged, class_indices, pooled, to_numbers, to_shares
from pipeline.store.predictions import FloatArray, IntArray
from pipeline.store.results import Result, is_scored_by
from tests.editions import shipped
from tests.scoring.drawn import FOLDS, TARGETS, member, of_extremes

FIT = partial(fit_ordered_decisions, quadratic_kappa)


@pytest.mark.parametrize("kind", ["random", "right", "constant", "one image"])
def test_errors_of_numbers_are_scikit_learns(kind):
    rng = np.random.default_rng(3)
    num = 1 if kind == "one image" else 200
    targets: Any = rng.uniform(1, 100, (num, 1))
    numbers = (targets + rng.normal(0, 20, (num, 1))).astype(np.float32)
    if kind == "right":
        numbers = targets.copy()
    if kind == "constant":
        targets[:] = numbers[:] = 7
    of_both = (targets, numbers)
    absolute = reference.mean_absolute_error(*of_both)
    assert score("mae", *of_both) == pytest.approx(absolute, abs=1e-9)
    squared = reference.root_mean_squared_error(*of_both)
    assert score("rmse", *of_both) == pytest.approx(squared, abs=1e-9)
    low, high = interval("rmse", *of_both)
    assert low <= squared + 1e-9
    assert high >= squared - 1e-9


def published_p_f1(targets: IntArray, probs: Values) -> float:
    """The organisers' formula, of precision and recall."""
    found = probs[targets == 1].sum()
    if not found or not probs.sum() or not (targets == 1).sum():
        return 0.0
    precision, recall = found / probs.sum(), found / (targets == 1).sum()
    return float(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("kind", ["random", "none of it", "all of it", "no probability", "sure"])
def test_probabilistic_f1_is_the_published_formula(kind):
    rng = np.random.default_rng(5)
    targets = (rng.random(300) < 0.2).astype(np.int64)
    probs = rng.random(300)
    if kind == "none of it":
        targets[:] = 0
    if kind == "all of it":
        targets[:] = 1
    if kind == "no probability":
        probs[:] = 0
    if kind == "sure":
        probs = targets.astype(np.float64)
    both = np.stack([1 - probs, probs], axis=1)
    expected = published_p_f1(targets, probs)
    assert score("p_f1", targets, both) == pytest.approx(expected, abs=1e-9)


def graded(num: int = 300) -> tuple[IntArray, FloatArray]:
    """Draw grades from 0 to 4, most of them 0, and probabilities that lean to the low ones."""
    rng = np.random.default_rng(0)
    targets = rng.choice(5, num, p=[0.5, 0.1, 0.25, 0.05, 0.1]).astype(np.int64)
    place = np.clip(0.6 * targets + rng.normal(0, 0.5, num), 0, 4)
    weights = np.exp(-2 * (np.arange(5) - place[:, None]) ** 2)
    return targets, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def test_thresholds_of_ordered_classes_beat_the_likeliest_class_and_rounding():
    targets, probs = graded()
    found = FIT(targets, probs)
    assert list(found.thresholds) == sorted(found.thresholds)
    best = score("quadratic_kappa", targets, found.apply(probs))
    rounded = OrderedDecisions((0.5, 1.5, 2.5, 3.5)).apply(probs)
    assert best > score("quadratic_kappa", targets, probs) + 0.02
    assert best > score("quadratic_kappa", targets, rounded) + 0.02


def test_grades_that_are_certain_are_answered_as_they_are():
    targets = np.arange(20) % 5
    probs = np.eye(5, dtype=np.float32)[targets]
    assert (FIT(targets, probs).apply(probs) == probs).all()


def test_no_grade_of_a_fold_has_a_say_in_its_thresholds():
    targets, probs = graded()
    folds = np.arange(len(targets)) % 3
    before = decide_out_of_fold(FIT, targets, probs, folds)
    changed = np.where(folds == 1, 4 - targets, targets)
    after = decide_out_of_fold(FIT, changed, probs, folds)
    assert (before[folds == 1] == after[folds == 1]).all()
    assert (before[folds != 1] != after[folds != 1]).any()


def test_only_classes_that_are_said_to_be_ordered_are_decided_by_thresholds():
    targets, probs = graded()
    folds = np.arange(len(targets)) % 2
    ordered = shipped("aptos2019-blindness-detection")
    assert set(np.unique(decided(ordered, targets, probs, folds))) == {0, 1}
    plain = ordered.model_copy(update={"target": "one_class"})
    assert decided(plain, targets, probs, folds) is probs


def test_numbers_and_their_shares_of_the_range_are_told_from_each_other():
    pets = shipped("petfinder-pawpularity-score")
    targets = class_indices(pets, pd.DataFrame({"label": ["1", "100", "50.5"]}))
    shares = to_shares(pets, targets)
    assert shares.ravel().tolist() == [0, 1, 0.5]
    assert to_numbers(pets, shares.astype(np.float32)).ravel().tolist() == [1, 100, 50.5]


def scans(pool: str) -> Competition:
    answers = Answers.model_validate({"pattern": "(?P<answer>[ab])", "pool": pool})
    competition = shipped("rsna-miccai-brain-tumor-radiogenomic-classification")
    return competition.model_copy(update={"answers": answers})


IMAGES = pd.DataFrame(
    {
        "image_id": ["b1", "a1", "b2", "a2", "c1"],
        "label": ["methylated", "unmethylated"] * 2 + ["methylated"],
        "group": list("babac"),
        "fold": [0, 1, 0, 1, 0],
        "answer": list("babac"),
    }
)
POSITIVE = np.array([0.9, 0.2, 0.5, 0.4, 0.7], dtype=np.float32)
PROBS = np.stack([1 - POSITIVE, POSITIVE], axis=1)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", [0.7, 0.3, 0.7]),
        ("max", [0.9, 0.4, 0.7]),
        ("noisy_or", [1 - 0.1 * 0.5, 1 - 0.8 * 0.6, 0.7]),
    ],
)
def test_images_are_pooled_by_the_rule_in_the_order_of_their_answers(pool, expected):
    answers, probs = pooled(scans(pool), IMAGES, PROBS)
    assert answers["image_id"].tolist() == ["b", "a", "c"]
    assert probs[:, 1] == pytest.approx(expected, abs=1e-6)
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_unreadable_images_count_only_where_an_answer_has_no_others():
    images = IMAGES.assign(width=[10, 10, 0, 10, 0])
    _, probs = pooled(scans("mean"), images, PROBS)
    assert probs[:, 1] == pytest.approx([0.9, 0.3, 0.7], abs=1e-6)


def test_images_that_are_answers_of_their_own_stay_as_they_are():
    alone = shipped("cat-dog")
    assert pooled(alone, IMAGES, PROBS)[1] is PROBS


def test_answers_are_scored_not_images():
    found = describe_oof(scans("mean"), IMAGES, PROBS)
    assert (found["num_images"], found["num_answers"], found["oof_score"]) == (5, 3, 1.0)
    targets, probs, groups = Judged(scans("max"), IMAGES).of(PROBS)
    assert groups is None  # each answer is a group of its own
    assert targets.tolist() == [1, 0, 1]
    assert len(probs) == 3


def test_groups_are_of_answers_not_of_their_images():
    _, _, groups = Judged(scans("mean"), IMAGES.assign(group=list("pqpqp"))).of(PROBS)
    assert groups is not None
    assert groups.tolist() == [0, 1, 0]  # b and c are of one patient


def test_intervals_count_patients_and_not_the_images_of_an_answer():
    answer = np.repeat(np.arange(60), 3)
    patient, is_positive = answer // 6, answer // 6 % 2
    noise = np.random.default_rng(0).normal(0, 0.3, 10)[patient]  # a patient's answers err alike
    probs = np.clip(0.35 + 0.3 * is_positive + noise, 0.01, 0.99).astype(np.float32)
    images = pd.DataFrame(
        {
            "image_id": [f"{one}-{row}" for row, one in enumerate(answer)],
            "label": np.array(["unmethylated", "methylated"])[is_positive],
            "fold": answer % 2,
            "answer": answer.astype(str),
        }
    )
    both = np.stack([1 - probs, probs], axis=1)
    competition = scans("mean")
    pooled_targets, pooled_probs = is_positive[::3], both[::3]
    alone = describe_oof(competition, images.assign(group=images["answer"]), both)
    low, high = interval("roc_auc", pooled_targets, pooled_probs)
    assert alone["oof_interval_95"] == pytest.approx([low, high], abs=1e-5)
    together = describe_oof(competition, images.assign(group=patient.astype(str)), both)
    assert together["oof_score"] == alone["oof_score"]
    wide, narrow = (np.ptp(one["oof_interval_95"]) for one in (together, alone))
    assert wide > 1.5 * narrow


ORDERED = shipped("aptos2019-blindness-detection").model_copy(update={"classes": tuple("abc")})
OF_ORDERED = pd.DataFrame({"image_id": np.arange(90).astype(str), "fold": FOLDS})
OF_ORDERED = OF_ORDERED.assign(label=np.array(list("abc"))[TARGETS], group=OF_ORDERED["image_id"])


def test_a_fold_is_scored_alone_as_it_is_answered_by_thresholds():
    probs = of_extremes(TARGETS)
    judged, rows = Judged(ORDERED, OF_ORDERED), np.flatnonzero(FOLDS == 1)
    assert judged.score_alone(rows, probs[rows]) == 1.0
    assert score(ORDERED.metric, TARGETS[rows], probs[rows]) < 0.9
    noise = member(0.5, 1)
    assert judged.fold_scores(noise) == pytest.approx(
        describe_oof(ORDERED, OF_ORDERED, noise)["fold_scores"], abs=1e-6
    )


def test_answers_of_several_images_are_scored_alone_as_they_are_pooled():
    images = IMAGES.assign(label=["methylated", "unmethylated"] * 2 + ["unmethylated"])
    judged, rows = Judged(scans("max"), images), np.array([0, 1, 2, 3])
    assert judged.score_alone(rows, PROBS[rows]) == 1.0
    mean_of_a = PROBS[rows] * np.array([[1], [1], [1], [0]]) + [
        [0, 0],
        [0, 0],
        [0, 0],
        [0.05, 0.95],
    ]
    assert judged.score_alone(rows, mean_of_a.astype(np.float32)) == 0.0


def test_a_score_is_of_the_metric_the_thresholds_and_the_rule_that_pools():
    found = describe_oof(scans("max"), IMAGES, PROBS)
    assert found["scored_by"] == "roc_auc, pooled by max"
    result = Result("scans", {}, found)
    assert [is_scored_by(result, scans(pool)) for pool in ("max", "mean")] == [True, False]
    plain = ORDERED.model_copy(update={"target": "one_class"})
    ordered = Result("eyes", {}, describe_oof(ORDERED, OF_ORDERED, member(0.5, 1)))
    assert [is_scored_by(ordered, one) for one in (ORDERED, plain)] == [True, False]
    again = scored_anew(plain, OF_ORDERED, ordered, member(0.5, 1)).metrics
    assert again == describe_oof(plain, OF_ORDERED, member(0.5, 1))
    assert again["oof_score"] != ordered.metrics["oof_score"]


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("plant-pathology-2021-fgvc8", "scab", "any of its classes, as .*'scab'"),
        ("cat-dog", "|cat|", "its classes, one isn't"),
        ("cat-dog", "wolf", "its classes, one isn't .'wolf'"),
        ("petfinder-pawpularity-score", "cat", "numbers from 1 to 100, one isn't"),
        ("petfinder-pawpularity-score", "100.5", "numbers from 1 to 100, one isn't .100.5"),
    ],
)
def test_labels_of_before_the_file_changed_are_refused_in_one_line(name, label, message):
    with pytest.raises(DataError, match=rf"{message}.*run 'pipeline prepare {name}'"):
        class_indices(shipped(name), pd.DataFrame({"label": [label]}))
