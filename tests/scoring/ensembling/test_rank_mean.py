import numpy as np
import numpy.typing as npt

from pipeline.scoring.ensembling.ensemble_methods import fit_rank_mean
from pipeline.store.predictions import FloatArray


def two_classes(first: npt.ArrayLike) -> FloatArray:
    """Probabilities of two classes, given those of the first."""
    probs = np.array(first, dtype=np.float32)
    return np.stack([probs, 1 - probs], axis=1)


def test_ranks_are_averaged_by_hand():
    low, high = two_classes([0.1, 0.2, 0.3]), two_classes([0.9, 0.5, 0.7])
    fitted = fit_rank_mean(np.stack([low, high]), np.array([0, 0, 1]))
    # Mean ranks of class 0 are 1, 0.5 and 1.5; at ranks 0 to 2 the members have, on average, 0.3,
    # 0.45 and 0.6.
    expected = two_classes([0.45, 0.375, 0.525])
    np.testing.assert_allclose(fitted.apply(np.stack([low, high])), expected, atol=1e-6)


def test_how_sure_a_member_sounds_changes_no_ranks():
    rng = np.random.default_rng(0)
    first, second = rng.random(50), rng.random(50)
    louder = first**3 / (first**3 + (1 - first) ** 3)
    orders = []
    for one in (first, louder):
        drawn = np.stack([two_classes(one), two_classes(second)])
        orders.append(fit_rank_mean(drawn, np.arange(50) % 2).apply(drawn)[:, 0].argsort())
    assert orders[0].tolist() == orders[1].tolist()


def test_probabilities_beyond_those_seen_take_the_outermost_rank():
    drawn = np.stack([two_classes([0.2, 0.4, 0.6])] * 2)
    fitted = fit_rank_mean(drawn, np.array([0, 1, 1]))
    beyond = np.stack([two_classes([0.01, 0.99])] * 2)
    np.testing.assert_allclose(fitted.apply(beyond), two_classes([0.2, 0.6]), atol=1e-6)


def test_equal_probabilities_share_their_middle_rank_by_hand():
    tied, other = two_classes([0.2, 0.2, 0.8]), two_classes([0.1, 0.5, 0.9])
    drawn = np.stack([tied, other])
    # Mean ranks 0.25, 0.75 and 2; at ranks 0 to 2 the members have, on average, 0.15, 0.35, 0.85.
    expected = two_classes([0.2, 0.3, 0.85])
    fitted = fit_rank_mean(drawn, np.array([0, 0, 1]))
    np.testing.assert_allclose(fitted.apply(drawn), expected, atol=1e-6)
