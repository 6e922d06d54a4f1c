import numpy as np

from pipeline.scoring.calibration import at_best_temperature
from pipeline.scoring.comparison import compare
from pipeline.scoring.ensembling.ensemble_methods import METHODS
from pipeline.scoring.ensembling.selection import Candidates, Contributions
from pipeline.store.predictions import FloatArray
from tests.scoring.drawn import by_thresholds, members, of_extremes

NUM = 900
TARGETS = np.arange(NUM) % 3
FOLDS = np.arange(NUM) // 3 % 5


def contributions(drawn: FloatArray, method: str = "weighted") -> Contributions:
    return Contributions(METHODS[method], Candidates(drawn, TARGETS, FOLDS, "accuracy"))


def test_what_helps_is_told_from_what_does_not():
    noise, good, other = members(0, 2, 2, num=NUM)
    lacks = contributions(np.stack([noise, good, other])).leave_one_out()
    assert [lack.verdict == "worse" for lack in lacks] == [False, True, True]
    assert abs(lacks[0].difference) < 0.01 < lacks[1].difference
    assert all(lack.low <= lack.difference <= lack.high for lack in lacks)


def test_the_lack_of_a_twin_is_not_felt():
    good, other = members(2, 2, num=NUM)
    lacks = contributions(np.stack([good, good, other])).leave_one_out()
    assert [lack.verdict for lack in lacks] == ["can't tell", "can't tell", "worse"]


def test_of_twins_one_stays():
    good, other = members(2, 2, num=NUM)
    kept = contributions(np.stack([good, good, other])).prune()
    assert len(kept) == 2
    assert kept[-1] == 2


def test_noise_is_pruned_and_the_rest_stays():
    noise, good, worse_noise, other = members(0, 2, -1, 2, num=NUM)
    assert contributions(np.stack([noise, good, worse_noise, other])).prune() == [1, 3]


def test_the_last_member_stays_whatever_it_is_worth():
    assert len(contributions(members(0, 0, 0, num=NUM)).prune()) == 1


def test_what_is_left_is_held_to_the_whole_ensemble():
    """Held to the rest before, each of these members could go, until half of them are gone."""
    drawn = members(*[1.0] * 8, seed=20, num=150)
    targets, folds = TARGETS[:150], FOLDS[:150]
    kept = Contributions(METHODS["mean"], Candidates(drawn, targets, folds, "accuracy")).prune()
    assert 1 < len(kept) < 8

    def against_the_whole(chosen: list[int]) -> str:
        whole, rest = (at_best_temperature(d.mean(axis=0), targets) for d in (drawn, drawn[chosen]))
        return compare("log_loss", targets, whole, rest).verdict

    assert against_the_whole(kept) != "worse"
    assert all(against_the_whole([i for i in kept if i != one]) == "worse" for one in kept)


def test_members_of_ordered_classes_are_missed_for_answers_that_thresholds_decide():
    noise, of_places = members(0, num=NUM)[0], of_extremes(TARGETS)
    truth = TARGETS, FOLDS, "quadratic_kappa", None, by_thresholds
    drawn = Candidates(np.stack([noise, of_places]), *truth)
    of_noise, of_answers = Contributions(METHODS["mean"], drawn).leave_one_out()
    assert (of_noise.metric, of_answers.metric) == ("quadratic_kappa", "quadratic_kappa")
    assert of_answers.verdict == "worse"
    assert of_answers.loss > 0.5 > of_noise.loss
    assert Contributions(METHODS["mean"], drawn).prune() == [1]
    by_loss = Contributions(METHODS["mean"], Candidates(drawn.members, TARGETS, FOLDS, "accuracy"))
    assert [lack.metric for lack in by_loss.leave_one_out()] == ["log_loss", "log_loss"]
