from functools import partial

import numpy as np
import pytest

from pipeline.scoring.decisions import decide_out_of_fold, decided, decisions_for
from pipeline.scoring.ensembling.ensemble_methods import METHODS, cross_fitted
from pipeline.scoring.ensembling.selection import (
    AUTO,
    FALLBACK,
    Candidates,
    choose,
    score_methods,
)
from pipeline.scoring.metrics import score
from tests.editions import shipped
from tests.scoring.drawn import FOLDS, TARGETS, by_thresholds, member, members, of_extremes

NUM = 900
MANY_TARGETS = np.arange(NUM) % 3
MANY_FOLDS = np.arange(NUM) // 3 % 5


def candidates(*sharpnesses: float, metric: str = "accuracy", seed: int = 0) -> Candidates:
    return Candidates(members(*sharpnesses, seed=seed, num=NUM), MANY_TARGETS, MANY_FOLDS, metric)


def by_method(sharpness: dict[str, float]) -> dict[str, np.ndarray]:
    """Predictions of a known quality, as if they were the methods'."""
    return {name: member(sharpness.get(name, 1.0), seed, NUM) for seed, name in enumerate(METHODS)}


def test_without_a_method_that_stands_out_the_fallback_is_chosen():
    assert choose(by_method({}), MANY_TARGETS, "accuracy") == FALLBACK


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_method_that_stands_out_is_chosen(metric):
    clear = by_method({"rank": 2.0, "calibrated": 1.6})
    assert choose(clear, MANY_TARGETS, metric) == "rank"


def test_to_sound_surer_is_not_to_be_better():
    methods = by_method({}) | {FALLBACK: member(2, 0, NUM)}
    louder = methods[FALLBACK] ** 0.5
    methods["calibrated"] = (louder / louder.sum(axis=1, keepdims=True)).astype(np.float32)
    humble = score("log_loss", MANY_TARGETS, methods["calibrated"])
    methods[FALLBACK], methods["calibrated"] = methods["calibrated"], methods[FALLBACK]
    assert score("log_loss", MANY_TARGETS, methods["calibrated"]) < humble
    assert choose(methods, MANY_TARGETS, "log_loss") == FALLBACK


def test_a_method_that_loses_score_is_not_chosen_for_its_log_loss():
    rng = np.random.default_rng(0)
    methods = by_method({}) | {FALLBACK: np.full((NUM, 3), 0.3, dtype=np.float32)}
    rows, is_right = np.arange(NUM), rng.random(NUM) < 0.7
    winner = np.where(is_right, MANY_TARGETS, (MANY_TARGETS + 1) % 3)
    methods[FALLBACK][rows, winner] = 0.4  # right more often than the others, never sure
    for name in METHODS:
        if name != FALLBACK:
            methods[name] = np.full((NUM, 3), 0.02, dtype=np.float32)
            methods[name][rows, (MANY_TARGETS + 1) % 3] = 0.5
            methods[name][rows, MANY_TARGETS] = 0.48  # always wrong by a hair
    assert choose(methods, MANY_TARGETS, "log_loss") != FALLBACK
    assert choose(methods, MANY_TARGETS, "accuracy") == FALLBACK


def test_predictions_of_auto_are_nested():
    found = candidates(1, 1.5)
    chosen = found.by_fold(AUTO)
    assert list(chosen) == [0, 1, 2, 3, 4]
    oof = found.oof(AUTO)
    for fold, name in chosen.items():
        others = fold != MANY_FOLDS
        fitted = METHODS[name](found.members[:, others], MANY_TARGETS[others])
        np.testing.assert_array_equal(oof[~others], fitted.apply(found.members[:, ~others]))
        inner = {
            method: cross_fitted(
                METHODS[method], found.members[:, others], MANY_TARGETS[others], MANY_FOLDS[others]
            )
            for method in METHODS
        }
        assert choose(inner, MANY_TARGETS[others], "accuracy") == name


def test_labels_of_a_fold_have_no_say_in_its_predictions():
    drawn = members(1, 1.5, num=NUM)
    flipped = np.where(MANY_FOLDS == 2, (MANY_TARGETS + 1) % 3, MANY_TARGETS)
    first, second = (
        Candidates(drawn, targets, MANY_FOLDS, "accuracy").oof(AUTO)
        for targets in (MANY_TARGETS, flipped)
    )
    np.testing.assert_array_equal(first[MANY_FOLDS == 2], second[MANY_FOLDS == 2])


def test_on_noise_the_nested_score_is_no_better_than_the_fitted_one():
    for seed in range(3):
        found = Candidates(members(*[0.0] * 5, seed=10 * seed), TARGETS, FOLDS, "log_loss")
        nested = score("log_loss", TARGETS, found.oof(AUTO))
        fitted = found.fitted(AUTO).apply(found.members)
        assert nested > score("log_loss", TARGETS, fitted)


def test_a_named_method_is_cross_fitted_and_resolves_to_itself():
    found = candidates(1, 1.5)
    for name, method in METHODS.items():
        expected = cross_fitted(method, found.members, MANY_TARGETS, MANY_FOLDS)
        np.testing.assert_array_equal(found.oof(name), expected)
        assert found.resolve(name) == name
        assert set(found.by_fold(name).values()) == {name}
    assert found.resolve(AUTO) in METHODS


def test_with_two_folds_there_is_nothing_to_choose_by():
    found = Candidates(members(0.1, 3, num=NUM), MANY_TARGETS, MANY_FOLDS % 2, "accuracy")
    assert found.resolve(AUTO) == FALLBACK
    np.testing.assert_array_equal(found.oof(AUTO), found.oof(FALLBACK))


def test_ordered_classes_are_scored_as_they_are_answered_by_thresholds_of_other_folds():
    ordered = shipped("aptos2019-blindness-detection").model_copy(update={"classes": tuple("abc")})
    decide = partial(decisions_for, ordered)
    drawn = Candidates(members(0.5, 1), TARGETS, FOLDS, ordered.metric, decide=decide)
    [found] = score_methods(drawn, ["mean"])
    probs = drawn.oof("mean")
    answers = decided(ordered, TARGETS, probs, FOLDS)
    assert found.score.value == score(ordered.metric, TARGETS, answers)
    assert found.score.value != score(ordered.metric, TARGETS, probs)
    assert found.fitted_score >= found.score.value


def test_of_ordered_classes_the_method_is_chosen_by_answers_that_thresholds_decide():
    """It has the best mean places, though its likeliest classes and log loss are the worst."""
    methods = by_method({}) | {"rank": of_extremes(MANY_TARGETS)}
    metric = "quadratic_kappa"

    def answer(probs):
        return decide_out_of_fold(by_thresholds, MANY_TARGETS, probs, MANY_FOLDS)

    assert choose(methods, MANY_TARGETS, metric) == FALLBACK
    assert choose(methods, MANY_TARGETS, metric, answer=answer) == "rank"


def test_each_folds_method_is_chosen_by_thresholds_of_the_other_folds():
    places = np.stack([of_extremes(MANY_TARGETS), members(0, num=NUM)[0]])
    truth = MANY_TARGETS, MANY_FOLDS, "quadratic_kappa", None, by_thresholds
    found, whole = Candidates(places, *truth), MANY_TARGETS.copy()
    whole[MANY_FOLDS == 2] = 0
    blind = Candidates(places, whole, *truth[1:])
    assert found.by_fold(AUTO)[2] == blind.by_fold(AUTO)[2]
    assert {one.metric for one in found.against_fallback().values()} == {"quadratic_kappa"}
