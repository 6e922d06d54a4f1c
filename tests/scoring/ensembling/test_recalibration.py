import numpy as np
import pytest
from scipy.special import softmax

from pipeline.scoring.calibration import expected_calibration_error, fit_temperature_and_floor
from pipeline.scoring.ensembling.build import recalibrate
from pipeline.scoring.ensembling.selection import AUTO, Candidates
from pipeline.scoring.metrics import score
from pipeline.store.predictions import FloatArray
from tests.scoring.drawn import members

NUM = 900
TARGETS = np.arange(NUM) % 3
FOLDS = np.arange(NUM) // 3 % 5


def candidates(drawn: FloatArray, metric: str) -> Candidates:
    return Candidates(drawn, TARGETS, FOLDS, metric)


def humble(*sharpnesses: float) -> FloatArray:
    """Members that are right more often than they say."""
    drawn: FloatArray = softmax(np.log(members(*sharpnesses, num=NUM)) / 2, axis=2)
    return drawn


def test_where_log_loss_judges_a_gain_is_applied():
    found = recalibrate(candidates(humble(3, 3), "log_loss"), "mean")
    assert found.is_applied
    assert found.change.verdict == "better"
    assert found.calibration.temperature < 0.7
    errors = [expected_calibration_error(table) for table in (found.before, found.after)]
    assert errors[0] > 0.1 > 0.05 > errors[1]


def test_elsewhere_it_is_told_and_not_applied():
    found = recalibrate(candidates(humble(3, 3), "accuracy"), "mean")
    assert not found.is_applied
    assert found.calibration.floor == 0
    assert found.record()["ece_after"] < found.record()["ece_before"]


def test_what_gains_nothing_is_not_applied():
    fitted = candidates(humble(1.5, 1.5), "log_loss")
    calibrated = recalibrate(fitted, "mean").oof_probs
    again = recalibrate(candidates(calibrated[None], "log_loss"), "mean")
    assert again.change.difference > 0
    assert not again.is_applied


def test_a_fold_is_calibrated_by_what_was_fitted_on_the_others():
    fitted = candidates(humble(2, 3), "log_loss")
    found, oof = recalibrate(fitted, "weighted"), fitted.oof("weighted")
    for fold in range(5):
        others = fold != FOLDS
        expected = fit_temperature_and_floor(oof[others], TARGETS[others]).apply(oof[~others])
        np.testing.assert_array_equal(found.oof_probs[~others], expected)
    assert found.change.difference == pytest.approx(
        score("log_loss", TARGETS, found.oof_probs) - score("log_loss", TARGETS, oof)
    )


def test_the_test_images_temperature_is_that_of_the_chosen_method():
    fitted = candidates(humble(2, 3), "log_loss")
    chosen = fitted.resolve(AUTO)
    expected = fit_temperature_and_floor(fitted.oof(chosen), TARGETS)
    assert recalibrate(fitted, AUTO).calibration == expected


def test_classes_stay_as_they_were():
    fitted = candidates(humble(1, 2), "log_loss")
    found = recalibrate(fitted, AUTO)
    expected = fitted.oof(AUTO).argmax(axis=1)
    assert found.oof_probs.argmax(axis=1).tolist() == expected.tolist()
