import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scoring.oof import find_suspects
from tests.scoring.drawn import member

NUM = 600
TRUTH = np.arange(NUM) % 3


def test_planted_wrong_labels_are_found():
    rng = np.random.default_rng(0)
    planted = rng.choice(NUM, 20, replace=False)
    labels = TRUTH.copy()
    labels[planted] = (TRUTH[planted] + 1) % 3
    found = find_suspects(member(6, 1, NUM), labels)
    assert len(set(planted) & set(found["row"])) >= 19
    assert set(found["row"].head(15)) <= set(planted)
    assert len(found) < 30
    is_planted = found["row"].isin(planted)
    assert (found["suggested"] == TRUTH[found["row"]])[is_planted].all()


def test_by_hand():
    # Thresholds: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6, class 1 (0.8 + 0.5 + 0.35) / 3 = 0.55.
    probs = np.array(
        [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.5, 0.5], [0.65, 0.35]],
        dtype=np.float32,
    )
    found = find_suspects(probs, np.array([0, 0, 0, 1, 1, 1]))
    assert found["row"].tolist() == [2, 5]  # by margin: 0.6, 0.3
    assert found["suggested"].tolist() == [1, 0]
    np.testing.assert_allclose(found["prob_label"], [0.2, 0.35], atol=1e-6)
    np.testing.assert_allclose(found["prob_suggested"], [0.8, 0.65], atol=1e-6)


def test_a_class_nobody_is_sure_of_needs_less_to_be_suspected():
    # Of class 2 the models say 0.5 at most, even where it is right.
    probs = np.array([[0.95, 0.03, 0.02]] * 5 + [[0.3, 0.2, 0.5]] * 5 + [[0.4, 0.1, 0.5]])
    labels = np.array([0] * 5 + [2] * 5 + [0])
    found = find_suspects(probs.astype(np.float32), labels)
    assert found[["row", "suggested"]].to_numpy().tolist() == [[10, 2]]


def test_hesitation_is_no_contradiction():
    probs = np.array([[0.95, 0.05]] * 9 + [[0.05, 0.95]] * 9 + [[0.4, 0.6]], dtype=np.float32)
    labels = np.array([0] * 9 + [1] * 9 + [0])
    assert find_suspects(probs, labels).empty


def test_right_labels_raise_no_suspicion():
    assert find_suspects(np.eye(3, dtype=np.float32)[TRUTH], TRUTH).empty


@given(st.floats(-1, 6), st.integers(0, 99), st.integers(2, 60))
def test_suspects_prefer_another_class_and_are_ordered_by_margin(sharpness, seed, num):
    probs, labels = member(sharpness, seed, num), np.arange(num) % 3 % 2  # nothing is labelled 2
    found = find_suspects(probs, labels)
    assert (found["prob_suggested"] > found["prob_label"]).all()
    assert (found["suggested"].to_numpy() != labels[found["row"]]).all()
    assert (found["suggested"] < 2).all()
    margins = (found["prob_suggested"] - found["prob_label"]).to_numpy()
    assert (np.diff(margins) <= 0).all()
    assert found["row"].is_unique
