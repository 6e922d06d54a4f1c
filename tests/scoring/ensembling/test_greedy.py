import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.scoring.ensembling.blending import WeightedMean, fit_weighted
from pipeline.scoring.ensembling.greedy import NUM_ROUNDS, fit_greedy
from pipeline.scoring.metrics import score
from tests.scoring.drawn import TARGETS, member, members


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 5), min_size=1, max_size=4), st.integers(0, 99))
@example([5.0, 5.0], 72)  # sure members, whose losses are small
def test_selection_is_no_worse_than_any_member_and_no_better_than_the_optimum(sharpnesses, seed):
    drawn = members(*sharpnesses, seed=seed)
    loss = score("log_loss", TARGETS, fit_greedy(drawn, TARGETS).apply(drawn))
    assert loss <= min(score("log_loss", TARGETS, one) for one in drawn) + 1e-6
    optimum = fit_weighted(drawn, TARGETS).apply(drawn)
    assert loss >= score("log_loss", TARGETS, optimum) - 1e-6


def test_weights_are_counts_of_the_rounds():
    weights = fit_greedy(members(1, 1.5, 1.2), TARGETS).weights
    assert any(
        np.allclose(weights * num, np.round(weights * num), atol=1e-9)
        for num in range(1, NUM_ROUNDS + 1)
    )


def test_the_second_round_adds_what_helps_the_first_most():
    drawn = members(1, 1.5, 1.2)
    losses = {
        pair: score("log_loss", TARGETS, drawn[list(pair)].mean(axis=0))
        for pair in itertools.product([1], range(3))
    }
    best_pair = min(losses, key=lambda pair: losses[pair])
    greedy = score("log_loss", TARGETS, fit_greedy(drawn, TARGETS).apply(drawn))
    assert greedy <= losses[best_pair] + 1e-6


def test_a_useless_member_is_never_selected():
    wrong = np.roll(member(4, 0), 1, axis=1)
    assert fit_greedy(np.stack([wrong, member(2, 1)]), TARGETS).weights.tolist() == [0, 1]


def test_with_replacement_a_better_member_counts_more():
    drawn, targets = members(1.5, 2, num=900), np.arange(900) % 3
    greedy = fit_greedy(drawn, targets)
    assert 0.05 < greedy.weights[0] < 0.45
    equal = WeightedMean(np.array([0.5, 0.5])).apply(drawn)
    assert score("log_loss", targets, greedy.apply(drawn)) < score("log_loss", targets, equal)


def test_of_equals_the_first_is_taken():
    assert fit_greedy(np.stack([member(1, 0)] * 2), TARGETS).weights == pytest.approx([1, 0])


def test_the_best_round_counts_not_the_last():
    sure = np.eye(3)[TARGETS] * 0.8 + 0.2 / 3
    drawn = np.full((3, len(TARGETS), 3), 1 / 3)
    for one in range(3):  # each knows a third of the images: nothing beats equal weights
        drawn[one, one * 30 : one * 30 + 30] = sure[one * 30 : one * 30 + 30]
    weights = fit_greedy(drawn.astype(np.float32), TARGETS).weights
    assert weights == pytest.approx([1 / 3] * 3)
