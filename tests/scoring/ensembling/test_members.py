import numpy as np

from pipeline.config.experiment import Experiment
from pipeline.scoring.ensembling.blending import Member, group_seeds
from pipeline.store.results import Result
from tests import tiny


def result(experiment: Experiment) -> Result:
    return Result(experiment.name, experiment.model_dump(mode="json"), {})


def test_experiments_that_differ_in_the_seed_alone_are_one_member():
    trained = [
        result(tiny.experiment(name=name, seed=seed, description=f"take {seed}"))
        for seed, name in enumerate(["a", "b", "c"])
    ]
    [member] = group_seeds(trained)
    assert member.experiments == ("a", "b", "c")
    assert member.name == "a (3 seeds)"


def test_one_with_the_same_seed_is_a_copy_and_no_second_seed():
    trained = [
        result(tiny.experiment(name=name, seed=seed))
        for name, seed in (("a", 0), ("a-tuned", 0), ("b", 1))
    ]
    assert group_seeds(trained) == [Member(("a", "b"), copies=("a-tuned",))]


def test_any_other_difference_keeps_them_apart():
    trained = [
        result(tiny.experiment(name="a")),
        result(tiny.experiment(name="b", views={"flip": False})),
        result(tiny.experiment(name="c", seed=1)),
    ]
    assert [member.experiments for member in group_seeds(trained)] == [("a", "c"), ("b",)]


def test_ensembles_stand_for_themselves():
    ensembles = [Result(name, {"members": {"a": 1.0}}, {}) for name in ("x", "y")]
    assert [member.name for member in group_seeds(ensembles)] == ["x", "y"]


def test_probabilities_of_seeds_are_averaged():
    probs = {"a": np.array([[0.2, 0.8]], "f4"), "b": np.array([[0.6, 0.4]], "f4")}
    averaged = Member(("a", "b")).mean(probs)
    np.testing.assert_allclose(averaged, [[0.4, 0.6]], atol=1e-6)
    assert averaged.dtype == np.float32
