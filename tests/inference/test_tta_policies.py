import json

import numpy as np
import pytest

from pipeline.config.competition import load_competition
from pipeline.errors import ArtifactError
from pipeline.images.views import View
from pipeline.inference.tta_policies import (
    POLICIES,
    all_views,
    allowed_policies,
    recommend,
    recommended_policy,
    record,
    score_policies,
)
from pipeline.store.atomic import write_text
from pipeline.store.paths import Paths
from pipeline.store.predictions import FloatArray, IntArray
from tests import tiny

TARGETS = np.arange(400) % 2


def by_view(quality):
    """Probabilities of 400 images in every view, right as often as `quality` says of it."""
    rng = np.random.default_rng(0)
    probs = np.empty((len(all_views()), len(TARGETS), 2), dtype=np.float32)
    for number, view in enumerate(all_views()):
        is_right = rng.random(len(TARGETS)) < quality(view)
        right = np.where(is_right, 0.9, 0.1)
        probs[number] = np.stack([1 - right, right], axis=1)
        probs[number][TARGETS == 0] = probs[number][TARGETS == 0][:, ::-1]
    return probs


def judged(probs: FloatArray) -> tuple[IntArray, FloatArray, IntArray | None]:
    return TARGETS.astype(np.int64), probs, None


def test_a_policy_that_earns_nothing_isn_t_worth_its_time():
    same = np.repeat(by_view(lambda _: 0.8)[:1], len(all_views()), axis=0)
    scores = score_policies("accuracy", judged, same, 0.01)
    assert recommend(scores) == "plain"
    assert [one.name for one in scores] == list(POLICIES)
    assert [one.milliseconds for one in scores] == pytest.approx([10, 20, 60, 60, 100])


def test_views_that_err_independently_are_worth_it():
    scores = score_policies("accuracy", judged, by_view(lambda _: 0.8), 0.01)
    assert recommend(scores) != "plain"
    assert scores[-1].score.value > scores[0].score.value


def test_a_dear_policy_that_is_worse_is_not_recommended():
    worse = by_view(lambda view: 0.95 if view.place == (0.5, 0.5) else 0.2)
    scores = score_policies("log_loss", judged, worse, 0.01)
    assert not scores[-1].is_worth_it
    assert recommend(scores) != "five-crops"


def test_policies_grow_from_the_plain_view_and_have_no_view_twice():
    sizes = [len(set(policy)) for policy in POLICIES.values()]
    assert sizes == [len(policy) for policy in POLICIES.values()] == sorted(sizes)
    assert POLICIES["plain"] == (View(),)
    assert POLICIES["flip"] == (View(), View(is_mirrored=True))


def test_where_nothing_may_be_mirrored_no_policy_does():
    policies = allowed_policies(tiny.experiment(views={"horizontal_flip": False}))
    assert not any(view.is_mirrored for view in all_views(policies))
    assert policies.keys() == POLICIES.keys() - {"flip"}
    assert policies["scales"] == POLICIES["scales"][:3]
    assert allowed_policies(tiny.experiment()) == POLICIES


def test_a_recommendation_by_another_metric_is_refused(tmp_path):
    demo = load_competition("demo")
    paths = Paths(tmp_path, "demo")
    scores = score_policies("accuracy", judged, by_view(lambda _: 0.8), 0.01)
    write_text(paths.experiment("a").stamp, "{}")
    write_text(paths.experiment("a").tta, json.dumps(record(paths, demo, "a", scores)))
    assert recommended_policy(paths, demo, "a") == recommend(scores)
    by_loss = demo.model_copy(update={"metric": "log_loss"})
    with pytest.raises(ArtifactError, match="for this training and metric, is missing or older"):
        recommended_policy(paths, by_loss, "a")
