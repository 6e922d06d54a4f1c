from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.scoring.ensembling.blending import fit_weighted
from pipeline.scoring.ensembling.ensemble_methods import CrossFits, cross_fitted
from pipeline.store.predictions import FloatArray, IntArray
from tests.scoring.drawn import FOLDS, TARGETS, member, members


@dataclass(frozen=True)
class Recorder:
    """Predicts what it was fitted on: the number of images, and the sum of their labels."""

    num: int
    total: int

    def apply(self, probs: FloatArray) -> FloatArray:
        return np.tile(np.array([self.num, self.total], dtype=np.float32), (probs.shape[-2], 1))


class Fitter:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.num_fits = 0

    def __call__(self, probs: FloatArray, targets: IntArray) -> Recorder:
        self.num_fits += 1
        assert probs.shape[-2] == len(targets)
        return Recorder(len(targets), int(targets.sum()))


PROBS = member(1, 0)[:, :2]


def test_a_fold_is_predicted_by_a_fit_on_the_others():
    applied = cross_fitted(Fitter(), PROBS, TARGETS, FOLDS)
    for fold in range(5):
        others = np.not_equal(FOLDS, fold)
        assert (applied[~others] == [others.sum(), TARGETS[others].sum()]).all()


def test_folds_that_are_left_out_are_neither_fitted_on_nor_predicted():
    applied = CrossFits(Fitter(), PROBS, TARGETS, FOLDS).oof(3)
    assert len(applied) == (FOLDS != 3).sum()
    rows = FOLDS[FOLDS != 3]
    for fold in (0, 1, 2, 4):
        others = ~np.isin(FOLDS, [3, fold])
        assert (applied[rows == fold] == [others.sum(), TARGETS[others].sum()]).all()


def test_each_fit_is_made_once():
    fitter = Fitter()
    fits = CrossFits(fitter, PROBS, TARGETS, FOLDS)
    fits.without()
    fits.oof()
    for fold in range(5):
        fits.oof(fold)
    fits.oof()
    assert fitter.num_fits == 1 + 5 + 10  # on all, without one fold, without a pair


def test_members_are_cut_along_their_images():
    drawn = members(1, 1.5)
    applied = cross_fitted(fit_weighted, drawn, TARGETS, FOLDS)
    for fold in range(5):
        others = fold != FOLDS
        expected = fit_weighted(drawn[:, others], TARGETS[others]).apply(drawn[:, ~others])
        np.testing.assert_array_equal(applied[~others], expected)


def test_labels_of_a_fold_do_not_touch_its_own_predictions():
    drawn = members(1, 1.5)
    flipped = np.where(FOLDS == 2, (TARGETS + 1) % 3, TARGETS)
    first, second = (cross_fitted(fit_weighted, drawn, t, FOLDS) for t in (TARGETS, flipped))
    np.testing.assert_array_equal(first[FOLDS == 2], second[FOLDS == 2])
    assert (first[FOLDS != 2] != second[FOLDS != 2]).any()


@pytest.mark.parametrize("numbers", [[0, 1], [3, 7]])
def test_fold_numbers_may_be_any(numbers):
    folds = np.array(numbers)[np.arange(90) % 2]
    assert cross_fitted(Fitter(), PROBS, TARGETS, folds).shape == PROBS.shape
